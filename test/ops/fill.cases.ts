import { definedOps } from '../../lib/autograd/defineOp.ts'
import { full } from '../../lib/ops/fill.ts'
import { defineCases } from './cases.ts'

export default defineCases(definedOps.get('fill')!, [
  {
    name: 'a matrix',
    inputs: { like: { shape: [1] } },
    call: t => full([3, 5], 2.5, { device: t.like!.device, dtype: t.like!.dtype }),
  },
  { name: 'nothing', inputs: { like: { shape: [1] } }, call: t => full([0], 1, { device: t.like!.device }) },
])
