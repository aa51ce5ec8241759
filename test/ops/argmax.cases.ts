import { argmax, argmaxOp } from '../../lib/ops/topK.ts'
import { defineCases, type Inputs } from './cases.ts'

const special = [1, Number.NaN, 3, Number.NaN, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0, 2, 7, 7]

export default defineCases(argmaxOp, [
  ...([[5, 131], [64, 1], [1031], [2, 3, 17], [0, 4], [3, 3000], [300, 5], [9, 1025], [2, 12301]] as number[][]).map(shape => ({
    name: `[${shape.join(', ')}]`,
    inputs: { x: { shape } },
    call: (t: Inputs) => argmax(t.x!),
  })),
  { name: 'ties', inputs: { x: { shape: [8, 40], fill: { int: [0, 3] } } }, call: t => argmax(t.x!) },
  // Long enough for several blocks of a GPU device, whose largest are equal.
  { name: 'ties in a long row', inputs: { x: { shape: [2, 12301], fill: { int: [0, 2] } } }, call: t => argmax(t.x!) },
  { name: 'NaN, -inf and -0', inputs: { x: { shape: [4, 3], fill: { values: special } } }, call: t => argmax(t.x!) },
  {
    name: 'i32',
    inputs: { x: { shape: [4, 70], dtype: 'i32', fill: { int: [-2000000000, 0] } } },
    call: t => argmax(t.x!),
    dtypes: ['f32'],
  },
  {
    name: 'the first dimension',
    inputs: { x: { shape: [6, 7] } },
    call: t => argmax(t.x!, { dim: 0, keepDims: true }),
  },
])
