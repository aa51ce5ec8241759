/** What the attention ops share: options, their checks, and the reference's scores. */
import type { ReferenceArguments } from '../autograd/defineOp.ts'
import { type DType, isFloat } from '../dtype.ts'
import { ArgumentError } from '../errors.ts'
import type { Mask, MaskParts } from '../mask.ts'
import type { AttentionArgs } from '../native.generated.ts'
import { Sequences } from '../sequences.ts'
import { type Shape, type Tensor, tensor } from '../tensor.ts'
import { expectDType, expectShape, expectTensor, formatShape } from './check.ts'
import { contiguous } from './copy.ts'
import type { ArrayOps } from './reference.ts'

export interface AttentionOptions {
  /** Which keys a query sees; default all. */
  mask?: Mask | undefined
  /** Factor of the scores; default 1 / sqrt(D). */
  scale?: number | undefined
  /** Ragged q [Nq, H, D], k and v [Nk, Hkv, …]: where the sequences lie. Of k only where k and v are no caches. */
  sequences?: { readonly q: Sequences; readonly k?: Sequences | undefined } | undefined
  /** The last keys of each sequence that escape every mask (learned or zero keys appended to the sequence); masks have no columns for them. Default 0. */
  extraKeys?: number | undefined
}

/** Keys and values that are read from caches: what holds more than has been written. */
export interface CacheOptions {
  /**
   * i32 [B]: k and v are caches, of which sequence b has its first `cacheLengths[b]` keys and no others. Causal and window masks are aligned with
   * the last of them. They are read on the device, so a captured step may be replayed while they grow.
   */
  cacheLengths?: Tensor<readonly [number], 'i32'> | undefined
  /**
   * i32 [B, M], with `cacheLengths`: k and v are pages, [pages, pageSize, Hkv, …], and key j of sequence b is row j % pageSize of page
   * `blockTable[b][floor(j / pageSize)]`. Entries of pages that no query looks at may hold anything, such as -1.
   */
  blockTable?: Tensor<readonly [number, number], 'i32'> | undefined
}

/** What the options say, as all attention ops take it. */
export type SharedArguments = Pick<
  AttentionArgs,
  | 'qOffsets'
  | 'kOffsets'
  | 'cacheLengths'
  | 'blockTable'
  | 'keyLengths'
  | 'keep'
  | 'bias'
  | 'batch'
  | 'maxQ'
  | 'maxK'
  | 'causal'
  | 'windowLeft'
  | 'windowRight'
  | 'extraKeys'
  | 'scale'
>

/** Its rows lie whole, however far apart: what the native ops need. */
export const lastContiguous = ({ shape, strides }: Tensor) => shape[shape.length - 1] === 1 || strides[strides.length - 1] === 1

/** `x`, or a copy of it whose rows lie whole. */
export const wholeRows = (x: Tensor) => (lastContiguous(x) ? x : contiguous(x))

const noMask: MaskParts = { causal: false, left: undefined, right: undefined, keyLengths: undefined, keep: undefined, bias: undefined }

function checkSequences(op: string, name: 'q' | 'k', sequences: unknown, rows: Tensor): asserts sequences is Sequences {
  if (!(sequences instanceof Sequences)) throw new ArgumentError(`[${op}] sequences.${name} must be Sequences, is ${typeof sequences}`)
  if (sequences.total !== rows.shape[0])
    throw new ArgumentError(
      `[${op}] sequences.${name} must have the ${rows.shape[0]} rows of ${name} ${formatShape(rows.shape)}, has ${sequences.total}`,
    )
}

function checkMaskTensor(op: string, name: string, mask: Tensor, shape: readonly [number, number, number, number]): void {
  const fits = mask.shape.every((dimension, i) => dimension === 1 || dimension === shape[4 - mask.rank + i])
  if (!fits)
    throw new ArgumentError(`[${op}] mask ${name} must broadcast to [B, H, Tq, Tk] = ${formatShape(shape)}, is ${formatShape(mask.shape)}`)
}

function checkKeyLengths(op: string, lengths: Int32Array, batch: number, most: number): void {
  if (lengths.length !== batch) throw new ArgumentError(`[${op}] mask keyLengths must have ${batch} lengths, has ${lengths.length}`)
  for (const [b, length] of lengths.entries())
    if (length > most) throw new ArgumentError(`[${op}] mask keyLengths must be at most ${most}, keyLengths[${b}] is ${length}`)
}

