/** Checks shared by the ops' `infer`. Messages read `[op] argument must be …, is …`. */
import type { DType } from '../dtype.ts'
import { isFloat } from '../dtype.ts'
import { ArgumentError } from '../errors.ts'
import { type Shape, Tensor } from '../tensor.ts'

export const formatShape = (shape: Shape) => `[${shape.join(', ')}]`

/** `shape` with `last` in place of its last dimension. */
export function withLast(shape: Shape, last: number): number[] {
  const result = shape.slice()
  result[result.length - 1] = last
  return result
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

export function expectTensor(op: string, name: string, value: unknown): asserts value is Tensor {
  if (!(value instanceof Tensor)) throw new ArgumentError(`[${op}] ${name} must be a Tensor, is ${value === null ? 'null' : typeof value}`)
}

/** `expected` may hold -1 for any size. */
export function expectShape(op: string, name: string, tensor: Tensor, expected: readonly number[]): void {
  const { shape } = tensor
  let fits = shape.length === expected.length
  for (let i = 0; fits && i < expected.length; i++) fits = expected[i] === -1 || expected[i] === shape[i]
  if (fits) return
  const text = expected.map(dimension => (dimension === -1 ? '*' : dimension)).join(', ')
  throw new ArgumentError(`[${op}] ${name} must be [${text}], is ${formatShape(shape)}`)
}

export function expectDType(op: string, name: string, tensor: Tensor, ...allowed: readonly DType[]): void {
  if (!allowed.includes(tensor.dtype))
    throw new ArgumentError(`[${op}] ${name} must have dtype ${allowed.join(' or ')}, is ${tensor.dtype}`)
}

export function expectFloat(op: string, name: string, tensor: Tensor): void {
  if (!isFloat(tensor.dtype)) throw new ArgumentError(`[${op}] ${name} must have a float dtype, is ${tensor.dtype}`)
}

/** What matrix products take: the CPU only stores f16. */
export function expectProductDType(op: string, name: string, tensor: Tensor): void {
  if (tensor.device.kind === 'cpu') expectDType(op, name, tensor, 'f32', 'bf16')
  else expectDType(op, name, tensor, 'f32', 'bf16', 'f16')
}

/** A dimension counted from the end when negative. */
export function expectDim(op: string, name: string, dim: number, rank: number): number {
  const index = dim < 0 ? dim + rank : dim
  if (!Number.isInteger(index) || index < 0 || index >= rank)
    throw new ArgumentError(`[${op}] ${name} must be from ${-rank} to ${rank - 1} for ${rank} dimensions, is ${dim}`)
  return index
}

/** A number in [low, high]. */
export function expectRange(op: string, name: string, value: number, low: number, high: number): void {
  if (!(value >= low && value <= high)) throw new ArgumentError(`[${op}] ${name} must be from ${low} to ${high}, is ${value}`)
}

export function expectFinite(op: string, name: string, value: number): void {
  if (!Number.isFinite(value)) throw new ArgumentError(`[${op}] ${name} must be a finite number, is ${value}`)
}

/** NumPy's broadcasting of two shapes. */
export function broadcastShapes(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length)
  const result = new Array<number>(rank)
  for (let i = 1; i <= rank; i++) {
    const x = a[a.length - i] ?? 1
    const y = b[b.length - i] ?? 1
    if (x !== y && x !== 1 && y !== 1)
      throw new ArgumentError(`[${op}] b must broadcast with a: shapes ${formatShape(a)} and ${formatShape(b)} differ at dimension ${-i}`)
    result[rank - i] = x === 1 ? y : x
  }
  return result
}

/** The checks of x [..., C] against weight [F, C]; returns F. */
export function expectFeatures(op: string, x: Tensor, weight: Tensor, name = 'weight'): number {
  expectTensor(op, 'x', x)
  expectTensor(op, name, weight)
  expectProductDType(op, 'x', x)
  if (x.rank === 0) throw new ArgumentError(`[${op}] x must be [..., *], is []`)
  expectShape(op, name, weight, [-1, x.shape[x.rank - 1] as number])
  expectDType(op, name, weight, x.dtype)
  return weight.shape[0] as number
}

/** A parameter [features], f32 or `dtype`, or none. */
export function expectBias(op: string, name: string, bias: Tensor | undefined, features: number, dtype: DType): void {
  if (bias === undefined) return
  expectTensor(op, name, bias)
  expectShape(op, name, bias, [features])
  if (dtype === 'f32') expectDType(op, name, bias, 'f32')
  else expectDType(op, name, bias, 'f32', dtype)
}
