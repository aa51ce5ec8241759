import { defineOp } from '../autograd/defineOp.ts'
import { softmax as native, type SoftmaxArgs, schema, softmaxBackward } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import { expectDim, expectFinite, expectFloat, expectTensor } from './check.ts'
import { contiguous } from './copy.ts'
import { rawCast } from './untaped.ts'
import { transpose } from './view.ts'

/** Over the last dimension of a contiguous tensor. */
export const softmaxRows = defineOp('softmax', {
  native,
  infer: (x: Tensor, scale: number): SoftmaxArgs => ({ x, y: allocate(x.device, x.shape, x.dtype, schema.softmax.id), scale }),
  result: args => args.y,
  differentiable: ['y'],
  saves: ['y'],
  backward({ saved: { y, scale }, gradient }) {
    const dy = rawCast(gradient.y as Tensor, y.dtype)
    const dx = allocate(y.device, y.shape, y.dtype, schema.softmaxBackward.id)
    softmaxBackward({ dy, y, dx, scale })
    return { x: dx }
  },
  reference(F, { x, scale }) {
    const scaled = F.mul(x, scale)
    const top = F.max(scaled, [-1])
    const masked = F.compare(top, Number.NEGATIVE_INFINITY, (a, b) => a === b)
    const weights = F.exp(F.sub(scaled, F.where(masked, 0, F.constant(F.values(top), F.shape(top)))))
    const total = F.sum(weights, [-1])
    return { y: F.div(weights, F.where(masked, 1, total)) } // [..., C]
  },
})

/** Runs `rows`, which works on the last dimension, over dimension `dim`. */
export function overDim<S extends Shape>(name: string, x: Tensor<S>, dim: number, rows: (x: Tensor) => Tensor): Tensor<S> {
  expectTensor(name, 'x', x)
  expectFloat(name, 'x', x)
  const index = expectDim(name, 'dim', dim, x.rank)
  if (index === x.rank - 1) return rows(contiguous(x)) as Tensor<S>
  return transpose(rows(contiguous(transpose(x, index, -1))), index, -1) as Tensor<S>
}

export interface SoftmaxOptions {
  /** The dimension whose numbers add up to 1; negative from the end, default the last. */
  dim?: number
  /** Factor of x, default 1. */
  scale?: number
}

/**
 * exp(scale · x) / Σ exp(scale · x) along `dim`, of the shape of `x`, in f32 inside. What is -inf gets 0; where all are -inf the result is 0 and so is
 * the gradient. Throws ArgumentError if `x` has no such dimension, no float dtype, or `scale` is not finite.
 */
export function softmax<S extends Shape>(x: Tensor<S>, { dim = -1, scale = 1 }: SoftmaxOptions = {}): Tensor<S> {
  expectFinite('softmax', 'scale', scale)
  return overDim('softmax', x, dim, rows => softmaxRows(rows, Math.fround(scale)))
}
