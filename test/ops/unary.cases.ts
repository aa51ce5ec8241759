import { type UnaryKind, unary } from '../../lib/ops/unary.ts'
import { unaryKinds } from '../../lib/ops/untaped.ts'
import { defineCases } from './cases.ts'

const positiveOnly: UnaryKind[] = ['log', 'sqrt', 'rsqrt']

export default defineCases(
  unary,
  (Object.keys(unaryKinds) as UnaryKind[]).flatMap(kind => {
    const fill = positiveOnly.includes(kind) ? ('positive' as const) : ('normal' as const)
    return [
      { name: `${kind}, odd size`, inputs: { x: { shape: [3, 37], fill, scale: 2 } }, call: t => unary(kind, t.x!) },
      { name: `${kind}, empty`, inputs: { x: { shape: [0], fill } }, call: t => unary(kind, t.x!) },
    ]
  }),
)
