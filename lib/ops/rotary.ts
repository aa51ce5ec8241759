import type { Device } from '../device.ts'
import { ArgumentError } from '../errors.ts'
import { type Shape, type Tensor, tensor } from '../tensor.ts'
import type { ArrayOps } from './reference.ts'

export interface RotaryTableOptions {
  /** Columns of a head that turn: even, at most the head's size. */
  dim: number
  /** Positions: 0 to `length` − 1. */
  length: number
  /** θ of the slowest pair: pair i turns by base^(−2i/dim) radians a position. Default 10000. */
  base?: number
  /** Linear position interpolation (Chen et al. 2023, arXiv:2306.15595): positions are divided by it. Default 1. */
  factor?: number
  device?: Device
}

/**
 * The tables of rotary positions (Su et al. 2021, "RoFormer", section 3.4.2): cosines and sines of position / factor · base^(−2i/dim), f32 [length, dim/2]
 * each, computed in double precision. For `qkv`. Throws ArgumentError for an odd dimension and for numbers that are not positive.
 */
export function rotaryTables(options: RotaryTableOptions): { cosines: Tensor<Shape, 'f32'>; sines: Tensor<Shape, 'f32'> } {
  const { dim, length, base = 10000, factor = 1, device } = options
  if (!(Number.isSafeInteger(dim) && dim > 0 && dim % 2 === 0))
    throw new ArgumentError(`[rotaryTables] dim must be a positive even integer, is ${dim}`)
  if (!(Number.isSafeInteger(length) && length > 0))
    throw new ArgumentError(`[rotaryTables] length must be a positive integer, is ${length}`)
  for (const [name, value] of Object.entries({ base, factor }))
    if (!(value > 0 && Number.isFinite(value))) throw new ArgumentError(`[rotaryTables] ${name} must be a positive number, is ${value}`)
  const pairs = dim / 2
  const frequencies = Float64Array.from({ length: pairs }, (_, i) => base ** ((-2 * i) / dim) / factor)
  const cosines = new Float32Array(length * pairs)
  const sines = new Float32Array(length * pairs)
  for (let position = 0, at = 0; position < length; position++)
    for (const frequency of frequencies) {
      cosines[at] = Math.cos(position * frequency)
      sines[at++] = Math.sin(position * frequency)
    }
  const place = { dtype: 'f32', ...(device && { device }) } as const
  return { cosines: tensor(cosines, [length, pairs], place), sines: tensor(sines, [length, pairs], place) }
}

/** Heads x [N, H, D], row n turned by the angles of its position: pair (a, b) becomes (a cos − b sin, b cos + a sin). */
export function rotaryReference<T>(F: ArrayOps<T>, x: T, cosines: T, sines: T, positions: readonly number[], interleaved: boolean): T {
  const [rows, heads, width] = F.shape(x) as [number, number, number]
  const pairs = F.shape(cosines)[1] as number
  const angles = interleaved ? [rows, 1, pairs, 1] : [rows, 1, pairs]
  const c = F.reshape(F.gather(cosines, positions), angles) // [N, 1, R/2]
  const s = F.reshape(F.gather(sines, positions), angles)
  const turning = F.slice(x, -1, 0, 2 * pairs) // [N, H, R]
  const split = interleaved ? F.reshape(turning, [rows, heads, pairs, 2]) : turning
  const a = F.slice(split, -1, 0, interleaved ? 1 : pairs)
  const b = F.slice(split, -1, interleaved ? 1 : pairs, interleaved ? 2 : 2 * pairs)
  const turned = F.concat([F.sub(F.mul(a, c), F.mul(b, s)), F.add(F.mul(b, c), F.mul(a, s))], -1)
  return F.concat([F.reshape(turned, [rows, heads, 2 * pairs]), F.slice(x, -1, 2 * pairs, width)], -1)
}
