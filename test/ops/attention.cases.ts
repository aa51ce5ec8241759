import { Mask } from '../../lib/mask.ts'
import { attention, attentionOp } from '../../lib/ops/attention.ts'
import { slice } from '../../lib/ops/view.ts'
import { Sequences } from '../../lib/sequences.ts'
import type { Tensor } from '../../lib/tensor.ts'
import { defineCases, type InputSpec, type Inputs, type OpCase } from './cases.ts'

interface Shape {
  batch?: number
  tq?: number
  tk?: number
  heads?: number
  kvHeads?: number
  dim?: number
  valueDim?: number
}

interface Options {
  scale?: number
  dropout?: number
  extraKeys?: number
  mask?: (t: Inputs) => Mask
}

const full = ({ batch = 2, tq = 5, tk = 7, heads = 2, kvHeads = heads, dim = 8, valueDim = dim }: Shape) => ({
  batch,
  tq,
  tk,
  heads,
  kvHeads,
  dim,
  valueDim,
})

function dense(
  name: string,
  shape: Shape,
  options: Options = {},
  inputs: Record<string, InputSpec> = {},
  rest: Partial<OpCase> = {},
): OpCase {
  const { batch, tq, tk, heads, kvHeads, dim, valueDim } = full(shape)
  const { mask, ...plain } = options
  return {
    name,
    inputs: {
      q: { shape: [batch, tq, heads, dim] },
      k: { shape: [batch, tk, kvHeads, dim] },
      v: { shape: [batch, tk, kvHeads, valueDim] },
      ...inputs,
    },
    call: t => attention(t.q!, t.k!, t.v!, { ...plain, mask: mask?.(t) }),
    ...rest,
  }
}

function ragged(
  name: string,
  lengths: { q: number[]; k: number[] },
  shape: Shape,
  options: Options = {},
  inputs: Record<string, InputSpec> = {},
): OpCase {
  const { heads, kvHeads, dim, valueDim } = full(shape)
  const { mask, ...plain } = options
  const total = (list: number[]) => list.reduce((sum, length) => sum + length, 0)
  return {
    name: `ragged ${name}`,
    inputs: {
      q: { shape: [total(lengths.q), heads, dim] },
      k: { shape: [total(lengths.k), kvHeads, dim] },
      v: { shape: [total(lengths.k), kvHeads, valueDim] },
      ...inputs,
    },
    call: t => {
      const { device } = t.q!
      const sequences = { q: Sequences.of(lengths.q, device), k: Sequences.of(lengths.k, device) }
      attention(t.q!, t.k!, t.v!, { ...plain, sequences, mask: mask?.(t) })
    },
  }
}

/** Pages for sequences of these lengths, in no order and with two that none has, and the table [B, width] that finds them. */
function pagesFor(lengths: number[], pageSize: number, width: number) {
  const counts = lengths.map(length => Math.ceil(length / pageSize))
  const pages = counts.reduce((sum, count) => sum + count, 2)
  const order = Array.from({ length: pages }, (_, i) => i).sort((a, b) => Math.sin(37 * a + 1) - Math.sin(37 * b + 1))
  const table = counts.flatMap(count => Array.from({ length: width }, (_, i) => (i < count ? (order.pop() as number) : -1)))
  return { pages, table }
}

interface CacheShape extends Omit<Shape, 'batch' | 'tk'> {
  lengths: number[]
  capacity: number
  /** Pages of so many keys. */
  pageSize?: number
  /** Ragged queries. */
  queries?: number[]
}

