import { affine } from '../../lib/ops/affine.ts'
import { defineCases } from './cases.ts'

export default defineCases(affine, [
  { name: 'scale and shift', inputs: { x: { shape: [5, 13] } }, call: t => affine(t.x!, -1.5, 0.25) },
  { name: 'a scalar', inputs: { x: { shape: [] } }, call: t => affine(t.x!, 3, 0) },
  { name: 'empty', inputs: { x: { shape: [2, 0] } }, call: t => affine(t.x!, 3, 1) },
])
