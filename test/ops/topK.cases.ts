import { topK, topKOp } from '../../lib/ops/topK.ts'
import { defineCases, type Inputs } from './cases.ts'

const shapes: [number[], number][] = [
  [[5, 131], 1],
  [[5, 131], 7],
  [[4, 9], 9],
  [[1], 1],
  [[3, 500], 200],
  [[2, 2, 80], 80],
  [[0, 4], 2],
  [[2, 3001], 40],
  // Rows that a GPU device gives to a warp, to a small block, to a large one; more rows than blocks.
  [[3, 255], 33],
  [[3, 256], 256],
  [[3, 257], 2],
  [[70, 260], 3],
  [[2, 9001], 5],
  [[2, 2100], 600],
]

export default defineCases(topKOp, [
  ...shapes.map(([shape, k]) => ({ name: `${k} of [${shape.join(', ')}]`, inputs: { x: { shape } }, call: (t: Inputs) => topK(t.x!, k) })),
  ...[3, 70].map(k => ({
    name: `ties, ${k}`,
    inputs: { x: { shape: [4, 90], fill: { int: [0, 4] } as const } },
    call: (t: Inputs) => topK(t.x!, k),
    noGradient: 'finite differences break ties',
  })),
  ...[5, 700].map(k => ({
    name: `ties in a long row, ${k}`,
    inputs: { x: { shape: [2, 3000], fill: { int: [0, 2] } as const } },
    call: (t: Inputs) => topK(t.x!, k),
    noGradient: 'finite differences break ties',
  })),
  {
    name: 'more than fits in shared memory',
    inputs: { x: { shape: [1, 16500] } },
    call: t => topK(t.x!, 16400),
    dtypes: ['f32'],
    noGradient: 'covered by the others',
  },
  {
    name: 'NaN and infinities in a long row',
    inputs: {
      x: {
        shape: [1, 600],
        fill: {
          values: Array.from(
            { length: 600 },
            (_, i) => [i % 7, Number.NaN, Number.POSITIVE_INFINITY, -0, Number.NEGATIVE_INFINITY][i % 5]!,
          ),
        },
      },
    },
    call: t => topK(t.x!, 599),
    noGradient: 'NaN has no differences',
  },
  {
    name: 'NaN and infinities',
    inputs: {
      x: {
        shape: [2, 5],
        fill: { values: [1, Number.NaN, Number.POSITIVE_INFINITY, Number.NaN, 0, -0, 0, -1, Number.NEGATIVE_INFINITY, -2] },
      },
    },
    call: t => topK(t.x!, 5),
    noGradient: 'NaN has no differences',
  },
])
