import { ArgumentError } from '../errors.ts'
import { clone, crossEntropy } from '../ops/index.ts'
import { noGrad, persistent, scope } from '../scope.ts'
import { Sequences } from '../sequences.ts'
import { type Shape, Tensor, tensor } from '../tensor.ts'
import type { Wide } from '../types/shape.ts'
import { expectCount } from './check.ts'
import { DecodeCache, type Memory } from './decodeCache.ts'
import type { TargetOptions } from './decoderInputs.ts'
import type { Embedding } from './embedding.ts'
import type { Linear } from './linear.ts'
import { Module, type Placement } from './module.ts'
import {
  embedTokens,
  type Positions,
  type RaggedTokens,
  stepPositions,
  type TokenRows,
  type TranslationBatch,
  tokenRows,
  vocabularyParts,
} from './tokens.ts'
import { TransformerDecoder } from './transformerDecoder.ts'
import { TransformerEncoder } from './transformerEncoder.ts'
import { resolveTransformer, type TransformerOptions } from './transformerOptions.ts'

/** Arguments of a call without vocabularies: those of nn.Transformer. */
export interface TransformerForward extends TargetOptions {
  /** Which source tokens see which. */
  srcMask?: TargetOptions['tgtMask']
  /** Which source tokens are real; the memory's padding is the same unless `memoryKeyPaddingMask` says otherwise. */
  srcKeyPaddingMask?: TargetOptions['tgtKeyPaddingMask']
  srcIsCausal?: boolean | undefined
  /** The sequences of packed source rows; the memory's too. */
  srcSequences?: Sequences | undefined
}

export interface LossOptions {
  /** Default 0. */
  labelSmoothing?: number
  /** What divides the sum over the tokens. Default their number; for accumulation, the number of all tokens of the batches together. */
  normalizer?: number
}

/**
 * Encoder and decoder: torch.nn.Transformer (batch first) with its keys, each layer with a start of its own.
 *
 * With `sourceVocab` and `targetVocab` it is a whole translator: it owns embeddings (times √dModel, plus positions, then dropout) and the projection to
 * the vocabulary, takes ragged batches of ids, and masks the future by itself. Keys of these: `source_embedding`, `target_embedding`,
 * `source_positions`, `target_positions`, `output`.
 */
export class Transformer<C extends number = number> extends Module {
  static override readonly stateKeys: Readonly<Record<string, string>> = {
    sourceEmbedding: 'source_embedding',
    targetEmbedding: 'target_embedding',
    sourcePositions: 'source_positions',
    targetPositions: 'target_positions',
  }

  readonly dModel: C
  readonly dropout: number
  /** With vocabularies only. */
  readonly sourceEmbedding: Embedding | undefined
  readonly sourcePositions: Positions | undefined
  readonly targetEmbedding: Embedding | undefined
  readonly targetPositions: Positions | undefined
  readonly encoder: TransformerEncoder<C>
  readonly decoder: TransformerDecoder<C>
  readonly output: Linear | undefined

  constructor(options: TransformerOptions<C> = {}, place: Placement = {}) {
    super()
    const { stack, numEncoderLayers, numDecoderLayers, vocabulary } = resolveTransformer(options)
    this.dModel = stack.dModel
    this.dropout = stack.dropout ?? 0.1
    const parts = vocabulary && vocabularyParts(vocabulary, place)
    this.sourceEmbedding = parts?.sourceEmbedding
    this.sourcePositions = parts?.sourcePositions
    this.targetEmbedding = parts?.targetEmbedding
    this.targetPositions = parts?.targetPositions
    this.encoder = new TransformerEncoder({ ...stack, numLayers: numEncoderLayers }, place)
    this.decoder = new TransformerDecoder({ ...stack, numLayers: numDecoderLayers }, place)
    this.output = parts?.output
  }

  /** Logits [N, targetVocab] of a ragged batch, for each token of `batch.target`; or, without vocabularies, nn.Transformer's rows, like `tgt`. */
  forward(batch: Pick<TranslationBatch, 'source' | 'target'>): Tensor
  forward<S extends Shape, T extends Shape>(src: Wide<S, C>, tgt: Wide<T, C>, options?: TransformerForward): Tensor<T>
  forward(first: Pick<TranslationBatch, 'source' | 'target'> | Tensor, tgt?: Tensor, options: TransformerForward = {}): Tensor {
    if (!(first instanceof Tensor)) return scope(() => this.decode(first.target, this.encode(first.source)))
    const { srcMask, srcKeyPaddingMask, srcIsCausal, srcSequences, ...target } = options
    const { memoryKeyPaddingMask = srcKeyPaddingMask, memorySequences = srcSequences } = target
    return scope(() => {
      const source = { srcMask, srcKeyPaddingMask, isCausal: srcIsCausal, sequences: srcSequences }
      const memory = this.encoder.forward<Shape>(first as never, source)
      return this.decoder.forward<Shape, Shape>(tgt as never, memory as never, { ...target, memoryKeyPaddingMask, memorySequences })
    })
  }

