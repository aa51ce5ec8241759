import { dropout, dropoutOp } from '../../lib/ops/dropout.ts'
import { defineCases, type Inputs } from './cases.ts'

export default defineCases(dropoutOp, [
  ...[0.1, 0.5, 0.7, 0.99, 1].map(p => ({
    name: `p ${p}`,
    inputs: { x: { shape: [7, 13] } },
    call: (t: Inputs) => dropout(t.x!, p),
  })),
  { name: 'one element', inputs: { x: { shape: [1] } }, call: t => dropout(t.x!, 0.3) },
  { name: 'nothing', inputs: { x: { shape: [0, 8] } }, call: t => dropout(t.x!, 0.3) },
  { name: 'long', inputs: { x: { shape: [33, 1037] } }, call: t => dropout(t.x!, 0.1), bench: { bytes: 33 * 1037 * 8 } },
  // A block of a GPU device has 1024 elements of f32, 2048 of bf16.
  ...[1023, 1025, 2049].map(size => ({
    name: `${size} elements`,
    inputs: { x: { shape: [size] } },
    call: (t: Inputs) => dropout(t.x!, 0.2),
  })),
  {
    name: 'not aligned',
    inputs: { x: { shape: [5, 129] } },
    call: t => dropout(t.x!.slice(0, 1, 5), 0.4),
    noGradient: 'the reference sees the slice only',
    reference: (F, { x }) => ({ y: F.mul(F.gather(x!, [1, 2, 3, 4]), F.dropoutMask([4, 129], Math.fround(0.4), 7, 0)) }),
  },
  {
    name: 'strided',
    inputs: { x: { shape: [11, 6], transposed: true } },
    call: t => dropout(t.x!, 0.4),
    reference: (F, { x }) => ({ y: F.mul(x!, F.dropoutMask([11, 6], Math.fround(0.4), 7, 0)) }),
  },
])
