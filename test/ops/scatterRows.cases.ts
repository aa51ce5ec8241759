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
  { name: 'many numbers', inputs: { x: { shape: [5000] }, index: index([5000], 700) }, call: t => scatterRows(t.x!, t.index!, 700) },
  {
    name: 'few of 70000 rows',
    inputs: { x: { shape: [90] }, index: index([90], 70000) },
    call: t => scatterRows(t.x!, t.index!, 70000),
  },
  { name: 'aligned rows', inputs: { x: { shape: [70, 264] }, index: index([70], 9) }, call: t => scatterRows(t.x!, t.index!, 9) },
  { name: 'nothing', inputs: { x: { shape: [0, 4] }, index: index([0], 1) }, call: t => scatterRows(t.x!, t.index!, 3) },
])
