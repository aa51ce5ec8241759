import { ArgumentError } from '../errors.ts'
import { add, cast, gatherRows, slice } from '../ops/index.ts'
import { persistent } from '../scope.ts'
import { type Shape, type Tensor, tensor } from '../tensor.ts'
import { expectCount, expectOneOf } from './check.ts'
import { type BufferKind, Module, type Placement } from './module.ts'

/**
 * `interleaved` (the paper, keras-hub, OpenNMT): sin at 2i and cos at 2i + 1 of position / 10000^(2i/d).
 * `concatenated`: all sines, then all cosines. `frequencies` says which ones.
 */
export type SinusoidLayout = 'interleaved' | 'concatenated'

export interface SinusoidalOptions extends Placement {
  /** Default 'interleaved'. */
  layout?: SinusoidLayout
  /**
   * Exponent of channel pair i: 'd' is 2i/d (the paper; Hugging Face's Marian), 'last' is i/(d/2 − 1), so that the last pair has exactly 1/10000
   * (fairseq, Tensor2Tensor). Default 'd'.
   */
  frequencies?: 'd' | 'last'
  /** Rows made at the start; more are made when they are asked for. Default 512. */
  length?: number
}

/** Rows [length, width] of sines and cosines, computed in double precision. An odd width lacks the last cosine. */
export function sinusoids(
  length: number,
  width: number,
  layout: SinusoidLayout = 'interleaved',
  frequencies: 'd' | 'last' = 'd',
): Float32Array {
  const pairs = Math.ceil(width / 2)
  const values = new Float32Array(length * width)
  for (let pair = 0; pair < pairs; pair++) {
    const exponent = frequencies === 'd' ? (2 * pair) / width : pair / Math.max(1, Math.floor(width / 2) - 1)
    const frequency = 10000 ** -exponent
    const sine = layout === 'interleaved' ? 2 * pair : pair
    const cosine = layout === 'interleaved' ? sine + 1 : pairs + pair
    for (let position = 0; position < length; position++) {
      values[position * width + sine] = Math.sin(position * frequency)
      if (cosine < width) values[position * width + cosine] = Math.cos(position * frequency)
    }
  }
  return values
}

/** Fixed positions, added to the embeddings (Vaswani et al. 2017, section 3.5). No parameters; the table is not part of the state dictionary. */
export class SinusoidalPositions extends Module {
  static override readonly buffers: Readonly<Record<string, BufferKind>> = { rows: 'derived' }

  readonly width: number
  readonly layout: SinusoidLayout
  readonly frequencies: 'd' | 'last'
  rows: Tensor

  constructor(width: number, options: SinusoidalOptions = {}) {
    super()
    const { layout = 'interleaved', frequencies = 'd', length = 512 } = options
    expectCount('SinusoidalPositions', 'width', width)
    expectCount('SinusoidalPositions', 'length', length)
    expectOneOf('SinusoidalPositions', 'layout', layout, ['interleaved', 'concatenated'])
    expectOneOf('SinusoidalPositions', 'frequencies', frequencies, ['d', 'last'])
    this.width = width
    this.layout = layout
    this.frequencies = frequencies
    this.rows = this.#make(length, options)
  }

  #make(length: number, place: Placement): Tensor {
    const values = sinusoids(length, this.width, this.layout, this.frequencies)
    return persistent(() =>
      tensor(values, [length, this.width], {
        dtype: place.dtype ?? 'f32',
        ...(place.device === undefined ? {} : { device: place.device }),
      }),
    )
  }

  /** The table [≥ length, width], made longer if it is too short. */
  table(length: number): Tensor {
    const have = this.rows.shape[0] as number
    if (length > have) {
      const { device, dtype } = this.rows
      const old = this.rows
      this.rows = this.#make(2 ** Math.ceil(Math.log2(length)), { device, dtype: dtype as 'f32' })
      old.dispose()
    }
    return this.rows
  }

  /** x [..., T, width] plus the positions `start` to `start` + T − 1, or those named by `positionIds` i32 [T]. */
  forward<S extends Shape>(x: Tensor<S>, options: { start?: number; positionIds?: Tensor<Shape, 'i32'> } = {}): Tensor<S> {
    return addPositions('SinusoidalPositions', x as Tensor, this.width, length => this.table(length), options) as Tensor<S>
  }
}

/** Shared by fixed and learned positions. `table` gives at least so many rows, or throws. */
export function addPositions(
  module: string,
  x: Tensor,
  width: number,
  table: (length: number) => Tensor,
  { start = 0, positionIds }: { start?: number; positionIds?: Tensor<Shape, 'i32'> },
): Tensor {
  expectCount(module, 'start', start, 0)
  if (x.rank < 2 || x.shape.at(-1) !== width)
    throw new ArgumentError(`[${module}] x must be [..., T, ${width}], is [${x.shape.join(', ')}]`)
  const length = x.shape.at(-2) as number
  if (positionIds) return add(x, cast(gatherRows(table(0), positionIds), x.dtype))
  return add(x, cast(slice(table(start + length), 0, start, start + length), x.dtype))
}
