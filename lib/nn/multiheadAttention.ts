import { ArgumentError } from '../errors.ts'
import { attention, attentionWeights, reshape } from '../ops/index.ts'
import { scope } from '../scope.ts'
import type { Sequences } from '../sequences.ts'
import type { Shape, Tensor } from '../tensor.ts'
import type { Wide, WithLast } from '../types/shape.ts'
import { type AttentionInputOptions, type AttentionInputs, resolveInputs } from './attentionInputs.ts'
import { type AttentionSizes, type MultiheadAttentionOptions, resolveSizes } from './attentionOptions.ts'
import { type Heads, mergeHeads, project } from './attentionProjections.ts'
import { appendExtraKeys } from './extraKeys.ts'
import { constant, gaussian, packedParameter, parameter, xavierUniform } from './initialize.ts'
import { CrossAttentionCache, SelfAttentionCache } from './keyValueCache.ts'
import { Linear } from './linear.ts'
import { Module, type Placement } from './module.ts'

export interface MultiheadAttentionForward extends AttentionInputOptions {
  /** Whether to return the attention weights, which a second pass computes. Default false. */
  needWeights?: boolean
  /** Weights averaged over the heads. Default true. */
  averageAttnWeights?: boolean
  /** For decoding: keys and values of earlier tokens, of which every sequence has as many (no packed `sequences`), or of the memory. */
  cache?: SelfAttentionCache | CrossAttentionCache | undefined
}

export interface AttentionResult<S extends Shape = Shape> {
  /** Like the query: [B, Tq, embedDim], [Tq, embedDim], or packed [Nq, embedDim]. */
  output: Tensor<S>
  /** f32 [B, Tq, Tk], or [B, numHeads, Tq, Tk] if not averaged; without B if unbatched. Tk counts the appended keys. No gradient flows through them. */
  weights?: Tensor
}

/**
 * Attention of several heads, softmax(Q Kᵀ / √headDim) V with projections before and after, as torch.nn.MultiheadAttention (batch first).
 *
 * Inputs are [B, T, width], [T, width] (unbatched), or packed rows [N, width] with `sequences`. A query that sees no key gets 0 from attention (so its
 * output is the output projection's bias). State: `in_proj_weight` [(numHeads + 2 numKVHeads) · headDim, embedDim] with the rows of queries, keys and
 * values, or `q_proj_weight`, `k_proj_weight`, `v_proj_weight` if kdim or vdim differ from embedDim; `in_proj_bias`; `bias_k`, `bias_v` [1, 1, numKVHeads ·
 * headDim]; `out_proj.weight`, `out_proj.bias`. Weights start Xavier-uniform, each of the four matrices by itself, biases as zeros, `bias_k` and `bias_v`
 * Xavier-normal. Throws ArgumentError for options that do not fit each other.
 */
export class MultiheadAttention<E extends number = number, K extends number = E, V extends number = E> extends Module {
  static override readonly stateKeys: Readonly<Record<string, string>> = {
    inProjWeight: 'in_proj_weight',
    qProjWeight: 'q_proj_weight',
    kProjWeight: 'k_proj_weight',
    vProjWeight: 'v_proj_weight',
    inProjBias: 'in_proj_bias',
    biasK: 'bias_k',
    biasV: 'bias_v',
    outProj: 'out_proj',
  }

  readonly sizes: AttentionSizes
  readonly dropout: number
  readonly addZeroAttn: boolean
  inProjWeight: Tensor | undefined
  qProjWeight: Tensor | undefined
  kProjWeight: Tensor | undefined
  vProjWeight: Tensor | undefined
  inProjBias: Tensor | undefined
  biasK: Tensor | undefined
  biasV: Tensor | undefined
  readonly outProj: Linear

