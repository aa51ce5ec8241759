/** Shapes at compile time: a dimension that both sides know is checked by the compiler, `number` fits everything. */
import type { DType } from '../dtype.ts'
import type { Shape, Tensor } from '../tensor.ts'

/** The last dimension; `number` where the compiler does not know it. */
export type Last<S extends Shape> = S extends readonly [...infer _Leading, infer L extends number] ? L : number

/** `S` with its last dimension replaced. */
export type WithLast<S extends Shape, L extends number> = S extends readonly [...infer Leading extends readonly number[], number]
  ? [...Leading, L]
  : Shape

/** All that a tensor of shape `S` lacks to be `Width` wide: nothing, or a type that no tensor has and whose name says what is wrong. */
export type FitsWidth<S extends Shape, Width extends number> = number extends Width
  ? unknown
  : number extends Last<S>
    ? unknown
    : Last<S> extends Width
      ? unknown
      : { readonly 'the last dimension must be': Width; readonly 'it is': Last<S> }

/** A tensor whose last dimension is `Width`, or not known to the compiler. The run-time check stays the authority. */
export type Wide<S extends Shape, Width extends number, D extends DType = DType> = Tensor<S, D> & FitsWidth<S, Width>

/** The first dimension; `number` where the compiler does not know it. */
export type First<S extends Shape> = S extends readonly [infer F extends number, ...Shape] ? F : number

/** `S` without its last dimension. */
export type Leading<S extends Shape> = S extends readonly [...infer L extends Shape, number] ? L : Shape

/** `S` with more dimensions at its end. */
export type Append<S extends Shape, More extends Shape> = Known<S> extends true ? [...S, ...More] : Shape

/** Whether the number of dimensions is known. */
export type Known<S extends Shape> = number extends S['length'] ? false : true

/** One dimension in place of two that broadcast: `never` where they do not. A dimension that is not known may be 1. */
type BroadcastDim<A extends number, B extends number> = A extends 1
  ? B
  : B extends 1
    ? A
    : number extends A
      ? B
      : number extends B
        ? A
        : A extends B
          ? A
          : never

/** NumPy's broadcasting, from the last dimension on. */
export type Broadcast<A extends Shape, B extends Shape> = [Known<A>, Known<B>] extends [true, true]
  ? A extends readonly [...infer LA extends Shape, infer DA extends number]
    ? B extends readonly [...infer LB extends Shape, infer DB extends number]
      ? [...Broadcast<LA, LB>, BroadcastDim<DA, DB>]
      : [...A]
    : [...B]
  : Shape

/** A dimension that cannot be, somewhere in `S`. */
type Impossible<S extends Shape> = true extends { [K in keyof S]: [S[K]] extends [never] ? true : false }[number] ? true : false

/** What a tensor of shape `B` lacks to broadcast with `A`. */
export type FitsBroadcast<A extends Shape, B extends Shape> =
  Impossible<Broadcast<A, B>> extends true ? { readonly 'the shape must broadcast with': A; readonly 'it is': B } : unknown

/** A tensor that broadcasts with shape `A`, as far as the compiler knows. */
export type BroadcastsWith<A extends Shape, B extends Shape, D extends DType = DType> = Tensor<B, D> & FitsBroadcast<A, B>

/** What a tensor of shape `S` lacks to have shape `Wanted`, dimension by dimension. */
export type FitsShape<S extends Shape, Wanted extends Shape> = [Known<S>, Known<Wanted>] extends [true, true]
  ? S['length'] extends Wanted['length']
    ? Impossible<{ [K in keyof S]: SameDim<S[K], K extends keyof Wanted ? Wanted[K] : never> }> extends true
      ? { readonly 'the shape must be': Wanted; readonly 'it is': S }
      : unknown
    : { readonly 'the shape must be': Wanted; readonly 'it is': S }
  : unknown

type SameDim<A, B> = A extends number
  ? B extends number
    ? number extends A
      ? A
      : number extends B
        ? A
        : A extends B
          ? A
          : never
    : never
  : never

/** A tensor of shape `Wanted`, as far as the compiler knows. */
export type Shaped<S extends Shape, Wanted extends Shape, D extends DType = DType> = Tensor<S, D> & FitsShape<S, Wanted>

/** The last two dimensions exchanged. */
export type Transposed<S extends Shape> = S extends readonly [...infer L extends Shape, infer M extends number, infer N extends number]
  ? [...L, N, M]
  : Shape

/** [..., M, K] times [..., K, N] of known ranks from 2. */
export type Product<A extends Shape, B extends Shape> = A extends readonly [...infer LA extends Shape, infer M extends number, number]
  ? B extends readonly [...infer LB extends Shape, number, infer N extends number]
    ? [Known<LA>, Known<LB>] extends [true, true]
      ? [...Broadcast<LA, LB>, M, N]
      : Shape
    : Shape
  : Shape

/** What a tensor of shape `B` lacks to be the right side of a product with `A`. */
export type FitsProduct<A extends Shape, B extends Shape> = B extends readonly [...Shape, infer K extends number, number]
  ? number extends K
    ? unknown
    : number extends Last<A>
      ? unknown
      : K extends Last<A>
        ? Impossible<Product<A, B>> extends true
          ? { readonly 'the leading dimensions must broadcast with those of': A; readonly 'the shape is': B }
          : unknown
        : { readonly 'the last dimension but one must be': Last<A>; readonly 'it is': K }
  : unknown

/** Dimensions in the order `O` (indices from 0). */
export type Permuted<S extends Shape, O extends Shape> =
  Known<O> extends true
    ? { -readonly [K in keyof O]: `${O[K] & number}` extends keyof S ? S[`${O[K] & number}` & keyof S] & number : number }
    : Shape

/** A shape as it is given to `reshape`: -1 is a dimension that the compiler does not know. */
export type Reshaped<S extends Shape> = { [K in keyof S]: S[K] extends -1 ? number : S[K] }

/** `S` without as many dimensions at its begin as `I` has. */
export type After<S extends Shape, I extends Shape> =
  Known<I> extends true ? (S extends readonly [...{ [K in keyof I]: number }, ...infer Rest extends Shape] ? Rest : Shape) : Shape
