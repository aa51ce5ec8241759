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

const keep = (shape: number[], probability = 0.6): Record<string, InputSpec> => ({
  keep: { shape, dtype: 'u8', fill: { bernoulli: probability }, gradient: false },
})
const bias = (shape: number[]): Record<string, InputSpec> => ({ bias: { shape, dtype: 'f32', gradient: true } })

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

  dense('one query', { tq: 1, tk: 70 }),
  dense('few queries, grouped heads', { tq: 3, tk: 150, heads: 4, kvHeads: 2, dim: 17, valueDim: 80 }, { mask: causal }),
  dense('few queries, parts of keys', { batch: 1, tq: 2, tk: 4200, heads: 1, dim: 4 }, { mask: () => Mask.window(4150, 0) }),
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
  ragged('causal', { q: [7, 66, 9, 4], k: [9, 66, 5, 70] }, { heads: 4, kvHeads: 1 }, { mask: causal }),
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
  ragged('extra keys', { q: [5, 9], k: [11, 4] }, {}, { extraKeys: 1, mask: t => causal().and(biased(t)) }, bias([1, 2, 9, 10])),

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
