/** What layer norm and RMS norm share: checks, and the meaning of `sum = residual + dropout(x)`. */
import { ArgumentError } from '../errors.ts'
import type { Shape, Tensor } from '../tensor.ts'
import { expectBias, expectDType, expectFloat, expectRange, expectShape, expectTensor } from './check.ts'
import { contiguous } from './copy.ts'
import type { ArrayOps } from './reference.ts'
import { rawCast, rawFull } from './untaped.ts'

export interface NormOptions {
  /** Added to the variance (RMS norm: to the mean square) below the root. */
  eps?: number
  /** Added to `x` before the norm; shape and dtype of `x`. */
  residual?: Tensor | undefined
  /** Probability with which an element of `x` is dropped (set to 0, the others scaled by 1 / (1 - p)) before the residual is added; default 0. */
  dropout?: number
}

export interface NormResult<S extends Shape = Shape> {
  /** norm(sum), of the shape of `x`. */
  y: Tensor<S>
  /** residual + dropout(x): what goes on along the residual path. */
  sum: Tensor<S>
}

export interface NormInputs {
  x: Tensor
  residual: Tensor | undefined
  weight: Tensor | undefined
  bias: Tensor | undefined
  eps: number
  dropout: number
}

const dense = (tensor: Tensor | undefined) => tensor && contiguous(tensor)

/** Checks the arguments, and makes tensors contiguous where the tape can see it. */
export function normInputs(
  op: string,
  x: Tensor,
  weight: Tensor | undefined,
  bias: Tensor | undefined,
  options: NormOptions,
  defaultEps: number,
): NormInputs {
  const { eps = defaultEps, residual, dropout = 0 } = options
  expectTensor(op, 'x', x)
  expectFloat(op, 'x', x)
  if (x.rank === 0) throw new ArgumentError(`[${op}] x must have at least one dimension, has none`)
  if (residual !== undefined) {
    expectTensor(op, 'residual', residual)
    expectShape(op, 'residual', residual, x.shape)
    expectDType(op, 'residual', residual, x.dtype)
  }
  const width = x.shape[x.rank - 1] as number
  expectBias(op, 'weight', weight, width, x.dtype)
  expectBias(op, 'bias', bias, width, x.dtype)
  expectRange(op, 'eps', eps, 0, Number.MAX_VALUE)
  expectRange(op, 'dropout', dropout, 0, 1)
  // The kernel compares with the f32 nearest to the probability; so does everyone else then.
  return { x: contiguous(x), residual: dense(residual), weight: dense(weight), bias: dense(bias), eps, dropout: Math.fround(dropout) }
}

/** The gradient of y as the kernel takes it; zeros where only the sum was used. */
export const denseGradient = (dy: Tensor | undefined, like: Tensor): Tensor =>
  dy === undefined ? rawFull(like, like.shape, 0) : rawCast(dy, like.dtype)

/** residual + dropout(x) */
export function residualSum<T>(
  F: ArrayOps<T>,
  { x, residual, dropout, seed, counter }: { x: T; residual?: T | undefined; dropout: number; seed: number; counter: number },
): T {
  const kept = dropout > 0 ? F.mul(x, F.dropoutMask(F.shape(x), dropout, seed, counter)) : x
  return residual === undefined ? kept : F.add(residual, kept)
}
