import { linearReference } from '../../lib/ops/linear.ts'
import { type Projections, qkv, qkvOp } from '../../lib/ops/qkv.ts'
import { rotaryReference } from '../../lib/ops/rotary.ts'
import { slice } from '../../lib/ops/view.ts'
import { defineCases, type Inputs, type OpCase } from './cases.ts'

const rowsOf = (projections: Projections) =>
  [projections.q, projections.k, projections.v].reduce((rows, size) => rows + (size ? size[0] * size[1] : 0), 0)

const of = (name: string, x: number[], projections: Projections, more: Partial<OpCase> = {}): OpCase => {
  const rows = rowsOf(projections)
  return {
    name,
    inputs: { x: { shape: x }, weight: { shape: [rows, x[x.length - 1]!] }, bias: { shape: [rows] } },
    call: t => qkv(t.x!, t.weight!, t.bias, projections),
    ...more,
  }
}
const all: Projections = { q: [3, 8], k: [3, 8], v: [3, 8] }

interface Turned {
  /** [P, R/2] of the tables. Their numbers need not be of any angle. */
  tables: [number, number]
  interleaved?: boolean
  /** Position ids of this shape. */
  ids?: number[]
}
const rotaryInputs = ({ tables, ids }: Turned): OpCase['inputs'] => {
  const table = { shape: tables, dtype: 'f32', fill: 'uniform' } as const
  return {
    cosines: table,
    sines: table,
    ...(ids && { positionIds: { shape: ids, dtype: 'i32', fill: { int: [0, tables[0]] } } as const }),
  }
}
const rotaryOf = (t: Inputs, { interleaved }: Turned) => ({ cosines: t.cosines!, sines: t.sines!, positionIds: t.positionIds, interleaved })

const turned = (name: string, x: number[], projections: Projections, options: Turned, more: Partial<OpCase> = {}): OpCase => {
  const plain = of(name, x, projections)
  return {
    ...plain,
    call: t => qkv(t.x!, t.weight!, t.bias, projections, { rotary: rotaryOf(t, options) }),
    ...more,
    inputs: { ...plain.inputs, ...rotaryInputs(options), ...more.inputs },
  }
}

/** `lines`: the leading dimensions of the caches. */
const appended = (name: string, x: number[], projections: Projections, lines: number[], slots: number[], rotary?: Turned): OpCase => {
  const plain = of(name, x, projections)
  const held = (size: readonly number[] | undefined) => size && { shape: [...lines, ...size], gradient: false }
  const caches = Object.entries({ keys: held(projections.k), values: held(projections.v) }).filter(([, spec]) => spec)
  return {
    ...plain,
    call: t =>
      qkv(t.x!, t.weight!, t.bias, projections, {
        cache: { k: t.keys, v: t.values, slots: t.slots! },
        rotary: rotary && rotaryOf(t, rotary),
      }),
    inputs: {
      ...plain.inputs,
      ...Object.fromEntries(caches),
      slots: { shape: [slots.length], dtype: 'i32', fill: { values: slots } },
      ...(rotary && rotaryInputs(rotary)),
    },
    noGradient: 'none flows through a cache',
  }
}
/** Row n of a batch goes where 5 n + 3 falls: no two to one slot of a prime number of them. */
const scattered = (rows: number, lines: number) => Array.from({ length: rows }, (_, n) => (5 * n + 3) % lines)

