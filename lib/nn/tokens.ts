/** Token ids on their way into a model. */
import { ArgumentError } from '../errors.ts'
import { full } from '../ops/index.ts'
import { Sequences } from '../sequences.ts'
import { type Tensor, tensor } from '../tensor.ts'
import { Embedding } from './embedding.ts'
import { gaussian, xavierUniform } from './initialize.ts'
import { LearnedPositions } from './learnedPositions.ts'
import { Linear } from './linear.ts'
import type { Placement } from './module.ts'
import { SinusoidalPositions } from './sinusoidalPositions.ts'
import type { VocabularyOptions } from './transformerOptions.ts'

/** Sequences of ids, one after the other without padding; what `tilewise/data` makes. */
export interface RaggedTokens {
  /** [N] */
  readonly ids: Int32Array
  /** Ids of each sequence, [B]. */
  readonly lengths: ArrayLike<number>
}

/** A batch for teacher forcing: what `Batches` of `tilewise/data` gives. */
export interface TranslationBatch {
  readonly source: RaggedTokens
  /** The decoder's input: begin-of-sentence and the target's ids. */
  readonly target: RaggedTokens
  /** What shall be said at each position of `target`: the target's ids and end-of-sentence. */
  readonly labels: Int32Array
}

export interface TokenRows {
  /** i32 [N] */
  readonly ids: Tensor
  /** i32 [N]: the position of each id in its sequence. */
  readonly positionIds: Tensor
  readonly sequences: Sequences
}

export function tokenRows(argument: string, tokens: RaggedTokens, device: Tensor['device']): TokenRows {
  const lengths = Array.from(tokens.lengths)
  const total = lengths.reduce((sum, length) => sum + length, 0)
  if (total !== tokens.ids.length)
    throw new ArgumentError(`[Transformer] ${argument}.ids must hold ${total} ids, the sum of its lengths, holds ${tokens.ids.length}`)
  const positions = new Int32Array(total)
  let n = 0
  for (const length of lengths) for (let t = 0; t < length; t++) positions[n++] = t
  return {
    ids: tensor(tokens.ids, [total], { device }),
    positionIds: tensor(positions, [total], { device }),
    sequences: Sequences.of(lengths, device),
  }
}

/** i32 [batch · count]: positions `start` to `start` + `count` − 1 for each of `batch` sequences. */
export function stepPositions(start: number, count: number, batch: number, device: Tensor['device']): Tensor {
  if (count === 1) return full([batch], start, { device, dtype: 'i32' })
  return tensor(
    Int32Array.from({ length: batch * count }, (_, i) => start + (i % count)),
    [batch * count],
    { device },
  )
}

export type Positions = SinusoidalPositions | LearnedPositions

/** dropout(√d · embedding + position): rows [N, dModel]. */
export function embedTokens(
  embedding: Embedding,
  positions: Positions | undefined,
  tokens: TokenRows,
  length: number,
  dropout: number,
): Tensor {
  return embedding.forward(tokens.ids as Tensor<readonly number[], 'i32'>, {
    scale: Math.sqrt(embedding.embeddingDim),
    ...(positions ? { positions: positions.table(length), positionIds: tokens.positionIds } : {}),
    dropout,
  })
}

/** The parts of a model with vocabularies. Embeddings start as N(0, 1/dModel): times √dModel they are of the size of sinusoids, and tied they give logits of size 1. */
export function vocabularyParts(options: VocabularyOptions, place: Placement) {
  const { dModel, sourceVocab, targetVocab, tieEmbeddings, outputBias } = options
  const initialize = gaussian(dModel ** -0.5)
  const sourceEmbedding = new Embedding(sourceVocab, dModel, { ...place, initialize })
  const joint = tieEmbeddings === 'all' ? { tiedWeight: sourceEmbedding.weight } : {}
  const targetEmbedding = new Embedding(targetVocab, dModel, { ...place, initialize, ...joint })
  const positions = (): Positions | undefined => {
    if (options.positions === 'none') return undefined
    if (options.positions === 'learned') return new LearnedPositions(options.maxLength, dModel, place)
    return new SinusoidalPositions(dModel, { ...place, layout: options.sinusoidLayout })
  }
  const sourcePositions = positions()
  const targetPositions = sourcePositions instanceof SinusoidalPositions ? sourcePositions : positions()
  const tied = tieEmbeddings === 'none' ? {} : { tiedWeight: targetEmbedding.weight }
  const output = new Linear(dModel, targetVocab, { ...place, bias: outputBias, initialize: xavierUniform(), ...tied })
  return { sourceEmbedding, targetEmbedding, sourcePositions, targetPositions, output }
}
