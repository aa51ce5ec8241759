import { defineOp } from '../autograd/defineOp.ts'
import { type LogSoftmaxArgs, logSoftmaxBackward, logSoftmax as native, schema } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import { overDim } from './softmax.ts'
import { rawCast } from './untaped.ts'

/** Over the last dimension of a contiguous tensor. */
export const logSoftmaxRows = defineOp('logSoftmax', {
  native,
  infer: (x: Tensor): LogSoftmaxArgs => ({ x, y: allocate(x.device, x.shape, x.dtype, schema.logSoftmax.id) }),
  result: args => args.y,
  differentiable: ['y'],
  saves: ['y'],
  backward({ saved: { y }, gradient }) {
    const dy = rawCast(gradient.y as Tensor, y.dtype)
    const dx = allocate(y.device, y.shape, y.dtype, schema.logSoftmaxBackward.id)
    logSoftmaxBackward({ dy, y, dx })
    return { x: dx }
  },
  reference(F, { x }) {
    const top = F.max(x, [-1])
    const masked = F.compare(top, Number.NEGATIVE_INFINITY, (a, b) => a === b)
    const shifted = F.sub(x, F.where(masked, 0, F.constant(F.values(top), F.shape(top))))
    const total = F.where(masked, 1, F.sum(F.exp(shifted), [-1]))
    return { y: F.where(masked, Number.NEGATIVE_INFINITY, F.sub(shifted, F.log(total))) } // [..., C]
  },
})

export interface LogSoftmaxOptions {
  /** The dimension that is normalized; negative from the end, default the last. */
  dim?: number
}

/**
 * x - log Σ exp(x) along `dim`, of the shape of `x`, in f32 inside. Where all are -inf the result is -inf and the gradient 0. Throws ArgumentError if `x`
 * has no such dimension or no float dtype.
 */
export function logSoftmax<S extends Shape>(x: Tensor<S>, { dim = -1 }: LogSoftmaxOptions = {}): Tensor<S> {
  return overDim('logSoftmax', x, dim, logSoftmaxRows)
}
