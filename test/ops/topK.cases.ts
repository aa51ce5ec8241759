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
]

export default defineCases(topKOp, [
  ...shapes.map(([shape, k]) => ({ name: `${k} of [${shape.join(', ')}]`, inputs: { x: { shape } }, call: (t: Inputs) => topK(t.x!, k) })),
  ...[3, 70].map(k => ({
    name: `ties, ${k}`,
    inputs: { x: { shape: [4, 90], fill: { int: [0, 4] } as const } },
    call: (t: Inputs) => topK(t.x!, k),
    noGradient: 'finite differences break ties',
  })),
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
