import { scatterOp, scatterRows } from '../../lib/ops/gather.ts'
import { defineCases } from './cases.ts'

const index = (shape: number[], rows: number) => ({ shape, dtype: 'i32', fill: { int: [0, rows] } }) as const

export default defineCases(scatterOp, [
  { name: 'repeated rows', inputs: { x: { shape: [23, 13] }, index: index([23], 5) }, call: t => scatterRows(t.x!, t.index!, 5) },
  { name: 'few rows of many', inputs: { x: { shape: [2, 3] }, index: index([2], 40) }, call: t => scatterRows(t.x!, t.index!, 40) },
  { name: 'wide rows', inputs: { x: { shape: [40, 517] }, index: index([40], 9) }, call: t => scatterRows(t.x!, t.index!, 9) },
  {
    name: 'an index of two dimensions',
    inputs: { x: { shape: [2, 3, 5] }, index: index([2, 3], 4) },
    call: t => scatterRows(t.x!, t.index!, 4),
  },
  { name: 'numbers', inputs: { x: { shape: [17] }, index: index([17], 9) }, call: t => scatterRows(t.x!, t.index!, 9) },
  { name: 'nothing', inputs: { x: { shape: [0, 4] }, index: index([0], 1) }, call: t => scatterRows(t.x!, t.index!, 3) },
])
