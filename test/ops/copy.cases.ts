import { copyTo } from '../../lib/ops/copy.ts'
import { defineCases } from './cases.ts'

export default defineCases(copyTo, [
  { name: 'same dtype', inputs: { x: { shape: [3, 5] } }, call: t => copyTo(t.x!, t.x!.dtype) },
  {
    name: 'transposed',
    inputs: { x: { shape: [7, 5], transposed: true } },
    call: t => copyTo(t.x!, t.x!.dtype),
    reference: (_, { x }) => ({ y: x }),
  },
  { name: 'to f32', inputs: { x: { shape: [4, 33] } }, call: t => copyTo(t.x!, 'f32') },
  {
    name: 'i32 to f32',
    inputs: { x: { shape: [9], dtype: 'i32', fill: { int: [-100, 100] } } },
    call: t => copyTo(t.x!, 'f32'),
    dtypes: ['f32'],
  },
  { name: 'empty', inputs: { x: { shape: [0, 3] } }, call: t => copyTo(t.x!, 'f32') },
])
