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

export default defineCases(reduce, [
  ...(['sum', 'mean', 'max', 'min'] as Reduction[]).flatMap(kind =>
    shapes.map(([name, shape, dims]) => ({
      name: `${kind} of ${name}`,
      inputs: { x: { shape } },
      call: (t: Inputs) => reduce(kind, t.x!, dims),
    })),
  ),
  {
    name: 'max with ties',
    inputs: { x: { shape: [4, 20], fill: { int: [0, 3] } } },
    call: t => reduce('max', t.x!, [1]),
    noGradient: 'finite differences break ties',
  },
  { name: 'sum of no elements', inputs: { x: { shape: [3, 0] } }, call: t => reduce('sum', t.x!, [1]) },
])
