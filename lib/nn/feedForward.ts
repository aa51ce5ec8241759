import type { Activation } from '../ops/activation.ts'
import { activations } from '../ops/activation.ts'
import { concat, feedForward } from '../ops/index.ts'
import type { Shape, Tensor } from '../tensor.ts'
import type { Wide } from '../types/shape.ts'
import { expectCount, expectOneOf, expectProbability } from './check.ts'
import { type Initializer, xavierUniform } from './initialize.ts'
import { Linear } from './linear.ts'
import { Module, type Placement } from './module.ts'

export interface FeedForwardOptions<C extends number = number> {
  dModel: C
  /** Width of the hidden rows. Default 4 · dModel. */
  dFeedForward?: number
  /** 'relu' (default), 'gelu' (erf), 'geluTanh', 'silu', 'relu2'. */
  activation?: Activation
  /** act(gate) · up instead of act(x): linear1 then has 2 · dFeedForward rows, first those of the gate. Default false. */
  gated?: boolean
  /** Dropout on the hidden rows, while training. Default 0. */
  dropout?: number
  /** Default true. */
  bias?: boolean
}

/**
 * linear2(dropout(act(linear1(x)))): the feed-forward block of a Transformer, position by position, in one op that keeps no activated rows for backward.
 * Weights start Xavier-uniform (gate and up each by itself), biases U(±1/√fanIn), as in torch.nn.Transformer.
 */
export class FeedForward<C extends number = number> extends Module {
  readonly activation: Activation
  readonly gated: boolean
  readonly dropout: number
  readonly linear1: Linear
  readonly linear2: Linear

  constructor(options: FeedForwardOptions<C>, place: Placement = {}) {
    super()
    const { dModel, dFeedForward = 4 * dModel, activation = 'relu', gated = false, dropout = 0, bias = true } = options
    expectCount('FeedForward', 'dModel', dModel)
    expectCount('FeedForward', 'dFeedForward', dFeedForward)
    expectOneOf('FeedForward', 'activation', activation, activations)
    expectProbability('FeedForward', 'dropout', dropout)
    this.activation = activation
    this.gated = gated
    this.dropout = dropout
    const initialize = gated ? eachHalf(xavierUniform()) : xavierUniform()
    this.linear1 = new Linear(dModel, gated ? 2 * dFeedForward : dFeedForward, { ...place, bias, initialize })
    this.linear2 = new Linear(dFeedForward, dModel, { ...place, bias, initialize: xavierUniform() })
  }

  /** [..., dModel] → [..., dModel] */
  forward<S extends Shape>(x: Wide<S, C>): Tensor<S> {
    const { linear1, linear2, activation, gated } = this
    const dropout = this.training ? this.dropout : 0
    return feedForward(x as Tensor, linear1.weight, linear1.bias, linear2.weight, linear2.bias, { activation, gated, dropout }) as Tensor<S>
  }
}

/** The two matrices of a gated block are drawn one by one. */
const eachHalf =
  (initialize: Initializer): Initializer =>
  ([rows, columns], place) => {
    const half = [(rows as number) / 2, columns as number]
    return concat([initialize(half, place), initialize(half, place)], 0)
  }
