import type { Activation } from '../ops/activation.ts'
import { expectOneOf, expectProbability } from './check.ts'
import { FeedForward } from './feedForward.ts'
import type { Placement } from './module.ts'
import { MultiheadAttention } from './multiheadAttention.ts'
import { makeNorm, type Norm, type NormKind, normKinds } from './norm.ts'

/** Options that encoder and decoder layers share. */
export interface TransformerLayerOptions<C extends number = number> {
  dModel: C
  numHeads: number
  /** Width of the feed-forward block's hidden rows. Default 4 · dModel. */
  dFeedForward?: number
  /** On attention weights, hidden rows, and each block's result, while training. Default 0.1. */
  dropout?: number
  /** 'relu' (default), 'gelu' (erf), 'geluTanh', 'silu', 'relu2'. */
  activation?: Activation
  /** act(gate) · up in the feed-forward block. Default false. */
  gated?: boolean
  /** Where the norms stand: 'post' is norm(x + block(x)), 'pre' is x + block(norm(x)). Default 'post'. */
  norm?: 'pre' | 'post'
  /** 'layer' (default) or 'rms'. */
  normKind?: NormKind
  /** Default 1e-5. */
  layerNormEps?: number
  /** Whether projections, feed-forward and norms have biases. Default true. */
  bias?: boolean
  /** Heads of keys and values. Default numHeads. */
  numKVHeads?: number
  /** Width of a head. Default dModel / numHeads. */
  headDim?: number
}

/** The parts of a layer, made from its options. */
export class LayerParts<C extends number = number> {
  readonly norm: 'pre' | 'post'
  readonly dropout: number
  readonly #options: TransformerLayerOptions<C>
  readonly #place: Placement

  constructor(module: string, options: TransformerLayerOptions<C>, place: Placement) {
    const { norm = 'post', normKind = 'layer', dropout = 0.1 } = options
    expectOneOf(module, 'norm', norm, ['pre', 'post'])
    expectOneOf(module, 'normKind', normKind, normKinds)
    expectProbability(module, 'dropout', dropout)
    this.norm = norm
    this.dropout = dropout
    this.#options = options
    this.#place = place
  }

  attention(): MultiheadAttention<C> {
    const { dModel, numHeads, bias = true, numKVHeads, headDim } = this.#options
    return new MultiheadAttention<C>(
      {
        embedDim: dModel,
        numHeads,
        bias,
        dropout: this.dropout,
        ...(numKVHeads === undefined ? {} : { numKVHeads }),
        ...(headDim === undefined ? {} : { headDim }),
      },
      this.#place,
    )
  }

  feedForward(): FeedForward<C> {
    const { dModel, dFeedForward = 4 * dModel, activation = 'relu', gated = false, bias = true } = this.#options
    return new FeedForward<C>({ dModel, dFeedForward, activation, gated, bias, dropout: this.dropout }, this.#place)
  }

  makeNorm(): Norm {
    const { dModel, normKind = 'layer', layerNormEps = 1e-5, bias = true } = this.#options
    return makeNorm(normKind, dModel, { ...this.#place, eps: layerNormEps, bias })
  }
}
