import { type Reduction, reduce } from '../../lib/ops/reduce.ts'
import { defineCases, type Inputs } from './cases.ts'

const shapes: [string, number[], number[]][] = [
  ['rows', [5, 131], [1]],
  ['columns', [67, 9], [0]],
  ['wide columns', [7, 1100], [0]],
  ['all', [3, 4, 5], [0, 1, 2]],
  ['the middle', [3, 17, 5], [1]],
  ['the outer two', [3, 4, 5], [0, -1]],
  ['nothing', [3, 4], []],
  ['a dimension of size 1', [3, 1, 4], [1]],
]
// Those in 16-byte pieces on a GPU: rows of a warp and of a block with what is left over, in one and in several parts, columns likewise.
const large: [string, number[], number[]][] = [
  ['short rows of pieces', [19, 72], [1]],
  ['rows of pieces', [3, 2312], [1]],
  ['a long row', [1, 20013], [1]],
  ['rows in parts', [2, 3, 4104], [0, 2]],
  ['everything in parts', [5, 6000], [0, 1]],
  ['many rows by columns', [300, 132], [0]],
  ['the middle of pieces', [3, 41, 24], [1]],
  ['columns of several dimensions', [4, 70, 2, 8], [1]],
]

export default defineCases(reduce, [
  ...(['sum', 'mean', 'max', 'min'] as Reduction[]).flatMap(kind =>
    shapes.map(([name, shape, dims]) => ({
      name: `${kind} of ${name}`,
      inputs: { x: { shape } },
      call: (t: Inputs) => reduce(kind, t.x!, dims),
    })),
  ),
  ...large.map(([name, shape, dims]) => ({
    name: `sum of ${name}`,
    inputs: { x: { shape } },
    call: (t: Inputs) => reduce('sum', t.x!, dims),
  })),
  {
    name: 'min of everything in parts',
    inputs: { x: { shape: [3, 9000] } },
    call: t => reduce('min', t.x!, [0, 1]),
    noGradient: 'finite differences break ties',
  },
  {
    name: 'max with ties',
    inputs: { x: { shape: [4, 20], fill: { int: [0, 3] } } },
    call: t => reduce('max', t.x!, [1]),
    noGradient: 'finite differences break ties',
  },
  { name: 'sum of no elements', inputs: { x: { shape: [3, 0] } }, call: t => reduce('sum', t.x!, [1]) },
])