export default defineCases(qkvOp, [
  of('self-attention', [2, 7, 24], all),
  of('ragged rows', [13, 24], all),
  of('one row', [1, 1, 24], all),
  of('grouped heads, another value size', [5, 3, 12], { q: [4, 6], k: [2, 6], v: [2, 5] }),
  of('keys and values', [2, 9, 10], { k: [2, 7], v: [2, 3] }),
  of('queries', [2, 9, 10], { q: [2, 7] }),
  of('queries and values', [4, 10], { q: [2, 4], v: [1, 3] }),
  of('no rows', [0, 24], all),
  of('nothing to sum', [3, 0], all),
  { ...of('no bias', [6, 10], all), inputs: { x: { shape: [6, 10] }, weight: { shape: [72, 10] } } },
  of('an f32 bias', [6, 10], all, {
    inputs: { x: { shape: [6, 10] }, weight: { shape: [72, 10] }, bias: { shape: [72], dtype: 'f32', gradient: true } },
  }),
  of('x fixed', [6, 10], all, {
    inputs: { x: { shape: [6, 10], gradient: false }, weight: { shape: [72, 10] }, bias: { shape: [72] } },
  }),
  of(
    'x transposed',
    [9, 13],
    { q: [2, 5] },
    {
      inputs: { x: { shape: [9, 13], transposed: true }, weight: { shape: [10, 13] }, bias: { shape: [10] } },
      reference: (F, { x, weight, bias }) => ({ q: F.reshape(linearReference(F, x!, weight!, bias), [9, 2, 5]) }),
    },
  ),
  of('projections as wide as a stage', [33, 24], { q: [2, 16], k: [2, 16], v: [1, 40] }),
  of('many rows', [150, 40], { q: [2, 16], k: [1, 16], v: [1, 16] }, { bench: { flops: 2 * 150 * 40 * 64 } }),

  // Rotary positions. Tiles are 64 or 128 columns wide: heads whose size divides that turn in their tile, others in a second pass.
  turned('rotary', [2, 7, 24], all, { tables: [9, 4] }),
  turned('rotary, interleaved', [2, 7, 24], all, { tables: [9, 4], interleaved: true }),
  turned('rotary, no row to spare', [2, 7, 24], all, { tables: [7, 4] }),
  turned('rotary of one row', [24], all, { tables: [3, 4] }),
  turned('rotary of some columns', [2, 5, 24], { q: [2, 16], k: [1, 16], v: [1, 16] }, { tables: [5, 4] }),
  turned('rotary of six columns', [2, 5, 24], all, { tables: [5, 3] }),
  turned('rotary of six columns, interleaved', [2, 5, 24], all, { tables: [5, 3], interleaved: true }),
  turned('rotary by the ids of a row', [3, 7, 24], all, { tables: [9, 4], ids: [7] }),
  turned('rotary by ids', [3, 7, 24], all, { tables: [9, 4], ids: [3, 7] }),
  turned('rotary by ids, interleaved', [3, 7, 24], all, { tables: [9, 4], ids: [3, 7], interleaved: true }),
  turned('rotary at one position', [3, 7, 24], all, { tables: [9, 4], ids: [] }),
  turned('rotary of packed rows', [21, 24], all, { tables: [9, 4], ids: [21] }),
  turned('rotary of grouped heads, another value size', [5, 3, 12], { q: [4, 6], k: [2, 6], v: [2, 5] }, { tables: [4, 3] }),
  turned('rotary, odd heads', [5, 12], { q: [3, 7], k: [2, 7], v: [1, 3] }, { tables: [6, 3] }),
  turned('rotary, odd heads, interleaved', [5, 12], { q: [3, 7], k: [2, 7], v: [1, 3] }, { tables: [6, 3], interleaved: true }),
  turned('rotary, odd heads past a tile, interleaved', [5, 16], { q: [10, 7], k: [9, 7] }, { tables: [6, 3], interleaved: true }),
  turned('rotary, heads of 10', [3, 5, 16], { q: [9, 10], k: [3, 10], v: [3, 10] }, { tables: [5, 5] }),
  turned('rotary, heads of 10, interleaved', [3, 5, 16], { q: [9, 10], k: [3, 10], v: [3, 10] }, { tables: [5, 5], interleaved: true }),
  turned('rotary, heads of 80', [2, 5, 16], { q: [2, 80], k: [1, 80], v: [1, 80] }, { tables: [5, 40] }),
  turned('rotary, a part of heads of 80', [2, 5, 16], { q: [2, 80], k: [1, 80], v: [1, 80] }, { tables: [5, 16] }),
  turned('rotary, heads of 96, interleaved', [2, 5, 16], { q: [2, 96], k: [1, 96], v: [1, 96] }, { tables: [5, 48], interleaved: true }),
  turned('rotary, heads of 64', [2, 35, 40], { q: [2, 64], k: [1, 64], v: [1, 64] }, { tables: [35, 32] }),
  turned('rotary, heads of 64, interleaved', [2, 35, 40], { q: [2, 64], k: [1, 64], v: [1, 64] }, { tables: [35, 32], interleaved: true }),
  turned('rotary, heads of 128', [70, 24], { q: [1, 128], k: [1, 128], v: [1, 128] }, { tables: [70, 64] }),
  turned('rotary, a long sum', [9, 528], { q: [2, 16], k: [1, 16], v: [1, 16] }, { tables: [9, 8] }),
  turned('rotary, a long sum, interleaved', [9, 528], { q: [2, 6], k: [1, 6], v: [1, 16] }, { tables: [9, 3], interleaved: true }),
  turned('rotary, rows that are not aligned', [5, 13], all, { tables: [6, 4] }),
  turned('rotary, tables that are not aligned', [5, 16], { q: [2, 16], k: [1, 16] }, { tables: [6, 6] }),
  turned('rotary of queries', [2, 9, 10], { q: [2, 8] }, { tables: [9, 4] }),
  turned('rotary of keys', [2, 9, 10], { k: [2, 8], v: [2, 3] }, { tables: [9, 4] }),
  turned('rotary, no rows', [0, 24], all, { tables: [9, 4] }),
  turned('rotary, nothing to sum', [3, 0], all, { tables: [9, 4] }),
  turned('rotary, an f32 bias', [6, 10], all, { tables: [9, 4] }, { inputs: { bias: { shape: [72], dtype: 'f32', gradient: true } } }),
  turned('rotary, x fixed', [6, 10], all, { tables: [9, 4] }, { inputs: { x: { shape: [6, 10], gradient: false } } }),
  turned(
    'rotary, many rows',
    [150, 40],
    { q: [2, 16], k: [1, 16], v: [1, 16] },
    { tables: [150, 8] },
    { bench: { flops: 2 * 150 * 40 * 64 } },
  ),

  // Up to 16 rows have a kernel of their own, where columns turn in groups of four, or eight with eight in one block.
  ...[1, 10].flatMap(rows => [
    turned(`rotary of ${rows} rows`, [rows, 24], { q: [2, 16], k: [1, 16], v: [1, 18] }, { tables: [10, 8] }),
    turned(`rotary of ${rows} rows, a part of heads of 40`, [rows, 40], { q: [2, 40], k: [1, 40], v: [1, 3] }, { tables: [10, 8] }),
    turned(
      `rotary of ${rows} rows, a part of heads of 40, interleaved`,
      [rows, 40],
      { q: [2, 40], v: [1, 3] },
      { tables: [10, 7], interleaved: true },
    ),
    turned(
      `rotary of ${rows} rows, a table at an odd address`,
      [rows, 16],
      { q: [2, 16] },
      { tables: [10, 8] },
      {
        inputs: { cosines: { shape: [81], dtype: 'f32', fill: 'uniform' } },
        call: t =>
          qkv(
            t.x!,
            t.weight!,
            t.bias,
            { q: [2, 16] },
            { rotary: { cosines: slice(t.cosines!, 0, 1, 81).reshape([10, 8]), sines: t.sines! } },
          ),
        reference: (F, { x, weight, bias, cosines, sines }) => {
          const heads = F.reshape(linearReference(F, x!, weight!, bias), [rows, 2, 16])
          const positions = Array.from({ length: rows }, (_, n) => n)
          return { q: rotaryReference(F, heads, F.reshape(F.slice(cosines!, 0, 1, 81), [10, 8]), sines!, positions, false) }
        },
      },
    ),
    appended(`append and rotary of ${rows} rows`, [rows, 1, 24], { q: [2, 16], k: [1, 16], v: [1, 16] }, [4, 9], scattered(rows, 36), {
      tables: [10, 8],
      ids: [rows, 1],
    }),
    appended(`append ${rows} rows of wide projections`, [rows, 16], { q: [4, 64], k: [4, 64], v: [2, 41] }, [37], scattered(rows, 37)),
  ]),

  // Keys and values that go to caches.
  appended('append', [2, 5, 24], all, [2, 9], scattered(10, 17)),
  appended('append to pages', [11, 24], all, [3, 2, 7], scattered(11, 41)),
  appended('append but for padding', [6, 24], all, [11], [4, -1, 0, -7, 9, 10]),
  appended('append nothing', [3, 24], all, [4], [-1, -1, -1]),
  appended('append no rows', [0, 24], all, [4], []),
  appended('append without queries', [5, 10], { k: [2, 7], v: [2, 3] }, [7], scattered(5, 7)),
  appended('append values', [5, 10], { q: [1, 4], v: [2, 3] }, [7], scattered(5, 7)),
  appended('append keys', [5, 16], { k: [2, 8] }, [7], scattered(5, 7)),
  appended('append rows that are not aligned', [7, 13], { q: [3, 5], k: [1, 5], v: [1, 6] }, [13], scattered(7, 13)),
  appended('append a long sum', [9, 528], { q: [2, 16], k: [1, 16], v: [1, 16] }, [17], scattered(9, 17)),
  appended('append many rows', [150, 40], { q: [2, 16], k: [1, 16], v: [1, 16] }, [2, 100], scattered(150, 199)),
  appended('append and rotary', [2, 5, 24], all, [2, 9], scattered(10, 17), { tables: [9, 4], ids: [2, 5] }),
  appended('append and rotary, interleaved, padding', [6, 24], all, [11], [4, -1, 0, -7, 9, 10], { tables: [6, 4], interleaved: true }),
  appended('append and rotary, heads of 10', [3, 5, 16], { q: [9, 10], k: [3, 10], v: [3, 10] }, [17], scattered(15, 17), {
    tables: [5, 5],
  }),
  appended('append and rotary, heads of 64', [70, 40], { q: [2, 64], k: [1, 64], v: [1, 64] }, [71], scattered(70, 71), {
    tables: [70, 32],
  }),
])
