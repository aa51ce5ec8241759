import { linearReference } from '../../lib/ops/linear.ts'
import { type Projections, qkv, qkvOp } from '../../lib/ops/qkv.ts'
import { defineCases, type OpCase } from './cases.ts'

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
])