/** Keys that a cache has room for in each sequence. Checks what concerns caches; k is one. */
function checkCache(op: string, k: Tensor, batch: number, cacheLengths: Tensor, options: AttentionOptions & CacheOptions): number {
  const { blockTable, extraKeys = 0 } = options
  expectTensor(op, 'cacheLengths', cacheLengths)
  expectDType(op, 'cacheLengths', cacheLengths, 'i32')
  expectShape(op, 'cacheLengths', cacheLengths, [batch])
  if (extraKeys !== 0) throw new ArgumentError(`[${op}] extraKeys must be 0 where cacheLengths are given, is ${extraKeys}`)
  if (options.sequences?.k !== undefined)
    throw new ArgumentError(`[${op}] sequences.k must be absent where cacheLengths are given: they say how many keys there are`)
  const rows = k.shape[1] as number
  if (blockTable === undefined) return rows
  expectTensor(op, 'blockTable', blockTable)
  expectDType(op, 'blockTable', blockTable, 'i32')
  expectShape(op, 'blockTable', blockTable, [batch, -1])
  if (rows === 0) throw new ArgumentError(`[${op}] k must have pages of 1 key or more, is ${formatShape(k.shape)}`)
  const capacity = (blockTable.shape[1] as number) * rows
  if (capacity > 0x7fffffff)
    throw new ArgumentError(
      `[${op}] blockTable must have pages for at most 2^31 - 1 keys of a sequence, has ${blockTable.shape[1]} of ${rows} keys`,
    )
  return capacity
}

/** Checks q, k and the options, and brings host-side lengths to the device. */
export function sharedArguments(op: string, q: Tensor, k: Tensor, options: AttentionOptions & CacheOptions): SharedArguments {
  const { sequences, extraKeys = 0, cacheLengths, blockTable } = options
  const { causal, left, right, keyLengths, keep, bias } = options.mask?.parts ?? noMask
  const rank = sequences ? 3 : 4
  const wanted = sequences ? '[Nq, H, D] with sequences' : '[B, Tq, H, D] (ragged rows need sequences)'
  if (q.rank !== rank) throw new ArgumentError(`[${op}] q must be ${wanted}, is ${formatShape(q.shape)}`)
  const heads = q.shape[rank - 2] as number
  const dim = q.shape[rank - 1] as number
  if (!isFloat(q.dtype)) throw new ArgumentError(`[${op}] q must have a float dtype, is ${q.dtype}`)
  expectDType(op, 'k', k, q.dtype)
  if (cacheLengths === undefined && blockTable !== undefined)
    throw new ArgumentError(`[${op}] cacheLengths must be given where blockTable is`)
  if (sequences) checkSequences(op, 'q', sequences.q, q)
  const batch = sequences ? sequences.q.count : (q.shape[0] as number)
  if (blockTable !== undefined) expectShape(op, 'k', k, [-1, -1, -1, dim])
  else if (cacheLengths !== undefined || !sequences) expectShape(op, 'k', k, [batch, -1, -1, dim])
  else expectShape(op, 'k', k, [-1, -1, dim])
  const kvHeads = k.shape[k.rank - 2] as number
  if (heads !== kvHeads && (kvHeads === 0 || heads % kvHeads !== 0))
    throw new ArgumentError(`[${op}] q must have a multiple of k's ${kvHeads} heads, has ${heads}`)
  if (dim === 0) throw new ArgumentError(`[${op}] q must have a head dimension from 1, is ${formatShape(q.shape)}`)
  let maxK = k.shape[1] as number
  let fewestKeys = maxK
  if (cacheLengths !== undefined) {
    maxK = checkCache(op, k, batch, cacheLengths as Tensor, options)
    fewestKeys = 0
  } else if (sequences) {
    const ofKeys = sequences.k
    checkSequences(op, 'k', ofKeys, k)
    if (batch !== ofKeys.count)
      throw new ArgumentError(`[${op}] sequences.k must have the ${batch} sequences of sequences.q, has ${ofKeys.count}`)
    maxK = ofKeys.maxLength
    fewestKeys = ofKeys.lengths.reduce((least, length) => Math.min(least, length), maxK)
  }
  const maxQ = sequences ? sequences.q.maxLength : (q.shape[1] as number)
  if (!Number.isInteger(extraKeys) || extraKeys < 0 || extraKeys > fewestKeys)
    throw new ArgumentError(`[${op}] extraKeys must be an integer from 0 to ${fewestKeys}, the fewest keys of a sequence, is ${extraKeys}`)
  const scale = options.scale ?? 1 / Math.sqrt(dim)
  if (!Number.isFinite(scale)) throw new ArgumentError(`[${op}] scale must be finite, is ${scale}`)
  if (keep) checkMaskTensor(op, 'keep', keep, [batch, heads, maxQ, maxK - extraKeys])
  if (bias) checkMaskTensor(op, 'bias', bias, [batch, heads, maxQ, maxK - extraKeys])
  if (keyLengths) checkKeyLengths(op, keyLengths, batch, maxK - extraKeys)
  return {
    qOffsets: sequences?.q.offsets,
    kOffsets: cacheLengths === undefined ? sequences?.k?.offsets : undefined,
    cacheLengths: cacheLengths && contiguous<Shape, DType>(cacheLengths),
    blockTable: blockTable && contiguous<Shape, DType>(blockTable),
    keyLengths: keyLengths && tensor(keyLengths, [batch], { device: q.device }),
    keep,
    bias,
    batch,
    maxQ,
    maxK,
    causal: Number(causal),
    windowLeft: left ?? -1,
    windowRight: right ?? -1,
    extraKeys,
    scale,
  }
}

