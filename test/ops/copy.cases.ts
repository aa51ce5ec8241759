import { copyTo } from '../../lib/ops/copy.ts'
import { defineCases, type Inputs } from './cases.ts'

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
  {
    name: 'i32 to i32 keeps all bits',
    inputs: { x: { shape: [3, 7], dtype: 'i32', fill: { int: [2000000000, 2000000100] }, transposed: true } },
    call: t => copyTo(t.x!, 'i32'),
    dtypes: ['f32'],
    reference: (_, { x }) => ({ y: x }),
  },
  ...(['f32', 'bf16', 'f16', 'i32', 'u8'] as const).flatMap(from =>
    (['f32', 'bf16', 'f16', 'i32', 'u8'] as const).map(to => ({
      name: `small integers of ${from} to ${to}`,
      inputs: { x: { shape: [5, 37], dtype: from, fill: { int: [0, 2] } as const, gradient: false } },
      call: (t: Inputs) => copyTo(t.x!, to),
      dtypes: ['f32'] as const,
    })),
  ),
  { name: 'empty', inputs: { x: { shape: [0, 3] } }, call: t => copyTo(t.x!, 'f32') },
])