/** Keys and values in caches with room for `capacity` keys of each sequence. */
function cached(
  name: string,
  { lengths, capacity, pageSize, queries, ...shape }: CacheShape,
  options: Options = {},
  inputs: Record<string, InputSpec> = {},
  rest: Partial<OpCase> = {},
): OpCase {
  const { tq, heads, kvHeads, dim, valueDim } = full(shape)
  const { mask, ...plain } = options
  const batch = lengths.length
  const width = pageSize === undefined ? 0 : capacity / pageSize
  const { pages, table } = pageSize === undefined ? { pages: 0, table: [] } : pagesFor(lengths, pageSize, width)
  const rows = pageSize === undefined ? [batch, capacity] : [pages, pageSize]
  return {
    name: `${pageSize === undefined ? 'a cache' : `pages of ${pageSize}`}, ${name}`,
    inputs: {
      q: { shape: queries ? [queries.reduce((sum, length) => sum + length, 0), heads, dim] : [batch, tq, heads, dim] },
      k: { shape: [...rows, kvHeads, dim] },
      v: { shape: [...rows, kvHeads, valueDim] },
      cacheLengths: { shape: [batch], dtype: 'i32', fill: { values: lengths } },
      ...(pageSize === undefined ? {} : { blockTable: { shape: [batch, width], dtype: 'i32', fill: { values: table } } }),
      ...inputs,
    },
    call: t =>
      attention(t.q!, t.k!, t.v!, {
        ...plain,
        mask: mask?.(t),
        sequences: queries && { q: Sequences.of(queries, t.q!.device) },
        cacheLengths: t.cacheLengths as Tensor<[number], 'i32'>,
        blockTable: t.blockTable as Tensor<[number, number], 'i32'> | undefined,
      }),
    noGradient: 'caches have no backward',
    ...rest,
  }
}

const keep = (shape: number[], probability = 0.6): Record<string, InputSpec> => ({
  keep: { shape, dtype: 'u8', fill: { bernoulli: probability }, gradient: false },
})
const bias = (shape: number[]): Record<string, InputSpec> => ({ bias: { shape, dtype: 'f32', gradient: true } })

const manyRows = 'of the same shape as cases that have one'

const causal = () => Mask.causal()
const kept = (t: Inputs) => Mask.keep(t.keep!)
const biased = (t: Inputs) => Mask.bias(t.bias!)

/** Of the default shape, for cases that name their own reference: the tensors that the op sees are not the case's inputs. */
const attributes = {
  output: undefined as never,
  logSumExp: undefined as never,
  batch: 2,
  maxQ: 5,
  maxK: 7,
  causal: 0,
  windowLeft: -1,
  windowRight: -1,
  extraKeys: 0,
  scale: 8 ** -0.5,
  dropout: 0,
  seed: 0,
  counter: 0,
}

/** Every broadcast of [2, 4, 5, 7]. */
const broadcasts = Array.from({ length: 16 }, (_, bits) => [2, 4, 5, 7].map((size, i) => ((bits >> i) & 1 ? size : 1)))