  constructor(options: MultiheadAttentionOptions<E, K, V>, place: Placement = {}) {
    super()
    this.sizes = resolveSizes(options)
    const { dropout = 0, bias = true, addBiasKV = false, addZeroAttn = false } = options
    const { embedDim, kdim, vdim, queryRows, keyRows, packed } = this.sizes
    this.dropout = dropout
    this.addZeroAttn = addZeroAttn
    const xavier = xavierUniform()
    const matrices = [
      { shape: [queryRows, embedDim], initialize: xavier },
      { shape: [keyRows, kdim], initialize: xavier },
      { shape: [keyRows, vdim], initialize: xavier },
    ] as const
    this.inProjWeight = packed ? packedParameter(matrices, place) : undefined
    const separate = (index: 0 | 1 | 2) => (packed ? undefined : packedParameter([matrices[index]], place))
    this.qProjWeight = separate(0)
    this.kProjWeight = separate(1)
    this.vProjWeight = separate(2)
    this.inProjBias = bias ? parameter([queryRows + 2 * keyRows], constant(0), place) : undefined
    const extra = () => (addBiasKV ? parameter([1, 1, keyRows], gaussian(Math.sqrt(2 / (keyRows + 1))), place) : undefined)
    this.biasK = extra()
    this.biasV = extra()
    this.outProj = new Linear(queryRows, embedDim, { ...place, bias, initialize: xavier, initializeBias: constant(0) })
  }

  /** Keys default to the query, values to the keys. */
  forward<S extends Shape, SK extends Shape = S, SV extends Shape = SK>(
    query: Wide<S, E>,
    key: Wide<SK, K> = query as never,
    value: Wide<SV, V> = key as never,
    options: MultiheadAttentionForward = {},
  ): AttentionResult<WithLast<S, E>> {
    return scope(() => {
      const past = options.cache instanceof SelfAttentionCache ? options.cache.length : 0
      const inputs = resolveInputs(this.sizes, query as Tensor, key as Tensor, value as Tensor, options, past)
      const heads = this.#heads(inputs, options.cache)
      return this.#attend(inputs, heads, options) as AttentionResult<WithLast<S, E>>
    })
  }

  #heads({ query, key, value, sequences: packed }: AttentionInputs, cache: MultiheadAttentionForward['cache']): Heads {
    if (cache === undefined) return project(this.sizes, this, { query, key, value }) as Heads
    if (cache instanceof CrossAttentionCache) {
      const { q } = project(this.sizes, this, { query }) as Heads
      return { q, ...cache.get(() => project(this.sizes, this, { key, value }) as Heads) }
    }
    if (packed)
      throw new ArgumentError(
        '[MultiheadAttention] sequences must not be given with a SelfAttentionCache: in it all sequences grow by as many tokens, so query is [B, T, embedDim]',
      )
    const { q, k, v } = project(this.sizes, this, { query, key, value }) as Heads
    return { q, ...cache.append(k, v) }
  }

  #attend({ mask, sequences, unbatched }: AttentionInputs, heads: Heads, options: MultiheadAttentionForward): AttentionResult {
    const { extraKeys } = this.sizes
    let { k, v } = heads
    let keySequences: Sequences | undefined = sequences?.k
    if (extraKeys > 0) {
      const extra = { biasK: this.biasK, biasV: this.biasV, zero: this.addZeroAttn }
      ;({ k, v, sequences: keySequences } = appendExtraKeys(k, v, extra, sequences?.k))
    }
    const settings = {
      ...(mask ? { mask } : {}),
      ...(sequences && keySequences ? { sequences: { q: sequences.q, k: keySequences } } : {}),
      extraKeys,
    }
    const { output, logSumExp } = attention(heads.q, k, v, { ...settings, dropout: this.training ? this.dropout : 0 }) // [B, Tq, H, D]
    const merged = mergeHeads(output, this.outProj.weight, this.outProj.bias) // [B, Tq, E]
    const result: AttentionResult = { output: unbatched ? reshape(merged, merged.shape.slice(1)) : merged }
    if (options.needWeights) {
      const average = options.averageAttnWeights ?? true
      const weights = attentionWeights(heads.q, k, logSumExp, { ...settings, average }) // [B, H or 1, Tq, Tk]
      const [batch, , queries, keys] = weights.shape as [number, number, number, number]
      const batched = average ? reshape(weights, [batch, queries, keys]) : weights
      result.weights = unbatched ? reshape(batched, batched.shape.slice(1)) : batched
    }
    return result
  }
}