  /** The memory of source sequences. */
  encode(source: RaggedTokens): Memory {
    const { sourceEmbedding } = this.#vocabulary('encode')
    return scope(() => {
      const tokens = tokenRows('source', source, sourceEmbedding.weight.device)
      const { sequences } = tokens
      const x = embedTokens(sourceEmbedding, this.sourcePositions, tokens, sequences.maxLength, this.dropout) // [N, C]
      return { rows: this.encoder.run(x, { sequences }), sequences }
    })
  }

  /** Logits [N, targetVocab] for each token of the target sequences, of which each token sees itself and those before it. */
  decode(target: RaggedTokens, memory: Memory): Tensor {
    const { targetEmbedding } = this.#vocabulary('decode')
    return scope(() => {
      const tokens = tokenRows('target', target, targetEmbedding.weight.device)
      return this.#logits(tokens, tokens.sequences.maxLength, memory)
    })
  }

  /** Cross-entropy of `batch.labels`: the mean over the target's tokens, f32 [1]. */
  loss(batch: TranslationBatch, options: LossOptions = {}): Tensor {
    return scope(() => {
      const logits = this.forward(batch) // [N, V]
      const labels = tensor(batch.labels, [batch.labels.length], { device: logits.device })
      return crossEntropy(logits, labels, { ...options })
    })
  }

  /** Encodes source sequences (or copies what `encode` gave) and makes room for targets of up to `maxLength` tokens. Dispose the cache at the end. */
  newCache(source: RaggedTokens | Memory, maxLength: number): DecodeCache {
    expectCount('newCache', 'maxLength', maxLength)
    this.#vocabulary('newCache')
    this.targetPositions?.table(maxLength)
    const memory = persistent(() =>
      noGrad(() => {
        if (!('rows' in source)) return this.encode(source)
        return { rows: clone(source.rows), sequences: Sequences.of(source.sequences.lengths, source.rows.device) }
      }),
    )
    return new DecodeCache(this.decoder.layers.length, memory, maxLength)
  }

  /**
   * The next token of every sequence of the cache: ids [B] → logits [B, targetVocab]. Ids of several tokens, [B · T] sequence after sequence, give as many
   * rows. The logits are those of `decode` for the same tokens. No gradients.
   */
  decodeStep(ids: ArrayLike<number> | Tensor, cache: DecodeCache): Tensor {
    const { device } = this.#vocabulary('decodeStep').targetEmbedding.weight
    return noGrad(() =>
      scope(() => {
        if (cache.layers.length !== this.decoder.layers.length)
          throw new ArgumentError(
            `[decodeStep] cache must be of a model with ${this.decoder.layers.length} decoder layers, is of one with ${cache.layers.length}`,
          )
        const given = ids instanceof Tensor ? ids : tensor(Int32Array.from(ids), [ids.length], { device })
        const count = given.size / cache.count
        if (!Number.isInteger(count) || count === 0)
          throw new ArgumentError(`[decodeStep] ids must be one or more for each of ${cache.count} sequences, are ${given.size}`)
        const positionIds = stepPositions(cache.length, count, cache.count, device)
        return this.#logits({ ids: given, positionIds, sequences: cache.steps(count) }, cache.maxLength, cache.memory, cache)
      }),
    )
  }

  #logits(tokens: TokenRows, length: number, memory: Memory, cache?: DecodeCache): Tensor {
    const { targetEmbedding, output } = this.#vocabulary('decode')
    const x = embedTokens(targetEmbedding, this.targetPositions, tokens, length, this.dropout) // [N, C]
    const self = cache ? { isCausal: true } : { isCausal: true, sequences: tokens.sequences }
    const context = { self, memory: memory.rows, cross: { sequences: { q: tokens.sequences, k: memory.sequences } } }
    return output.forward<Shape>(this.decoder.run(x, context, cache?.layers) as never) // [N, V]
  }

  #vocabulary(method: string) {
    const { sourceEmbedding, targetEmbedding, output } = this
    if (sourceEmbedding === undefined || targetEmbedding === undefined || output === undefined)
      throw new ArgumentError(`[Transformer] ${method} needs a model with sourceVocab and targetVocab`)
    return { sourceEmbedding, targetEmbedding, output }
  }
}
