import { ArgumentError } from '../errors.ts'
import type { Shape, Tensor } from '../tensor.ts'
import { expectCount } from './check.ts'
import { gaussian, type Initializer, parameter } from './initialize.ts'
import { Module, type Placement } from './module.ts'
import { addPositions } from './sinusoidalPositions.ts'

export interface LearnedOptions extends Placement {
  /** Default N(0, 0.02²), as in BERT and GPT-2. */
  initialize?: Initializer
}

/** Trained positions, added to the embeddings; `weight` is [length, width]. A longer sequence is an error. */
export class LearnedPositions extends Module {
  readonly length: number
  readonly width: number
  weight: Tensor

  constructor(length: number, width: number, options: LearnedOptions = {}) {
    super()
    expectCount('LearnedPositions', 'length', length)
    expectCount('LearnedPositions', 'width', width)
    this.length = length
    this.width = width
    this.weight = parameter([length, width], options.initialize ?? gaussian(0.02), options)
  }

  /** The table. Throws ArgumentError if it has fewer than `length` rows. */
  table(length: number): Tensor {
    if (length > this.length)
      throw new ArgumentError(`[LearnedPositions] sequences must have at most ${this.length} positions (length), one has ${length}`)
    return this.weight
  }

  /** x [..., T, width] plus the positions `start` to `start` + T − 1, or those named by `positionIds` i32 [T]. */
  forward<S extends Shape>(x: Tensor<S>, options: { start?: number; positionIds?: Tensor<Shape, 'i32'> } = {}): Tensor<S> {
    return addPositions('LearnedPositions', x as Tensor, this.width, length => this.table(length), options) as Tensor<S>
  }
}
