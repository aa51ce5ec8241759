import { defineOp } from '../autograd/defineOp.ts'
import { type DType, isFloat } from '../dtype.ts'
import { ArgumentError, UnsupportedError } from '../errors.ts'
import { type BinaryArgs, binary as native, schema } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import type { Broadcast, BroadcastsWith } from '../types/shape.ts'
import { affine } from './affine.ts'
import { broadcastShapes, expectTensor } from './check.ts'
import { binaryKinds, rawBinary, rawCast, rawFull, rawScale, rawSumTo, rawUnary } from './untaped.ts'

export type BinaryKind = keyof typeof binaryKinds
const kindNames = Object.keys(binaryKinds) as BinaryKind[]

const comparisons: Partial<Record<BinaryKind, (a: number, b: number) => boolean>> = {
  equal: (a, b) => a === b,
  notEqual: (a, b) => a !== b,
  less: (a, b) => a < b,
  lessEqual: (a, b) => a <= b,
  greater: (a, b) => a > b,
  greaterEqual: (a, b) => a >= b,
}

/** Element-wise a∘b with broadcasting. Comparisons give u8. */
export const binary = defineOp('binary', {
  native,
  infer(kind: BinaryKind, a: Tensor, b: Tensor): BinaryArgs {
    expectTensor(kind, 'a', a)
    expectTensor(kind, 'b', b)
    if (a.dtype !== b.dtype) throw new ArgumentError(`[${kind}] b must have dtype ${a.dtype} as a has, is ${b.dtype}`)
    if (!isFloat(a.dtype) && (kind === 'div' || kind === 'pow'))
      throw new UnsupportedError(`[${kind}] a must have a float dtype, is ${a.dtype}`)
    const dtype = kind in comparisons ? 'u8' : a.dtype
    const y = allocate(a.device, broadcastShapes(kind, a.shape, b.shape), dtype, schema.binary.id)
    return { a, b, y, kind: binaryKinds[kind] }
  },
  result: args => args.y,
  differentiable: ['y'],
  saves: ['a', 'b', 'y'],
  backward({ saved: { a, b, y, kind }, gradient, needs }) {
    const dy = gradient.y as Tensor
    const times = (factor: Tensor) => rawBinary('mul', dy, factor, y.shape)
    /** dy where a is the one chosen; ties share equally. */
    const chosen = (first: Tensor, second: Tensor, than: 'greater' | 'less') => {
      const wins = rawBinary(than, first, second, y.shape)
      const ties = rawBinary('equal', first, second, y.shape)
      return times(rawBinary('add', rawCast(wins, dy.dtype), rawScale(rawCast(ties, dy.dtype), 0.5)))
    }
    /** Products of several factors are taken in f32: each rounding to a lower precision would add up. */
    const wide = (rule: (dy: Tensor, a: Tensor, b: Tensor) => Tensor) =>
      rawCast(rule(rawCast(dy, 'f32'), rawCast(a, 'f32'), rawCast(b, 'f32')), dy.dtype)
    const dBase = (d: Tensor, base: Tensor, exponent: Tensor) =>
      rawBinary('mul', d, rawBinary('mul', exponent, rawBinary('pow', base, rawScale(exponent, 1, -1), y.shape), y.shape))
    const dExponent = (d: Tensor, base: Tensor, exponent: Tensor) =>
      rawBinary('mul', d, rawBinary('mul', rawBinary('pow', base, exponent, y.shape), rawUnary('log', base)))
    const rules: Partial<Record<BinaryKind, [() => Tensor, () => Tensor]>> = {
      add: [() => dy, () => dy],
      sub: [() => dy, () => rawScale(dy, -1)],
      mul: [() => times(b), () => times(a)],
      div: [() => rawBinary('div', dy, b, y.shape), () => rawScale(rawBinary('div', times(y), b, y.shape), -1)],
      pow: [() => wide(dBase), () => wide(dExponent)],
      maximum: [() => chosen(a, b, 'greater'), () => chosen(b, a, 'greater')],
      minimum: [() => chosen(a, b, 'less'), () => chosen(b, a, 'less')],
    }
    const rule = rules[kindNames[kind] as BinaryKind]
    if (rule === undefined) return {}
    return { a: needs.a ? rawSumTo(rule[0](), a.shape) : undefined, b: needs.b ? rawSumTo(rule[1](), b.shape) : undefined }
  },
  reference(F, { a, b, kind }) {
    const name = kindNames[kind] as BinaryKind
    const comparison = comparisons[name]
    return { y: comparison ? F.compare(a, b, comparison) : F[name as 'add'](a, b) }
  },
})

export type Operand = Tensor | number

/** Numbers become tensors of one element, of the other side's dtype. */
function operands(kind: BinaryKind, a: Operand, b: Operand): Tensor {
  if (typeof a !== 'number' && typeof b !== 'number') return binary(kind, a, b)
  const like = (typeof a === 'number' ? b : a) as Tensor
  const tensorOf = (operand: Operand) => (typeof operand === 'number' ? rawFull(like, [], operand) : operand)
  return binary(kind, tensorOf(a), tensorOf(b))
}

/** Shapes that do not broadcast do not compile, where the compiler knows them. */
type Elementwise<D extends DType = DType> = <A extends Shape = [], B extends Shape = []>(
  a: Tensor<A> | number,
  b: BroadcastsWith<A, B> | number,
) => Tensor<Broadcast<A, B>, D>

const of = (kind: BinaryKind) => ((a: Operand, b: Operand) => operands(kind, a, b)) as Elementwise
const comparison = (kind: BinaryKind) => of(kind) as Elementwise<'u8'>

/** Element-wise, with NumPy's broadcasting; numbers take the other side's dtype. */
export const add = ((a: Operand, b: Operand) =>
  typeof b === 'number' && typeof a !== 'number' ? affine(a, 1, b) : operands('add', a, b)) as Elementwise
export const sub = ((a: Operand, b: Operand) =>
  typeof b === 'number' && typeof a !== 'number' ? affine(a, 1, -b) : operands('sub', a, b)) as Elementwise
export const mul = ((a: Operand, b: Operand) =>
  typeof b === 'number' && typeof a !== 'number' ? affine(a, b, 0) : operands('mul', a, b)) as Elementwise
export const div = of('div')
export const pow = of('pow')
/** NaN wins; where both are equal the gradient is shared. */
export const maximum = of('maximum')
export const minimum = of('minimum')
/** Comparisons give u8: 1 where true. */
export const equal = comparison('equal')
export const notEqual = comparison('notEqual')
export const less = comparison('less')
export const lessEqual = comparison('lessEqual')
export const greater = comparison('greater')
export const greaterEqual = comparison('greaterEqual')
