import { gatherOp, gatherRows } from '../../lib/ops/gather.ts'
import { defineCases, type Inputs } from './cases.ts'

const index = (shape: number[], rows: number) => ({ shape, dtype: 'i32', fill: { int: [0, rows] } }) as const

export default defineCases(gatherOp, [
  { name: 'repeated rows', inputs: { x: { shape: [5, 13] }, index: index([23], 5) }, call: t => gatherRows(t.x!, t.index!) },
  { name: 'one row', inputs: { x: { shape: [1, 3] }, index: index([4], 1) }, call: t => gatherRows(t.x!, t.index!) },
  {
    name: 'an index of two dimensions',
    inputs: { x: { shape: [9, 3, 5] }, index: index([2, 3], 9) },
    call: t => gatherRows(t.x!, t.index!),
  },
  { name: 'an index of none', inputs: { x: { shape: [9, 4] }, index: index([], 9) }, call: t => gatherRows(t.x!, t.index!) },
  { name: 'numbers', inputs: { x: { shape: [9] }, index: index([17], 9) }, call: t => gatherRows(t.x!, t.index!) },
  { name: 'nothing', inputs: { x: { shape: [9, 4] }, index: index([0], 9) }, call: t => gatherRows(t.x!, t.index!) },
  { name: 'nothing of nothing', inputs: { x: { shape: [0, 4] }, index: index([0], 1) }, call: t => gatherRows(t.x!, t.index!) },
  { name: 'rows of nothing', inputs: { x: { shape: [3, 0] }, index: index([5], 3) }, call: t => gatherRows(t.x!, t.index!) },
  { name: 'long', inputs: { x: { shape: [50, 131] }, index: index([700], 50) }, call: t => gatherRows(t.x!, t.index!) },
  ...[8, 136, 1032].map(columns => ({
    name: `aligned rows of ${columns}`,
    inputs: { x: { shape: [9, columns] }, index: index([50], 9) },
    call: (t: Inputs) => gatherRows(t.x!, t.index!),
  })),
  {
    name: 'strided',
    inputs: { x: { shape: [7, 6], transposed: true }, index: index([9], 7) },
    call: t => gatherRows(t.x!, t.index!),
    reference: (F, { x, index }) => ({ y: F.gather(x!, Array.from(F.values(index!))) }),
  },
  {
    name: 'i32',
    inputs: { x: { shape: [7, 3], dtype: 'i32', fill: { int: [-99, 99] } }, index: index([9], 7) },
    call: t => gatherRows(t.x!, t.index!),
    dtypes: ['f32'],
    noGradient: 'integers have none',
  },
])
