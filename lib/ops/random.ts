import { defineOp } from '../autograd/defineOp.ts'
import type { FloatDType } from '../dtype.ts'
import { ArgumentError } from '../errors.ts'
import { draw } from '../generator.ts'
import { random as native, type RandomArgs } from '../native.generated.ts'
import { empty, type Shape, type Tensor, type TensorOptions } from '../tensor.ts'
import { expectFloat } from './check.ts'
import { truncatedQuantile } from './quantile.ts'

/** native/cpu/ops/random.cc */
const kinds = { uniform: 0, normal: 1, truncatedNormal: 2 } as const
export type Distribution = keyof typeof kinds

/**
 * Fills `y` with random numbers; element i of the draw has the uniform number u[i] in [0, 1), a multiple of 2^-24 (lib/random.ts):
 *
 * - uniform: a + (b - a) · u[i]
 * - normal: a + b · z, Box–Muller on the pair (u, v) = (u[i & ~1], u[i | 1]): z = sqrt(-2 ln(1 - u)) · cos 2πv for even i, · sin 2πv for odd i
 * - truncatedNormal: a + b · z within ±2 deviations by the inverse transform, z = √2 erfinv(erf(√2) · (2 u[i] - 1))
 */
export const random = defineOp('random', {
  native,
  infer(kind: Distribution, y: Tensor, a: number, b: number): RandomArgs {
    expectFloat(kind, 'dtype', y)
    const { seed, counter } = draw()
    return { y, kind: kinds[kind], a: Math.fround(a), b: Math.fround(b), seed, counter }
  },
  result: args => args.y,
  differentiable: [],
  saves: [],
  backward: 'none',
  reference(F, { y, kind, a, b, seed, counter }) {
    const shape = F.shape(y)
    const size = shape.reduce((product, dimension) => product * dimension, 1)
    // A pair is complete even where the draw ends with its first half.
    const u = F.values(F.uniform([size + (size & 1)], seed, counter))
    const standard = (i: number): number => {
      if (kind === kinds.uniform) return u[i] as number
      if (kind === kinds.truncatedNormal) return truncatedQuantile(u[i] as number)
      const radius = Math.sqrt(-2 * Math.log1p(-(u[i & ~1] as number)))
      const angle = 2 * Math.PI * (u[i | 1] as number)
      return radius * (i & 1 ? Math.sin(angle) : Math.cos(angle))
    }
    const z = F.constant(
      Float64Array.from({ length: size }, (_, i) => standard(i)),
      shape,
    )
    return { y: F.add(F.mul(z, kind === kinds.uniform ? b - a : b), a) }
  },
})

function expectFinite(op: string, name: string, value: number): void {
  if (!Number.isFinite(value)) throw new ArgumentError(`[${op}] ${name} must be finite, is ${value}`)
}

function draws<S extends Shape, D extends FloatDType>(kind: Distribution, shape: S, a: number, b: number, options: TensorOptions<D>) {
  return random(kind, empty(shape, options), a, b) as Tensor<S, D>
}

export interface UniformOptions<D extends FloatDType = FloatDType> extends TensorOptions<D> {
  /** Default 0. */
  low?: number
  /** Default 1. */
  high?: number
}

export interface NormalOptions<D extends FloatDType = FloatDType> extends TensorOptions<D> {
  /** Default 0. */
  mean?: number
  /** The standard deviation, before any cut. Default 1. */
  std?: number
}

/** Uniform numbers in [low, high): computed in f32, then rounded to the dtype, by which `high` itself may come. */
export function uniform<const S extends Shape, D extends FloatDType = 'f32'>(shape: S, options: UniformOptions<D> = {}): Tensor<S, D> {
  const { low = 0, high = 1 } = options
  expectFinite('uniform', 'low', low)
  expectFinite('uniform', 'high', high)
  if (high < low) throw new ArgumentError(`[uniform] high must be at least low (${low}), is ${high}`)
  return draws('uniform', shape, low, high, options)
}

function gaussian<S extends Shape, D extends FloatDType>(kind: Distribution, shape: S, options: NormalOptions<D>): Tensor<S, D> {
  const { mean = 0, std = 1 } = options
  expectFinite(kind, 'mean', mean)
  expectFinite(kind, 'std', std)
  if (std < 0) throw new ArgumentError(`[${kind}] std must not be negative, is ${std}`)
  return draws(kind, shape, mean, std, options)
}

/** Normally distributed numbers; the largest deviation that 24 random bits give is 5.77. */
export const normal = <const S extends Shape, D extends FloatDType = 'f32'>(shape: S, options: NormalOptions<D> = {}): Tensor<S, D> =>
  gaussian('normal', shape, options)

/** Normally distributed numbers cut at two deviations from the mean; what remains has a deviation of 0.8796 · std. */
export const truncatedNormal = <const S extends Shape, D extends FloatDType = 'f32'>(
  shape: S,
  options: NormalOptions<D> = {},
): Tensor<S, D> => gaussian('truncatedNormal', shape, options)

/** Uniform numbers in [0, 1). */
export const rand = <const S extends Shape, D extends FloatDType = 'f32'>(shape: S, options: TensorOptions<D> = {}): Tensor<S, D> =>
  draws('uniform', shape, 0, 1, options)
/** Standard normal numbers. */
export const randn = <const S extends Shape, D extends FloatDType = 'f32'>(shape: S, options: TensorOptions<D> = {}): Tensor<S, D> =>
  draws('normal', shape, 0, 1, options)
