import { type BinaryKind, binary } from '../../lib/ops/binary.ts'
import { defineCases, type InputSpec, type OpCase } from './cases.ts'

const shapes: [string, number[], number[]][] = [
  ['same shape', [3, 5], [3, 5]],
  ['b a row', [4, 7], [7]],
  ['b a column', [4, 7], [4, 1]],
  ['both repeat', [2, 1, 5], [3, 1]],
  ['b a scalar', [17], []],
  ['empty', [0, 4], [1, 4]],
  ['long', [3, 1031], [3, 1031]],
]
// What GPU devices take in vectors along the last dimension; the same shapes, one element short, are not.
const vectorShapes: [string, number[], number[]][] = [64, 63].flatMap(n => [
  [`rows of ${n}, b a row`, [5, n], [n]],
  [`rows of ${n}, b a column`, [5, n], [5, 1]],
  [`rows of ${n}, both repeat`, [3, 1, n], [4, 1]],
])
const arithmetic: BinaryKind[] = ['add', 'sub', 'mul', 'div', 'pow', 'maximum', 'minimum']
const comparisons: BinaryKind[] = ['equal', 'notEqual', 'less', 'lessEqual', 'greater', 'greaterEqual']

const of = (kind: BinaryKind, name: string, a: InputSpec, b: InputSpec, more: Partial<OpCase> = {}): OpCase => ({
  name: `${kind}, ${name}`,
  inputs: { a, b },
  call: t => binary(kind, t.a!, t.b!),
  ...more,
})

export default defineCases(binary, [
  ...arithmetic.flatMap(kind =>
    shapes.map(([name, a, b]) => {
      const fill = kind === 'pow' || kind === 'div' ? ('positive' as const) : ('normal' as const)
      return of(kind, name, { shape: a, fill }, { shape: b, fill })
    }),
  ),
  ...(['sub', 'div', 'pow'] as const).flatMap(kind =>
    vectorShapes.map(([name, a, b]) => of(kind, name, { shape: a, fill: 'positive' }, { shape: b, fill: 'positive' })),
  ),
  ...vectorShapes.map(([name, a, b]) =>
    of(
      'lessEqual',
      name,
      { shape: a, fill: { int: [0, 3] } },
      { shape: b, fill: { int: [0, 3] } },
      { noGradient: 'comparisons have none' },
    ),
  ),
  {
    name: 'sub, rows of a slice',
    inputs: { a: { shape: [6, 80] }, b: { shape: [64] } },
    call: t => binary('sub', t.a!.slice(1, 8, 72), t.b!),
    noGradient: 'the reference has no slices of columns',
    reference: (F, { a, b }) => {
      const column = F.reshape(a!, [480, 1])
      const rows = Array.from({ length: 6 * 64 }, (_, i) => Math.floor(i / 64) * 80 + 8 + (i % 64))
      return { y: F.sub(F.reshape(F.gather(column, rows), [6, 64]), b!) }
    },
  },
  of(
    'mul',
    'a transposed',
    { shape: [5, 6], transposed: true },
    { shape: [6] },
    {
      reference: (F, { a, b }) => ({ y: F.mul(a!, b!) }),
    },
  ),
  ...comparisons.map(kind =>
    of(
      kind,
      'small integers',
      { shape: [4, 33], fill: { int: [0, 3] } },
      { shape: [33], fill: { int: [0, 3] } },
      { noGradient: 'comparisons have none' },
    ),
  ),
  ...(['add', 'sub', 'mul', 'maximum', 'equal', 'less'] as const).map(kind =>
    of(
      kind,
      'i32',
      { shape: [9], dtype: 'i32', fill: { int: [-50, 50] } },
      { shape: [9], dtype: 'i32', fill: { int: [-50, 50] } },
      {
        dtypes: ['f32'],
        noGradient: 'integers have none',
      },
    ),
  ),
])
