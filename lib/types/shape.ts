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
