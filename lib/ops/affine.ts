import { defineOp } from '../autograd/defineOp.ts'
import { type AffineArgs, affine as native, schema } from '../native.generated.ts'
import { allocate, type Tensor } from '../tensor.ts'
import { expectFloat, expectTensor } from './check.ts'
import { rawScale } from './untaped.ts'

/** scale · x + shift with numbers for both. */
export const affine = defineOp('affine', {
  native,
  infer(x: Tensor, scale: number, shift: number): AffineArgs {
    expectTensor('affine', 'x', x)
    expectFloat('affine', 'x', x)
    return { x, y: allocate(x.device, x.shape, x.dtype, schema.affine.id), scale, shift }
  },
  result: args => args.y,
  differentiable: ['y'],
  saves: [],
  backward: ({ saved, gradient }) => ({ x: rawScale(gradient.y as Tensor, saved.scale) }),
  reference: (F, { x, scale, shift }) => ({ y: F.add(F.mul(x, scale), shift) }),
})
