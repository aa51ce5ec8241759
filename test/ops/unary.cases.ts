import { type UnaryKind, unary } from '../../lib/ops/unary.ts'
import { unaryKinds } from '../../lib/ops/untaped.ts'
import { defineCases, type Inputs } from './cases.ts'

const positiveOnly: UnaryKind[] = ['log', 'sqrt', 'rsqrt']
// Around the places where functions change their formula, and beyond them; the large ones are near multiples of pi / 2.
const special = [0, -0, 1, -1, 0.5, -7.98, 8.5, -90, 90, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN]
const turns = [Math.fround(Math.PI / 2), Math.fround(-Math.PI), 355, 65535.5, -65536, 105615.1, 710, 1e6, -2.5e9, 3.4e19, 5.4e29, 3e38]

export default defineCases(unary, [
  ...(Object.keys(unaryKinds) as UnaryKind[]).flatMap(kind => {
    const fill = positiveOnly.includes(kind) ? ('positive' as const) : ('normal' as const)
    const call = (t: Inputs) => unary(kind, t.x!)
    return [
      { name: `${kind}, odd size`, inputs: { x: { shape: [3, 37], fill, scale: 2 } }, call },
      { name: `${kind}, empty`, inputs: { x: { shape: [0], fill } }, call },
      {
        name: `${kind}, special values`,
        inputs: { x: { shape: [12], fill: { values: special } } },
        call,
        noGradient: 'infinity has no differences',
      },
    ]
  }),
  ...(['sin', 'cos'] as const).map(kind => ({
    name: `${kind} of large numbers`,
    inputs: { x: { shape: [12], fill: { values: turns } } },
    call: (t: Inputs) => unary(kind, t.x!),
    dtypes: ['f32'] as const,
    noGradient: 'differences need smaller steps than these numbers have',
  })),
  // A block of a GPU device has 1024 elements of f32, 2048 of bf16.
  ...[1023, 1025, 2047, 4097].map(size => ({
    name: `gelu of ${size}`,
    inputs: { x: { shape: [size] } },
    call: (t: Inputs) => unary('gelu', t.x!),
  })),
  {
    name: 'silu, not aligned',
    inputs: { x: { shape: [7, 33] } },
    call: t => unary('silu', t.x!.slice(0, 1, 7)),
    reference: (F, { x }) => {
      const rows = F.gather(x!, [1, 2, 3, 4, 5, 6])
      return { y: F.div(rows, F.add(F.exp(F.neg(rows)), 1)) }
    },
  },
  {
    name: 'tanh, transposed',
    inputs: { x: { shape: [9, 14], transposed: true } },
    call: t => unary('tanh', t.x!),
    reference: (F, { x }) => ({ y: F.tanh(x!) }),
  },
])
