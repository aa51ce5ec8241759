import { defineOp } from '../autograd/defineOp.ts'
import { ArgumentError } from '../errors.ts'
import { drawForDropout } from '../generator.ts'
import { type AttentionArgs, attentionBackward, attention as native, schema } from '../native.generated.ts'
import { ambient } from '../scope.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import type { Last, Leading, Wide, WithLast } from '../types/shape.ts'
import { allocateLike } from './allocateLike.ts'
import {
  asRows,
  type CacheOptions,
  headsFirst,
  lastContiguous,
  referenceScores,
  type AttentionOptions as SharedOptions,
  sharedArguments,
  wholeRows,
} from './attentionArguments.ts'
import { expectDType, expectShape, expectTensor, withLast } from './check.ts'
import type { ArrayOps } from './reference.ts'
import { rawCast } from './untaped.ts'

export interface AttentionOptions extends SharedOptions, CacheOptions {
  /** Probability that a weight is dropped, from 0 to below 1; the others grow by 1 / (1 - dropout). Default 0. */
  dropout?: number | undefined
}

/** Softmax over the last dimension in which a row of -inf gives zeros; and the logarithm of its sum. */
function softmaxOf<T>(F: ArrayOps<T>, scores: T): { weights: T; logSumExp: T } {
  const shape = F.shape(scores)
  const last = shape.length - 1
  const most = F.max(scores, [last])
  const base = F.constant(
    F.values(most).map(x => (x === Number.NEGATIVE_INFINITY ? 0 : x)),
    F.shape(most),
  )
  const exps = F.exp(F.sub(scores, base))
  const sums = F.sum(exps, [last])
  const empty = F.compare(sums, 0, (x, y) => x === y)
  return {
    weights: F.div(exps, F.where(empty, 1, sums)),
    logSumExp: F.where(empty, Number.NEGATIVE_INFINITY, F.add(base, F.log(F.where(empty, 1, sums)))),
  }
}

/** Caches are written by other means than the tape's: there is nothing that a gradient could come back to. */
function refuseGradients(inputs: Record<string, Tensor | undefined>): void {
  if (!ambient().recordsGradients) return
  for (const [name, input] of Object.entries(inputs))
    if (input?.requiresGrad)
      throw new ArgumentError(`[attention] ${name} must not require a gradient where cacheLengths are given: call it within noGrad`)
}

