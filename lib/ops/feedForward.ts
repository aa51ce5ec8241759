import { defineOp } from '../autograd/defineOp.ts'
import { recording } from '../autograd/tape.ts'
import { ArgumentError } from '../errors.ts'
import { drawForDropout } from '../generator.ts'
import { type FeedForwardArgs, feedForwardBackward, feedForward as native, schema } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import type { First, Last, Wide, WithLast } from '../types/shape.ts'
import { type Activation, activationId, activationReference, activations } from './activation.ts'
import { expectBias, expectDType, expectFeatures, expectRange, expectShape, expectTensor, formatShape, withLast } from './check.ts'
import { contiguousArgument } from './copy.ts'
import { linearReference } from './linear.ts'
import { rawCast } from './untaped.ts'

export interface FeedForwardOptions {
  /** Between the products; default relu. */
  activation?: Activation
  /** act(gate) · up in place of act: `weight1` holds the rows of the gate, then those of up. Default false. */
  gated?: boolean
  /** Probability with which an element of the hidden rows is dropped, the others scaled by 1 / (1 - dropout); default 0. */
  dropout?: number
}

export const feedForwardOp = defineOp('feedForward', {
  native,
  infer(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor | undefined,
    weight2: Tensor,
    bias2: Tensor | undefined,
    { activation = 'relu', gated = false, dropout = 0 }: FeedForwardOptions,
  ): FeedForwardArgs {
    const width = expectFeatures('feedForward', x, weight1, 'weight1')
    if (gated && width % 2 !== 0)
      throw new ArgumentError(`[feedForward] weight1 must have an even number of rows, gate and up, is ${formatShape(weight1.shape)}`)
    expectBias('feedForward', 'bias1', bias1, width, x.dtype)
    expectTensor('feedForward', 'weight2', weight2)
    expectShape('feedForward', 'weight2', weight2, [-1, gated ? width / 2 : width])
    expectDType('feedForward', 'weight2', weight2, x.dtype)
    const features = weight2.shape[0] as number
    expectBias('feedForward', 'bias2', bias2, features, x.dtype)
    expectRange('feedForward', 'dropout', dropout, 0, 1)
    const kind = activationId('feedForward', activation)
    const { id } = schema.feedForward
    const y = allocate(x.device, withLast(x.shape, features), x.dtype, id) // [..., E]
    const preactivation = recording([x, weight1, bias1, weight2, bias2])
      ? allocate(x.device, withLast(x.shape, width), x.dtype, id) // [..., F] or [..., 2F]
      : undefined
    const { seed, counter } = drawForDropout(dropout)
    return { x, weight1, bias1, weight2, bias2, y, preactivation, activation: kind, gated: Number(gated), dropout, seed, counter }
  },
  result: args => args.y,
  differentiable: ['y'],
  saves: ['x', 'weight1', 'weight2', 'preactivation'],
  backward({ saved, gradient, needs, accumulate }) {
    const { x, weight1, weight2, activation, gated, dropout, seed, counter } = saved
    const dy = rawCast(gradient.y as Tensor, x.dtype) // [..., E]
    const dx = needs.x ? allocate(x.device, x.shape, x.dtype, schema.feedForwardBackward.id) : undefined // [..., C]
    feedForwardBackward({
      dy,
      x,
      weight1,
      weight2,
      preactivation: saved.preactivation as Tensor,
      dx,
      dweight1: accumulate('weight1'),
      dbias1: accumulate('bias1'),
      dweight2: accumulate('weight2'),
      dbias2: accumulate('bias2'),
      activation,
      gated,
      dropout,
      seed,
      counter,
    })
    return { x: dx }
  },
  reference(F, { x, weight1, bias1, weight2, bias2, activation, gated, dropout, seed, counter }) {
    const first = linearReference(F, x, weight1, bias1) // [..., F] or [..., 2F]
    const kind = activations[activation] as Activation
    const width = F.shape(weight2)[1] as number
    let hidden = activationReference(F, kind, gated ? F.slice(first, -1, 0, width) : first) // [..., F]
    if (gated) hidden = F.mul(hidden, F.slice(first, -1, width, 2 * width))
    if (dropout > 0) hidden = F.mul(hidden, F.dropoutMask(F.shape(hidden), dropout, seed, counter))
    return { y: linearReference(F, hidden, weight2, bias2) } // [..., E]
  },
})

/**
 * The feed-forward block of a Transformer: dropout(act(x W1ᵀ + b1)) W2ᵀ + b2, or with a gate dropout(act(gate) · up) W2ᵀ + b2 where gate and up are
 * the halves of x W1ᵀ + b1. Without a gradient the hidden rows never exist as a whole.
 *
 * `x` [..., C], `weight1` [F, C] (gated [2F, C]), `bias1` [F] (gated [2F]), `weight2` [E, F], `bias2` [E] → [..., E]. `x` and the weights share a
 * dtype, f32 or bf16, on a GPU f16 too; the biases may be f32 too; sums are f32. Throws ArgumentError if shapes or dtypes disagree.
 */
export function feedForward<S extends Shape, W1 extends Shape, W2 extends Shape, B1 extends Shape = Shape, B2 extends Shape = Shape>(
  x: Tensor<S>,
  weight1: Wide<W1, Last<S>>,
  bias1: Wide<B1, First<W1>> | undefined,
  weight2: Tensor<W2>,
  bias2: Wide<B2, First<W2>> | undefined,
  options: FeedForwardOptions = {},
): Tensor<WithLast<S, First<W2>>> {
  return feedForwardOp(
    contiguousArgument('feedForward', 'x', x),
    contiguousArgument('feedForward', 'weight1', weight1 as Tensor),
    contiguousArgument('feedForward', 'bias1', bias1 as Tensor | undefined),
    contiguousArgument('feedForward', 'weight2', weight2),
    contiguousArgument('feedForward', 'bias2', bias2 as Tensor | undefined),
    options,
  ) as Tensor as Tensor<WithLast<S, First<W2>>>
}