export interface ReferenceSequence<T> {
  /** Rows of q. */
  readonly queries: readonly [begin: number, end: number]
  /** This sequence's rows of k or v. */
  readonly keysOf: (x: T) => T
  /** Masked scores [H, Tq, Tk]; -inf where a key is hidden. */
  readonly scores: T
}

/** Rows [T, H, D] as [H, T, D], each key head repeated for its group. */
export function headsFirst<T>(F: ArrayOps<T>, rows: T, heads: number): T {
  const part = F.transpose(rows, 0, 1)
  const group = heads / (F.shape(part)[0] as number)
  return group === 1
    ? part
    : F.gather(
        part,
        Array.from({ length: heads }, (_, h) => Math.floor(h / group)),
      )
}

/** Dense [B, T, H, D] as rows [B T, H, D]. */
export function asRows<T>(F: ArrayOps<T>, x: T): T {
  const shape = F.shape(x)
  return shape.length === 3 ? x : F.reshape(x, [(shape[0] as number) * (shape[1] as number), ...shape.slice(2)])
}

/** Where the keys of sequence b lie in a cache that is flattened to rows. */
function cachedRows<T>(F: ArrayOps<T>, b: number, length: number, capacity: number, blockTable: T | undefined): number[] {
  const rows = Array.from({ length }, (_, j) => j)
  if (blockTable === undefined) return rows.map(j => b * capacity + j)
  const width = F.shape(blockTable)[1] as number
  const pageSize = capacity / width
  const pages = F.values(blockTable)
  return rows.map(j => (pages[b * width + Math.floor(j / pageSize)] as number) * pageSize + (j % pageSize))
}

/** The masked scores of each sequence, unfused. */
export function referenceScores<T>(
  F: ArrayOps<T>,
  a: ReferenceArguments<Pick<AttentionArgs, 'q' | 'k'> & Omit<SharedArguments, 'cacheLengths' | 'blockTable'>, T> & {
    cacheLengths?: T | undefined
    blockTable?: T | undefined
  },
): ReferenceSequence<T>[] {
  const heads = F.shape(a.q).at(-2) as number
  const q = asRows(F, a.q)
  const k = asRows(F, a.k)
  const maskShape = [a.batch, heads, a.maxQ, a.maxK - a.extraKeys]
  const bias = a.bias === undefined ? undefined : F.broadcast(a.bias, maskShape)
  const keep = a.keep === undefined ? undefined : F.values(F.broadcast(a.keep, maskShape))
  const range = (offsets: T | undefined, b: number, length: number) => {
    const at = offsets === undefined ? undefined : F.values(offsets)
    return [at ? (at[b] as number) : b * length, at ? (at[b + 1] as number) : (b + 1) * length] as const
  }
  return Array.from({ length: a.batch }, (_, b) => {
    const queries = range(a.qOffsets, b, a.maxQ)
    const keys = range(a.kOffsets, b, a.maxK)
    const cached = a.cacheLengths === undefined ? undefined : cachedRows(F, b, F.values(a.cacheLengths)[b] as number, a.maxK, a.blockTable)
    const keysOf = (x: T) => (cached ? F.gather(x, cached) : F.slice(x, 0, keys[0], keys[1]))
    const [tq, tk] = [queries[1] - queries[0], cached?.length ?? keys[1] - keys[0]]
    const masked = tk - a.extraKeys
    const ofQueries = headsFirst(F, F.slice(q, 0, queries[0], queries[1]), heads)
    let scores = F.mul(F.matmul(ofQueries, F.transpose(headsFirst(F, keysOf(k), heads), 1, 2)), a.scale)
    if (bias !== undefined) {
      const own = F.reshape(F.slice(F.slice(F.slice(bias, 0, b, b + 1), 2, 0, tq), 3, 0, masked), [heads, tq, masked])
      scores = F.add(scores, a.extraKeys === 0 ? own : F.concat([own, F.full([heads, tq, a.extraKeys], 0)], 2))
    }
    const limit = a.keyLengths === undefined ? masked : (F.values(a.keyLengths)[b] as number)
    const visible = new Float64Array(heads * tq * tk)
    for (let h = 0, at = 0; h < heads; h++)
      for (let i = 0; i < tq; i++)
        for (let j = 0; j < tk; j++, at++) {
          const distance = j - (i + masked - tq)
          const seen =
            j < limit &&
            !(a.causal && distance > 0) &&
            !(a.windowRight >= 0 && distance > a.windowRight) &&
            !(a.windowLeft >= 0 && -distance > a.windowLeft) &&
            (keep === undefined || keep[((b * heads + h) * a.maxQ + i) * (a.maxK - a.extraKeys) + j] !== 0)
          visible[at] = Number(j >= masked || seen)
        }
    return { queries, keysOf, scores: F.where(F.constant(visible, [heads, tq, tk]), scores, Number.NEGATIVE_INFINITY) }
  })
}