const attentionOp = defineOp('attention', {
  native,
  infer(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): AttentionArgs {
    const shared = sharedArguments('attention', q, k, options)
    expectDType('attention', 'v', v, q.dtype)
    expectShape('attention', 'v', v, withLast(k.shape, -1))
    if (shared.cacheLengths) refuseGradients({ q, k, v, bias: shared.bias })
    const { dropout = 0 } = options
    if (!(dropout >= 0 && dropout < 1)) throw new ArgumentError(`[attention] dropout must be from 0 to below 1, is ${dropout}`)
    const { id } = schema.attention
    const { seed, counter } = drawForDropout(dropout)
    return {
      q,
      k,
      v,
      qOffsets: shared.qOffsets,
      kOffsets: shared.kOffsets,
      cacheLengths: shared.cacheLengths,
      blockTable: shared.blockTable,
      keyLengths: shared.keyLengths,
      keep: shared.keep,
      bias: shared.bias,
      output: allocate(q.device, withLast(q.shape, v.shape.at(-1) as number), q.dtype, id),
      logSumExp: allocate(q.device, q.shape.slice(0, -1), 'f32', id),
      batch: shared.batch,
      maxQ: shared.maxQ,
      maxK: shared.maxK,
      causal: shared.causal,
      windowLeft: shared.windowLeft,
      windowRight: shared.windowRight,
      extraKeys: shared.extraKeys,
      scale: shared.scale,
      dropout,
      seed,
      counter,
    }
  },
  result: ({ output, logSumExp }) => ({ output, logSumExp }),
  differentiable: ['output'],
  saves: ['q', 'k', 'v', 'qOffsets', 'kOffsets', 'keyLengths', 'keep', 'bias', 'output', 'logSumExp'],
  backward({ saved, gradient, needs }) {
    const arrived = gradient.output as Tensor
    const { id } = schema.attentionBackward
    const [dq, dk, dv] = allocateLike([saved.q, saved.k, saved.v], id) as [Tensor, Tensor, Tensor]
    const dbias = needs.bias && saved.bias ? allocate(saved.q.device, saved.bias.shape, 'f32', id) : undefined
    const doutput = lastContiguous(arrived) ? arrived : rawCast(arrived, arrived.dtype)
    attentionBackward({
      doutput,
      q: saved.q,
      k: saved.k,
      v: saved.v,
      output: saved.output,
      logSumExp: saved.logSumExp,
      qOffsets: saved.qOffsets,
      kOffsets: saved.kOffsets,
      keyLengths: saved.keyLengths,
      keep: saved.keep,
      bias: saved.bias,
      dq,
      dk,
      dv,
      dbias,
      batch: saved.batch,
      maxQ: saved.maxQ,
      maxK: saved.maxK,
      causal: saved.causal,
      windowLeft: saved.windowLeft,
      windowRight: saved.windowRight,
      extraKeys: saved.extraKeys,
      scale: saved.scale,
      dropout: saved.dropout,
      seed: saved.seed,
      counter: saved.counter,
    })
    return { q: dq, k: dk, v: dv, bias: dbias }
  },
  reference(F, args) {
    const [q, k, v] = [args.q, asRows(F, args.k), asRows(F, args.v)]
    const heads = F.shape(q).at(-2) as number
    const valueDim = F.shape(v).at(-1) as number
    const drop =
      args.dropout > 0 ? F.dropoutMask([args.batch, heads, args.maxQ, args.maxK], args.dropout, args.seed, args.counter) : undefined
    const parts = referenceScores(F, { ...args, q, k }).map(({ queries, keysOf, scores }, b) => {
      const { weights, logSumExp } = softmaxOf(F, scores)
      const [, tq, tk] = F.shape(scores) as [number, number, number]
      const kept =
        drop === undefined
          ? weights
          : F.mul(weights, F.reshape(F.slice(F.slice(F.slice(drop, 0, b, b + 1), 2, 0, tq), 3, 0, tk), [heads, tq, tk]))
      return {
        output: F.transpose(F.matmul(kept, headsFirst(F, keysOf(v), heads)), 0, 1), // [Tq, H, Dv]
        logSumExp: F.transpose(F.reshape(logSumExp, [heads, queries[1] - queries[0]]), 0, 1), // [Tq, H]
      }
    })
    const rows = F.shape(q).slice(0, -1)
    const joined = <K extends 'output' | 'logSumExp'>(key: K, shape: readonly number[]) =>
      parts.length === 0
        ? F.full(shape, 0)
        : F.reshape(
            F.concat(
              parts.map(part => part[key]),
              0,
            ),
            shape,
          )
    return { output: joined('output', [...rows, valueDim]), logSumExp: joined('logSumExp', rows) }
  },
})

/**
 * softmax(q kᵀ · scale + masks) v for each head, blockwise: the matrix of weights is never stored. Heads of k and v serve groups of query heads in
 * order (H a multiple of Hkv). Ragged rows [N, H, D] with `sequences` cost nothing for padding.
 *
 * With `cacheLengths`, k and v are caches, contiguous or (with `blockTable`) paged. Sequence b has `cacheLengths[b]` keys, those of its queries
 * among them: causal and window masks are aligned with the last one. For keep, bias and dropout, Tk is the capacity. No gradient flows then. A
 * length below 0 or beyond the capacity, and a page that is needed and does not exist, reject the next read that depends on them.
 *
 * @param q [B, Tq, H, D], or ragged [Nq, H, D]. f32 or bf16, on a GPU also f16; computed in f32.
 * @param k [B, Tk, Hkv, D] or [Nk, Hkv, D]; a cache is [B, capacity, Hkv, D] or [pages, pageSize, Hkv, D], also where q is ragged.
 * @param v [B, Tk, Hkv, Dv] or [Nk, Hkv, Dv]; a cache likewise.
 * @returns `output` like q with Dv in place of D: 0 in rows that see no key. `logSumExp` f32 [B, Tq, H] or [Nq, H], natural, -inf in such rows; no
 * gradient flows through it.
 * Throws ArgumentError naming the argument that does not fit. Formula: Vaswani et al. 2017; blockwise: Dao 2023 (FlashAttention-2).
 */
export function attention<Q extends Shape, K extends Shape, V extends Shape>(
  q: Tensor<Q>,
  k: Wide<K, Last<Q>>,
  v: Tensor<V>,
  options: AttentionOptions = {},
): { output: Tensor<WithLast<Q, Last<V>>>; logSumExp: Tensor<Leading<Q>, 'f32'> } {
  expectTensor('attention', 'q', q)
  expectTensor('attention', 'k', k)
  expectTensor('attention', 'v', v)
  const result: { output: Tensor; logSumExp: Tensor } = attentionOp(wholeRows(q), wholeRows(k), wholeRows(v), options)
  return result as { output: Tensor<WithLast<Q, Last<V>>>; logSumExp: Tensor<Leading<Q>, 'f32'> }
}

export { attentionOp }
