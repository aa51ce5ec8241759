/**
 * How parameters start. Every logical matrix is one draw with a counter of its own (lib/generator.ts), so no two layers start equal and nothing depends
 * on how matrices are packed together; the same seed gives the same model on every device. Draws are made in f32 and rounded to the dtype.
 */
import { full } from '../ops/fill.ts'
import { cast, concat, normal, uniform } from '../ops/index.ts'
import { noGrad, persistent, scope } from '../scope.ts'
import type { Shape, Tensor } from '../tensor.ts'
import type { Placement } from './module.ts'

/** Draws one logical matrix or vector, in f32. */
export type Initializer = (shape: Shape, place: Placement) => Tensor

const on = (place: Placement) => (place.device === undefined ? {} : { device: place.device })

/** U(−a, a) with a = gain · √(6 / (fanIn + fanOut)) (Glorot and Bengio 2010; torch.nn.init.xavier_uniform_). Shape [fanOut, fanIn]. */
export const xavierUniform =
  (gain = 1): Initializer =>
  (shape, place) => {
    const [fanOut, fanIn] = shape as [number, number]
    const bound = fanOut + fanIn === 0 ? 0 : gain * Math.sqrt(6 / (fanIn + fanOut))
    return uniform(shape, { low: -bound, high: bound, ...on(place) })
  }

/** U(−1/√fanIn, 1/√fanIn): weights and biases of torch.nn.Linear. */
export const fanInUniform =
  (fanIn: number): Initializer =>
  (shape, place) => {
    const bound = fanIn === 0 ? 0 : 1 / Math.sqrt(fanIn)
    return uniform(shape, { low: -bound, high: bound, ...on(place) })
  }

/** N(0, deviation²) */
export const gaussian =
  (deviation: number): Initializer =>
  (shape, place) =>
    normal(shape, { mean: 0, std: deviation, ...on(place) })

export const constant =
  (value: number): Initializer =>
  (shape, place) =>
    full(shape, value, on(place))

/** A trained tensor that no scope frees. */
export function parameter(shape: Shape, initialize: Initializer, place: Placement): Tensor {
  return packedParameter([{ shape, initialize }], place)
}

/** Several logical matrices, each drawn by itself, stacked along the first dimension. */
export function packedParameter(parts: readonly { shape: Shape; initialize: Initializer }[], place: Placement): Tensor {
  const value = persistent(() =>
    noGrad(() =>
      scope(() => {
        const drawn = parts.map(({ shape, initialize }) => initialize(shape, place))
        const whole = drawn.length === 1 ? (drawn[0] as Tensor) : concat(drawn, 0)
        return cast(whole, place.dtype ?? 'f32')
      }),
    ),
  )
  return value.requireGrad()
}