export default defineCases(attentionOp, [
  dense('plain', {}),
  dense('one of everything', { batch: 1, tq: 1, tk: 1, heads: 1, dim: 1 }),
  dense('odd sizes', { batch: 3, tq: 17, tk: 33, heads: 3, dim: 5, valueDim: 19 }),
  dense('whole blocks', { batch: 1, tq: 64, tk: 128, heads: 1, dim: 64 }),
  dense('beyond a block', { batch: 1, tq: 65, tk: 67, heads: 2, dim: 32 }),
  dense('many blocks', { batch: 1, tq: 131, tk: 197, heads: 1, dim: 16, valueDim: 8 }),
  dense('wide heads', { batch: 1, tq: 19, tk: 21, heads: 1, dim: 144, valueDim: 200 }),
  dense('wider values', { dim: 3, valueDim: 40 }),
  dense('narrower values', { dim: 40, valueDim: 3 }),
  ...(
    [
      [15, 31],
      [16, 32],
      [17, 33],
      [63, 63],
      [64, 64],
    ] as const
  ).map(([tq, tk]) => dense(`tiles of ${tq} by ${tk}`, { batch: 1, tq, tk, heads: 1 }, { mask: causal })),
  ...(
    [
      [16, 16],
      [64, 64],
      [80, 128],
      [128, 96],
      [129, 16],
      [256, 256],
    ] as const
  ).map(([dim, valueDim]) => dense(`head dimensions ${dim} and ${valueDim}`, { batch: 1, tq: 18, tk: 35, heads: 1, dim, valueDim })),
  dense('groups that a tile cuts', { batch: 1, tq: 30, tk: 40, heads: 3, kvHeads: 1 }, { mask: causal }),
  dense('scale 1', {}, { scale: 1 }),
  dense('a negative scale', {}, { scale: -0.3 }),
  dense('scale 0', {}, { scale: 0 }),
  dense('large scores', {}, { scale: 2 }),
  dense('grouped heads', { heads: 6, kvHeads: 2 }),
  dense('one key head', { heads: 4, kvHeads: 1, valueDim: 3 }),

  // Rows enough for 32 a warp, at the edges of warps and blocks, and keys at those of tiles: 64, or 48 of heads above 64.
  ...(
    [
      [65, 63, 40],
      [96, 64, 64],
      [97, 65, 64],
      [127, 1, 64],
      [129, 47, 128],
      [160, 49, 72],
      [161, 97, 72],
    ] as const
  ).map(([tq, tk, dim]) =>
    dense(
      `many rows, ${tq} by ${tk}, heads of ${dim}`,
      { batch: 1, tq, tk, heads: tq > 128 ? 2 : 4, dim },
      {},
      {},
      { noGradient: manyRows },
    ),
  ),
  ...(
    [
      [255, 97],
      [257, 66],
    ] as const
  ).map(([tq, tk]) =>
    dense(`many rows, causal, ${tq} by ${tk}`, { batch: 1, tq, tk, heads: 2, dim: 40 }, { mask: causal }, {}, { noGradient: manyRows }),
  ),
  dense('many rows, groups that no warp holds whole', { batch: 1, tq: 22, tk: 70, heads: 12, kvHeads: 4, dim: 40 }, { mask: causal }),
  dense(
    'many rows, heads that are not aligned',
    { batch: 1, tq: 66, tk: 66, heads: 4, dim: 39, valueDim: 33 },
    { mask: causal },
    {},
    { noGradient: manyRows },
  ),
  dense('many rows, wide values', { batch: 1, tq: 66, tk: 50, heads: 4, dim: 24, valueDim: 100 }, {}, {}, { noGradient: manyRows }),
  dense(
    'many rows, a window',
    { batch: 1, tq: 150, tk: 150, heads: 2, dim: 64 },
    { mask: () => Mask.window(20, 3) },
    {},
    { noGradient: manyRows },
  ),
  dense('many rows, large scores', { batch: 1, tq: 66, tk: 200, heads: 4, dim: 40 }, { scale: 3 }, {}, { noGradient: manyRows }),
  dense('many rows, a negative scale', { batch: 1, tq: 66, tk: 66, heads: 4, dim: 40 }, { scale: -0.3 }, {}, { noGradient: manyRows }),
  dense('many rows, scale 0', { batch: 1, tq: 66, tk: 66, heads: 4, dim: 40 }, { scale: 0, mask: causal }, {}, { noGradient: manyRows }),
  dense(
    'many rows, key lengths',
    { batch: 4, tq: 66, tk: 70, heads: 1, dim: 64 },
    { mask: () => Mask.keyLengths([70, 64, 3, 0]) },
    {},
    { noGradient: manyRows },
  ),
  dense(
    'many rows, extra keys beyond a gap',
    { batch: 2, tq: 67, tk: 140, heads: 2, dim: 40 },
    { extraKeys: 3, mask: () => Mask.causal().and(Mask.keyLengths([20, 130])) },
    {},
    { noGradient: manyRows },
  ),
  dense(
    'many rows, bias, keep, dropout, causal',
    { batch: 1, tq: 66, tk: 70, heads: 4, dim: 40 },
    { dropout: 0.2, mask: t => biased(t).and(kept(t)).and(Mask.causal()) },
    { ...bias([1, 4, 66, 70]), ...keep([1, 1, 66, 70]) },
    { noGradient: manyRows },
  ),

  dense('one query', { tq: 1, tk: 70 }),
  dense('few queries, grouped heads', { tq: 3, tk: 150, heads: 4, kvHeads: 2, dim: 17, valueDim: 80 }, { mask: causal }),
  dense('few queries, parts of keys', { batch: 1, tq: 2, tk: 4200, heads: 1, dim: 4 }, { mask: () => Mask.window(4150, 0) }),
  // 16 rows at most, query heads that share a key head among them: a block's warps take tiles of 16 or 32 keys in turn.
  ...(
    [
      [1, 1, 31],
      [1, 4, 32],
      [5, 3, 33],
      [16, 1, 127],
      [4, 4, 128],
      [1, 16, 129],
      [17, 1, 129],
      [6, 1, 255],
      [1, 1, 257],
      [3, 5, 513],
    ] as const
  ).map(([tq, heads, tk]) => dense(`few rows, ${tq} queries of ${heads} heads by ${tk}`, { batch: 1, tq, tk, heads, kvHeads: 1 })),
  ...(
    [
      [80, 128, 64],
      [128, 96, 65],
      [129, 16, 63],
      [256, 256, 35],
      [40, 3, 100],
      [64, 64, 300],
    ] as const
  ).map(([dim, valueDim, tk]) =>
    dense(`few rows, head dimensions ${dim} and ${valueDim}`, { batch: 1, tq: 3, tk, heads: 1, dim, valueDim }),
  ),
  dense(
    'few rows, a window and extra keys beyond a gap',
    { tq: 3, tk: 400, heads: 4, kvHeads: 2 },
    { extraKeys: 3, mask: () => Mask.window(90, 0).and(Mask.keyLengths([390, 200])) },
  ),
  dense(
    'few rows, keep, bias and extra keys, parts',
    { batch: 1, tq: 4, tk: 520, heads: 4, kvHeads: 2 },
    { extraKeys: 1, mask: t => biased(t).and(kept(t)).and(Mask.causal()) },
    { ...bias([4, 1, 519]), ...keep([1, 1, 4, 519]) },
  ),
  // More rows than that, but not more than a block's: parts of keys too.
  dense('some rows, parts of keys', { batch: 1, tq: 20, tk: 520, heads: 1 }, { mask: causal }),
  dense('few queries, dropout, parts of keys', { batch: 1, tq: 2, tk: 600, heads: 1 }, { dropout: 0.2 }),
  dense('few rows, more queries than keys', { batch: 1, tq: 8, tk: 5, heads: 2, kvHeads: 1 }, { mask: causal }),
  dense(
    'few queries, all options',
    { tq: 4, tk: 90, heads: 4, kvHeads: 2 },
    {
      extraKeys: 2,
      mask: t =>
        biased(t)
          .and(kept(t))
          .and(Mask.causal())
          .and(Mask.keyLengths([80, 0])),
      dropout: 0.25,
    },
    { ...bias([4, 1, 88]), ...keep([2, 1, 4, 88]) },
  ),

  dense('causal', { tq: 6, tk: 6 }, { mask: causal }),
  dense('causal, long', { batch: 1, tq: 140, tk: 140 }, { mask: causal }),
  dense('causal, fewer queries', { tq: 6, tk: 75 }, { mask: causal }),
  dense('causal, more queries than keys', { tq: 70, tk: 5 }, { mask: causal }),
  dense('causal, grouped', { tq: 9, tk: 6, heads: 4, kvHeads: 2 }, { mask: causal }),
  dense('a window', { tq: 80, tk: 80 }, { mask: () => Mask.window(3, 2) }),
  dense('a window to the left', { tq: 9, tk: 100 }, { mask: () => Mask.window(70, 0) }),
  dense('a window to the right', { tq: 100, tk: 9 }, { mask: () => Mask.window(Number.POSITIVE_INFINITY, 4) }),
  dense('a window beyond all keys', { tq: 80, tk: 7 }, { mask: () => Mask.window(0, 0) }),
  dense('causal within a window', { tq: 70, tk: 72 }, { mask: () => Mask.causal().and(Mask.window(5, 9)) }),

  dense('key lengths', { batch: 3, tq: 70, tk: 70 }, { mask: () => Mask.keyLengths([70, 13, 0]) }),
  dense('causal with key lengths', { batch: 3, tq: 20, tk: 20 }, { mask: () => Mask.causal().and(Mask.keyLengths([20, 13, 1])) }),
  ...broadcasts.map(shape => dense(`keep [${shape}]`, { heads: 4, kvHeads: 2 }, { mask: kept }, keep(shape))),
  // A bias that all keys share changes nothing, and its gradient is 0 but for rounding, unless there are keys that it does not reach.
  ...broadcasts.map(shape =>
    dense(
      `bias [${shape}]`,
      { heads: 4, kvHeads: 2, tk: shape[3] === 1 ? 8 : 7 },
      { mask: biased, extraKeys: shape[3] === 1 ? 1 : 0 },
      bias(shape),
    ),
  ),
  dense('keep of two dimensions', {}, { mask: kept }, keep([5, 7])),
  dense('keep of key positions', { tq: 66, tk: 129 }, { mask: kept }, keep([2, 1, 1, 129], 0.9)),
  dense('keep, several blocks', { batch: 1, tq: 66, tk: 129 }, { mask: kept }, keep([66, 129])),
  dense('drop', {}, { mask: t => Mask.drop(t.keep!) }, keep([2, 1, 5, 7])),
  dense('nothing visible', { batch: 1 }, { mask: kept }, keep([5, 7], 0)),
  dense('bias of one dimension', {}, { mask: biased }, bias([7])),
  dense('bias, several blocks', { batch: 2, tq: 67, tk: 130 }, { mask: biased }, bias([2, 67, 130])),
  dense('bias over keys, several blocks', { batch: 2, tq: 67, tk: 130 }, { mask: biased }, bias([2, 1, 1, 130])),
  dense('bias over queries, several blocks', { batch: 2, tq: 67, tk: 130 }, { mask: biased, extraKeys: 1 }, bias([1, 2, 67, 1])),
  dense(
    'bias with -inf',
    { batch: 1, tq: 4, tk: 6 },
    { mask: biased },
    {
      bias: {
        shape: [4, 6],
        dtype: 'f32',
        gradient: true,
        fill: {
          values: Array.from({ length: 24 }, (_, i) => (i < 6 || i % 3 === 1 ? Number.NEGATIVE_INFINITY : Math.fround(Math.sin(i)))),
        },
      },
    },
    { noGradient: 'finite differences of -inf; the fixtures compare this gradient' },
  ),
  dense(
    'bias, keep, causal and key lengths',
    { heads: 4, kvHeads: 2, tq: 20, tk: 70 },
    {
      mask: t =>
        biased(t)
          .and(kept(t))
          .and(Mask.causal())
          .and(Mask.keyLengths([70, 55])),
    },
    { ...bias([1, 4, 20, 70]), ...keep([2, 1, 20, 70]) },
  ),
  dense(
    'two keep masks',
    {},
    { mask: t => kept(t).and(Mask.drop(t.drop!)) },
    {
      ...keep([5, 7]),
      drop: { shape: [2, 1, 1, 7], dtype: 'u8', fill: { bernoulli: 0.3 }, gradient: false },
    },
  ),
  dense(
    'two biases',
    {},
    { mask: t => biased(t).and(Mask.bias(t.more!)) },
    {
      ...bias([2, 5, 1]),
      more: { shape: [2, 1, 1, 7], dtype: 'f32', gradient: true },
    },
    {
      reference: (F, { q, k, v, bias, more }) =>
        attentionOp.reference(F, { ...attributes, q: q!, k: k!, v: v!, bias: F.add(bias!, more!) }),
    },
  ),

  dense('dropout', { tq: 9, tk: 13 }, { dropout: 0.3 }),
  dense('dropout, a multiple of four keys', { batch: 1, tq: 70, tk: 132 }, { dropout: 0.1 }),
  dense('dropout, causal, grouped', { heads: 4, kvHeads: 2, tq: 9, tk: 11 }, { dropout: 0.5, mask: causal }),
  dense('extra keys', { tq: 9, tk: 12 }, { extraKeys: 2, mask: causal }),
  dense(
    'extra keys, all masks',
    { tq: 9, tk: 12 },
    {
      extraKeys: 1,
      dropout: 0.2,
      mask: t =>
        Mask.window(2, 1)
          .and(Mask.keyLengths([11, 0]))
          .and(kept(t))
          .and(biased(t)),
    },
    { ...keep([9, 11]), ...bias([2, 1, 1, 11]) },
  ),
  dense(
    'extra keys beyond a gap of tiles',
    { batch: 1, tq: 10, tk: 140, heads: 1 },
    { extraKeys: 2, mask: () => Mask.causal().and(Mask.keyLengths([20])) },
  ),
  dense('nothing but extra keys', { tq: 3, tk: 2 }, { extraKeys: 2, mask: causal }),

  // Gradients of heads wider than 64: two warps share 32 keys (16 of f32 and of the widest heads), 32 query rows pass at a time.
  ...(
    [
      [15, 33],
      [17, 31],
      [31, 65],
      [33, 16],
      [65, 17],
      [127, 15],
      [16, 129],
    ] as const
  ).map(([tq, tk]) => dense(`shared keys, ${tq} by ${tk}`, { batch: 1, tq, tk, heads: 1, dim: 72 }, { mask: causal })),
  dense(
    'shared keys, dropout, groups that a tile cuts',
    { batch: 1, tq: 23, tk: 37, heads: 3, kvHeads: 1, dim: 80, valueDim: 70 },
    { dropout: 0.3, mask: causal },
  ),
  dense('shared keys, dropout, widest heads', { batch: 1, tq: 17, tk: 20, heads: 1, dim: 136, valueDim: 40 }, { dropout: 0.2 }),
  dense(
    'shared keys, keep, bias, key lengths and extra keys',
    { batch: 2, tq: 34, tk: 37, heads: 1, dim: 66 },
    {
      extraKeys: 2,
      mask: t =>
        kept(t)
          .and(biased(t))
          .and(Mask.keyLengths([33, 5])),
    },
    { ...keep([34, 35], 0.8), ...bias([2, 1, 34, 35]) },
  ),
  dense('shared keys, a window without work for some', { batch: 1, tq: 40, tk: 150, heads: 1, dim: 68 }, { mask: () => Mask.window(9, 3) }),
  dense('a window without work for some', { batch: 1, tq: 140, tk: 40, heads: 1 }, { mask: () => Mask.window(3, 9) }),
  dense('dropout, several tiles, grouped', { batch: 1, tq: 45, tk: 70, heads: 3, kvHeads: 1 }, { dropout: 0.3, mask: causal }),
  dense('no sequences', { batch: 0 }),
  dense('no queries', { tq: 0 }),
  dense('no keys', { tk: 0 }),
  dense('no keys, bias', { tk: 0 }, { mask: biased }, bias([2, 1, 5, 1])),
  dense('no value dimension', { valueDim: 0 }),

  ragged('plain', { q: [5, 1, 70], k: [5, 1, 70] }, { heads: 2 }),
  ragged('with empty sequences', { q: [0, 5, 0, 3], k: [4, 0, 0, 6] }, {}),
  ragged('without rows', { q: [0, 0], k: [0, 0] }, {}),
  ragged('without sequences', { q: [], k: [] }, {}),
  ragged('across', { q: [7, 2, 9], k: [3, 80, 11] }, { heads: 4, kvHeads: 2, dim: 12, valueDim: 6 }),
  ragged('many rows beside few', { q: [130, 3, 0, 33], k: [97, 60, 9, 33] }, { heads: 1, dim: 40 }, { mask: causal }),
  ragged('causal', { q: [7, 66, 9, 4], k: [9, 66, 5, 70] }, { heads: 4, kvHeads: 1 }, { mask: causal }),
  ragged('few rows, many keys', { q: [1, 3, 0, 2], k: [600, 2, 7, 300] }, { heads: 4, kvHeads: 2 }, { mask: causal }),
  ragged(
    'window, dropout, key lengths',
    { q: [17, 40], k: [30, 40] },
    {},
    {
      mask: () => Mask.window(12, 3).and(Mask.keyLengths([25, 40])),
      dropout: 0.2,
    },
  ),
  ragged(
    'keep and bias',
    { q: [5, 9], k: [11, 4] },
    {},
    { mask: t => kept(t).and(biased(t)) },
    { ...keep([2, 1, 9, 11]), ...bias([1, 2, 9, 11]) },
  ),
  ragged(
    'shared keys, dropout',
    { q: [5, 18, 0], k: [9, 31, 3] },
    { kvHeads: 1, dim: 66 },
    { dropout: 0.3, mask: () => Mask.causal().and(Mask.keyLengths([9, 30, 2])) },
  ),
  ragged('extra keys', { q: [5, 9], k: [11, 4] }, {}, { extraKeys: 1, mask: t => causal().and(biased(t)) }, bias([1, 2, 9, 10])),

  cached('one query', { capacity: 40, lengths: [0, 1, 40, 17], tq: 1 }),
  cached('causal', { capacity: 40, lengths: [6, 40, 3, 0, 33], tq: 6 }, { mask: causal }),
  cached('not causal, many queries', { capacity: 70, lengths: [70, 66], tq: 68, heads: 1 }),
  cached('a window', { capacity: 80, lengths: [80, 41], tq: 3, heads: 4, kvHeads: 2 }, { mask: () => Mask.window(9, 2) }),
  cached('ragged, causal', { capacity: 80, lengths: [9, 80, 5, 70], queries: [7, 1, 0, 66] }, { mask: causal }),
  cached('many rows', { capacity: 130, lengths: [128, 67, 1, 0], tq: 67, heads: 1, dim: 64 }, { mask: causal }),
  cached('parts', { capacity: 700, lengths: [700, 130], tq: 1, heads: 2, kvHeads: 1 }),
  cached('some rows, parts', { capacity: 520, lengths: [513, 130, 0], tq: 9, heads: 2, kvHeads: 1 }, { mask: causal }),
  cached('nothing beside much', { capacity: 600, lengths: [0, 600, 1, 256], tq: 2, heads: 2, kvHeads: 1 }, { mask: causal }),
  cached('many sequences, few of them long', {
    capacity: 520,
    lengths: Array.from({ length: 37 }, (_, i) => (i % 9 === 4 ? 515 - i : i % 5)),
    tq: 1,
    heads: 1,
    dim: 4,
  }),
  cached('few rows of sequences', { capacity: 270, lengths: [0, 258, 65], queries: [3, 0, 4], heads: 4, kvHeads: 1 }, { mask: causal }),
  cached('parts of a window', { capacity: 900, lengths: [900], tq: 2, heads: 1 }, { mask: () => Mask.window(600, 0) }),
  cached(
    'all masks',
    { capacity: 35, lengths: [35, 20], tq: 9, heads: 4, kvHeads: 2 },
    {
      dropout: 0.25,
      mask: t =>
        biased(t)
          .and(kept(t))
          .and(Mask.causal())
          .and(Mask.keyLengths([30, 35])),
    },
    { ...bias([4, 1, 35]), ...keep([2, 1, 9, 35]) },
  ),
  cached('no capacity', { capacity: 0, lengths: [0, 0], tq: 2 }),
  cached('no sequences', { capacity: 4, lengths: [], tq: 2 }),

  ...[1, 3, 5, 16, 64].flatMap(pageSize => {
    const capacity = pageSize * Math.max(2, Math.ceil(40 / pageSize))
    return [
      cached('one query', { pageSize, capacity, lengths: [0, 1, capacity, pageSize], tq: 1, heads: 4, kvHeads: 2 }),
      cached('causal', { pageSize, capacity, lengths: [6, capacity, 3, capacity - 1], tq: 6, dim: 16, valueDim: 5 }, { mask: causal }),
    ]
  }),
  cached('many rows', { pageSize: 5, capacity: 100, lengths: [97, 66], tq: 66, heads: 2, dim: 72 }, { mask: causal }),
  cached(
    'many rows beside few',
    { pageSize: 16, capacity: 144, lengths: [131, 9, 0, 80], queries: [70, 3, 0, 66], heads: 2, kvHeads: 1, dim: 64 },
    { mask: causal },
  ),
  cached('several blocks', { pageSize: 16, capacity: 144, lengths: [131], tq: 70, heads: 2, kvHeads: 1, dim: 32 }, { mask: causal }),
  cached('wide heads', { pageSize: 16, capacity: 48, lengths: [40, 48], tq: 2, heads: 1, dim: 144, valueDim: 200 }),
  cached('rows that are not aligned', { pageSize: 6, capacity: 36, lengths: [36, 7], tq: 5, dim: 7, valueDim: 3 }),
  cached(
    'ragged, causal',
    { pageSize: 16, capacity: 96, lengths: [9, 80, 5, 70, 96], queries: [7, 1, 0, 66, 2], heads: 4, kvHeads: 2 },
    { mask: causal },
  ),
  cached('a window', { pageSize: 5, capacity: 80, lengths: [80, 41], tq: 3 }, { mask: () => Mask.window(9, 2) }),
  cached('parts', { pageSize: 16, capacity: 704, lengths: [700, 130], tq: 1, heads: 2, kvHeads: 1 }),
  cached('some rows, parts', { pageSize: 16, capacity: 704, lengths: [700, 130], tq: 9, heads: 4, kvHeads: 2 }, { mask: causal }),
  cached('nothing beside much', { pageSize: 3, capacity: 540, lengths: [0, 538, 1, 257], tq: 2, heads: 2, kvHeads: 1 }, { mask: causal }),
  cached('few rows, wide', { pageSize: 3, capacity: 150, lengths: [149, 2], tq: 4, heads: 4, kvHeads: 1, dim: 128 }, { mask: causal }),
  cached('parts of the CPU', { pageSize: 64, capacity: 4224, lengths: [4200], tq: 1, heads: 1, dim: 4 }),
  cached(
    'all masks',
    { pageSize: 5, capacity: 35, lengths: [35, 20], tq: 3, heads: 4, kvHeads: 2 },
    {
      dropout: 0.25,
      mask: t =>
        biased(t)
          .and(kept(t))
          .and(Mask.causal())
          .and(Mask.keyLengths([30, 35])),
    },
    { ...bias([4, 1, 35]), ...keep([2, 1, 3, 35]) },
  ),
  {
    name: 'pages of keys and values side by side',
    inputs: {
      q: { shape: [2, 3, 4, 8] },
      pages: { shape: [5, 6, 4, 8] },
      cacheLengths: { shape: [2], dtype: 'i32', fill: { values: [17, 6] } },
      blockTable: { shape: [2, 3], dtype: 'i32', fill: { values: [4, 0, 3, 2, -1, -1] } },
    },
    call: t => {
      const [k, v] = [slice(t.pages!, 2, 0, 2), slice(t.pages!, 2, 2, 4)]
      attention(t.q!, k, v, {
        mask: Mask.causal(),
        cacheLengths: t.cacheLengths as Tensor<[number], 'i32'>,
        blockTable: t.blockTable as Tensor<[number, number], 'i32'>,
      })
    },
    noGradient: 'caches have no backward',
    reference: (F, { q, pages, cacheLengths, blockTable }) => {
      const [k, v] = [F.slice(pages!, 2, 0, 2), F.slice(pages!, 2, 2, 4)]
      return attentionOp.reference(F, { ...attributes, q: q!, k, v, cacheLengths, blockTable, maxQ: 3, maxK: 18, causal: 1 })
    },
  },

  {
    name: 'views of one packed buffer',
    inputs: { packed: { shape: [2, 9, 6, 8] } },
    call: t => {
      const [q, k, v] = [0, 2, 4].map(start => slice(t.packed!, 2, start, start + 2)) as [Tensor, Tensor, Tensor]
      attention(q, k, v, { mask: Mask.causal() })
    },
    reference: (F, { packed }) => {
      const [q, k, v] = [0, 2, 4].map(start => F.slice(packed!, 2, start, start + 2)) as [never, never, never]
      return attentionOp.reference(F, { ...attributes, q, k, v, maxQ: 9, maxK: 9, causal: 1 })
    },
  },
  dense(
    'rows that do not lie whole',
    {},
    {},
    { q: { shape: [2, 5, 2, 8], transposed: true } },
    {
      reference: (F, { q, k, v }) => attentionOp.reference(F, { ...attributes, q: q!, k: k!, v: v! }),
    },
  ),
])
