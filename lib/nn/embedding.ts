import { ArgumentError } from '../errors.ts'
import { formatShape, sameShape } from '../ops/check.ts'
import { embedding, fill_, slice } from '../ops/index.ts'
import { noGrad, scope } from '../scope.ts'
import type { Shape, Tensor } from '../tensor.ts'
import { expectCount, expectProbability } from './check.ts'
import { gaussian, type Initializer, parameter } from './initialize.ts'
import { Module, type Placement } from './module.ts'

export interface EmbeddingOptions extends Placement {
  /** An id whose row starts as zeros and gets no gradient, as torch.nn.Embedding's padding_idx. */
  paddingIndex?: number
  /** How the table starts. Default N(0, 1), as torch.nn.Embedding. */
  initialize?: Initializer
  /** A table [numEmbeddings, embeddingDim] that another module owns: the two are tied. */
  tiedWeight?: Tensor
}

export interface EmbeddingForward {
  /** Factor on the rows: √d in the Transformer. Default 1. */
  scale?: number
  /** A table [P, embeddingDim] of positions to add, and which of its rows belongs to each id. */
  positions?: Tensor
  positionIds?: Tensor
  /** Dropout on the sum, while training. Default 0. */
  dropout?: number
}

/** Rows of a table by id: i32 [...] → [..., embeddingDim], as torch.nn.Embedding; `weight` is [numEmbeddings, embeddingDim]. */
export class Embedding extends Module {
  readonly numEmbeddings: number
  readonly embeddingDim: number
  readonly paddingIndex: number | undefined
  weight: Tensor

  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingOptions = {}) {
    super()
    expectCount('Embedding', 'numEmbeddings', numEmbeddings)
    expectCount('Embedding', 'embeddingDim', embeddingDim)
    const { paddingIndex } = options
    if (paddingIndex !== undefined && !(Number.isInteger(paddingIndex) && paddingIndex >= 0 && paddingIndex < numEmbeddings))
      throw new ArgumentError(`[Embedding] paddingIndex must be an id from 0 to ${numEmbeddings - 1}, is ${paddingIndex}`)
    this.numEmbeddings = numEmbeddings
    this.embeddingDim = embeddingDim
    this.paddingIndex = paddingIndex
    const { tiedWeight } = options
    if (tiedWeight && !sameShape(tiedWeight.shape, [numEmbeddings, embeddingDim]))
      throw new ArgumentError(`[Embedding] tiedWeight must be [${numEmbeddings}, ${embeddingDim}], is ${formatShape(tiedWeight.shape)}`)
    this.weight = tiedWeight ?? parameter([numEmbeddings, embeddingDim], options.initialize ?? gaussian(1), options)
    if (paddingIndex !== undefined && tiedWeight === undefined)
      noGrad(() =>
        scope(() => {
          fill_(slice(this.weight, 0, paddingIndex, paddingIndex + 1), 0)
        }),
      )
  }

  /** i32 [...] → [..., embeddingDim] */
  forward(ids: Tensor<Shape, 'i32'>, options: EmbeddingForward = {}): Tensor {
    const { scale, positions, positionIds, dropout = 0 } = options
    expectProbability('Embedding', 'dropout', dropout)
    return embedding(this.weight, ids, {
      ...(scale === undefined ? {} : { scale }),
      ...(positions === undefined ? {} : { positions }),
      ...(positionIds === undefined ? {} : { positionIds }),
      ...(this.paddingIndex === undefined ? {} : { paddingIndex: this.paddingIndex }),
      dropout: this.training ? dropout : 0,
    })
  }
}
