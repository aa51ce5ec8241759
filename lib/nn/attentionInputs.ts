import { ArgumentError } from '../errors.ts'
import type { Mask } from '../mask.ts'
import { formatShape } from '../ops/check.ts'
import { reshape } from '../ops/index.ts'
import { Sequences } from '../sequences.ts'
import type { Tensor } from '../tensor.ts'
import { attentionMask } from './attentionMask.ts'
import type { AttentionSizes } from './attentionOptions.ts'

export interface AttentionInputOptions {
  /** Which keys a query sees: a tensor mask is [Tq, Tk], [B · numHeads, Tq, Tk] (row b · numHeads + h), or broadcasts to [B, numHeads, Tq, Tk]. */
  mask?: Mask | undefined
  /** Which keys are real: key lengths, or a tensor mask [B, Tk] ([Tk] if unbatched). */
  keyPaddingMask?: Mask | undefined
  /** The same as `mask` together with `Mask.causal()`. Default false. */
  isCausal?: boolean | undefined
  /** The sequences that packed inputs [N, width] consist of: one for self-attention, or those of queries and of keys. */
  sequences?: Sequences | { q: Sequences; k: Sequences } | undefined
}

/** What attention computes with. */
export interface AttentionInputs {
  /** [B, Tq, embedDim], or packed [Nq, embedDim]. */
  readonly query: Tensor
  readonly key: Tensor
  readonly value: Tensor
  readonly mask: Mask | undefined
  /** Of packed inputs. */
  readonly sequences: { readonly q: Sequences; readonly k: Sequences } | undefined
  /** Whether the caller's tensors had no batch dimension. */
  readonly unbatched: boolean
}

const name = 'MultiheadAttention'

/** Checks a call and gives it one form; `pastKeys` are in a cache. Throws ArgumentError that names the argument. */
export function resolveInputs(
  sizes: AttentionSizes,
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionInputOptions,
  pastKeys: number,
): AttentionInputs {
  const { sequences } = options
  const pair = sequences instanceof Sequences ? { q: sequences, k: sequences } : sequences
  const rank = pair ? 2 : query.rank
  if (rank !== 2 && rank !== 3)
    throw new ArgumentError(`[${name}] query must be [B, T, ${sizes.embedDim}] or [T, ${sizes.embedDim}], is ${formatShape(query.shape)}`)
  const lead = (tensor: Tensor) => tensor.shape.slice(0, -1)
  const expect = (argument: string, tensor: Tensor, expected: readonly (number | string)[]) => {
    const fits = tensor.rank === expected.length && expected.every((each, i) => typeof each === 'string' || each === tensor.shape[i])
    if (!fits) throw new ArgumentError(`[${name}] ${argument} must be [${expected.join(', ')}], is ${formatShape(tensor.shape)}`)
  }
  const batch = rank === 3 && !pair ? (query.shape.slice(0, 1) as [number]) : []
  expect('query', query, pair ? [pair.q.total, sizes.embedDim] : [...batch, 'Tq', sizes.embedDim])
  expect('key', key, pair ? [pair.k.total, sizes.kdim] : [...batch, 'Tk', sizes.kdim])
  expect('value', value, [...lead(key), sizes.vdim])
  if (pair && pair.q.count !== pair.k.count)
    throw new ArgumentError(`[${name}] sequences must have as many of keys as of queries, have ${pair.k.count} and ${pair.q.count}`)

  const unbatched = rank === 2 && pair === undefined
  const views = new Map<Tensor, Tensor>()
  // The same tensor stays the same tensor: that is how the projections know that they can share a product.
  const batched = (tensor: Tensor) => {
    if (!unbatched) return tensor
    const view = views.get(tensor) ?? reshape(tensor, [1, ...tensor.shape])
    views.set(tensor, view)
    return view
  }
  const mask = attentionMask(options, {
    batch: pair ? pair.q.count : (batch[0] ?? 1),
    heads: sizes.numHeads,
    queries: pair ? pair.q.maxLength : (query.shape.at(-2) as number),
    keys: pair ? pair.k.maxLength : pastKeys + (key.shape.at(-2) as number),
    unbatched,
  })
  return { query: batched(query), key: batched(key), value: batched(value), mask, sequences: pair, unbatched }
}
