import { where, whereOp } from '../../lib/ops/where.ts'
import { defineCases } from './cases.ts'

const condition = (shape: number[]) => ({ shape, dtype: 'u8', fill: { bernoulli: 0.4 } }) as const

export default defineCases(whereOp, [
  {
    name: 'same shapes',
    inputs: { c: condition([5, 67]), a: { shape: [5, 67] }, b: { shape: [5, 67] } },
    call: t => where(t.c!, t.a!, t.b!),
  },
  {
    name: 'all broadcast',
    inputs: { c: condition([4, 1, 3]), a: { shape: [5, 1] }, b: { shape: [3] } },
    call: t => where(t.c!, t.a!, t.b!),
  },
  {
    name: 'rows of whole vectors, b a row',
    inputs: { c: condition([7, 64]), a: { shape: [7, 64] }, b: { shape: [64] } },
    call: t => where(t.c!, t.a!, t.b!),
  },
  {
    name: 'rows of whole vectors, c a column',
    inputs: { c: condition([7, 1]), a: { shape: [7, 64] }, b: { shape: [7, 64] } },
    call: t => where(t.c!, t.a!, t.b!),
  },
  { name: 'b a number', inputs: { c: condition([9, 40]), a: { shape: [9, 40] } }, call: t => where(t.c!, t.a!, -2.5) },
  { name: 'a a number', inputs: { c: condition([9, 40]), b: { shape: [9, 40] } }, call: t => where(t.c!, 3, t.b!) },
  { name: 'nothing', inputs: { c: condition([0]), a: { shape: [0] }, b: { shape: [1] } }, call: t => where(t.c!, t.a!, t.b!) },
  {
    name: 'strided',
    inputs: { c: condition([6, 5]), a: { shape: [6, 5], transposed: true }, b: { shape: [6, 5] } },
    call: t => where(t.c!, t.a!, t.b!),
    reference: (F, { c, a, b }) => ({ y: F.where(c!, a!, b!) }),
  },
  {
    name: 'infinity on the other side',
    inputs: { c: { shape: [4], dtype: 'u8', fill: { values: [1, 0, 255, 0] } }, a: { shape: [4], fill: { values: [1, -3, 2, 4] } } },
    call: t => where(t.c!, t.a!, Number.NEGATIVE_INFINITY),
    noGradient: 'infinity has no differences',
  },
  {
    name: 'i32',
    inputs: {
      c: condition([31]),
      a: { shape: [31], dtype: 'i32', fill: { int: [-9, 9] } },
      b: { shape: [31], dtype: 'i32', fill: { int: [0, 2] } },
    },
    call: t => where(t.c!, t.a!, t.b!),
    dtypes: ['f32'],
    noGradient: 'integers have none',
  },
  {
    name: 'u8',
    inputs: { c: condition([31]), a: condition([31]), b: condition([31]) },
    call: t => where(t.c!, t.a!, t.b!),
    dtypes: ['f32'],
    noGradient: 'truth values have none',
  },
])
