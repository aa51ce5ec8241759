import { defineOp } from '../autograd/defineOp.ts'
import type { DType } from '../dtype.ts'
import { ArgumentError } from '../errors.ts'
import { type AttentionWeightsArgs, attentionWeights as native, schema } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import type { Last, Leading, Shaped, Wide } from '../types/shape.ts'
import { type AttentionOptions, asRows, type CacheOptions, referenceScores, sharedArguments, wholeRows } from './attentionArguments.ts'
import { expectDType, expectShape, expectTensor } from './check.ts'
import { contiguous } from './copy.ts'

export interface AttentionWeightsOptions extends AttentionOptions {
  /** The mean over heads, [B, 1, Tq, Tk]. Default false. */
  average?: boolean | undefined
}

const weightsOp = defineOp('attentionWeights', {
  native,
  infer(q: Tensor, k: Tensor, logSumExp: Tensor, options: AttentionWeightsOptions): AttentionWeightsArgs {
    if ((options as CacheOptions).cacheLengths !== undefined)
      throw new ArgumentError('[attentionWeights] cacheLengths must be absent: weights are not made of caches')
    const shared = sharedArguments('attentionWeights', q, k, options)
    expectDType('attentionWeights', 'logSumExp', logSumExp, 'f32')
    expectShape('attentionWeights', 'logSumExp', logSumExp, q.shape.slice(0, -1))
    const heads = options.average ? 1 : (q.shape.at(-2) as number)
    const shape = [shared.batch, heads, shared.maxQ, shared.maxK]
    return {
      q,
      k,
      logSumExp,
      qOffsets: shared.qOffsets,
      kOffsets: shared.kOffsets,
      keyLengths: shared.keyLengths,
      keep: shared.keep,
      bias: shared.bias,
      weights: allocate(q.device, shape, 'f32', schema.attentionWeights.id),
      batch: shared.batch,
      maxQ: shared.maxQ,
      maxK: shared.maxK,
      causal: shared.causal,
      windowLeft: shared.windowLeft,
      windowRight: shared.windowRight,
      extraKeys: shared.extraKeys,
      scale: shared.scale,
    }
  },
  result: args => args.weights,
  differentiable: ['weights'],
  saves: [],
  backward: 'none',
  reference(F, args) {
    const heads = F.shape(args.q).at(-2) as number
    const outHeads = F.shape(args.weights)[1] as number
    const logSumExp = asRows(F, F.reshape(args.logSumExp, [...F.shape(args.logSumExp), 1])) // [N, H, 1]
    const parts = referenceScores(F, args).map(({ queries, scores }) => {
      const [, tq, tk] = F.shape(scores) as [number, number, number]
      const sums = F.transpose(F.slice(logSumExp, 0, queries[0], queries[1]), 0, 1) // [H, Tq, 1]
      const base = F.where(
        F.compare(sums, Number.NEGATIVE_INFINITY, (x, y) => x === y),
        0,
        sums,
      )
      let weights = F.exp(F.sub(scores, base))
      if (outHeads !== heads) weights = F.div(F.sum(weights, [0]), heads)
      const wide = F.concat([weights, F.full([outHeads, tq, args.maxK - tk], 0)], 2)
      return F.reshape(F.concat([wide, F.full([outHeads, args.maxQ - tq, args.maxK], 0)], 1), [1, outHeads, args.maxQ, args.maxK])
    })
    return { weights: parts.length === 0 ? F.full(F.shape(args.weights), 0) : F.concat(parts, 0) }
  },
})

/**
 * The weights that `attention` used and did not store, recomputed from its log-sum-exp; without dropout, as PyTorch's are in evaluation. Rows sum
 * to 1, or to 0 where a query sees no key; positions beyond a ragged sequence's end are 0. No gradient flows through them.
 *
 * @param q as given to `attention`. @param k likewise. @param logSumExp from its result. @param options the same mask, scale, sequences and extraKeys.
 * @returns f32 [B, H, Tq, Tk], or [B, 1, Tq, Tk] averaged; for ragged sequences Tq and Tk are the longest lengths.
 */
export function attentionWeights<Q extends Shape, K extends Shape, L extends Shape>(
  q: Tensor<Q>,
  k: Wide<K, Last<Q>>,
  logSumExp: Shaped<L, Leading<Q>>,
  options: AttentionWeightsOptions = {},
): Tensor<Shape, 'f32'> {
  expectTensor('attentionWeights', 'q', q)
  expectTensor('attentionWeights', 'k', k)
  expectTensor('attentionWeights', 'logSumExp', logSumExp)
  return weightsOp(wholeRows(q), wholeRows(k), contiguous<Shape, DType>(logSumExp), options) as Tensor<Shape, 'f32'>
}

export { weightsOp }
