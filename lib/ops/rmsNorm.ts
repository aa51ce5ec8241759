import { defineOp } from '../autograd/defineOp.ts'
import { drawForDropout } from '../generator.ts'
import { rmsNorm as native, type RmsNormArgs, rmsNormBackward, schema } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import type { Last, Wide } from '../types/shape.ts'
import { denseGradient, type NormInputs, type NormOptions, type NormResult, normInputs, residualSum } from './norm.ts'
import { rawCast } from './untaped.ts'

export const rmsNormOp = defineOp('rmsNorm', {
  native,
  infer({ x, residual, weight, eps, dropout }: NormInputs): RmsNormArgs {
    const { id } = schema.rmsNorm
    const { seed, counter } = drawForDropout(dropout)
    return {
      x,
      residual,
      weight,
      y: allocate(x.device, x.shape, x.dtype, id),
      sum: residual !== undefined || dropout > 0 ? allocate(x.device, x.shape, x.dtype, id) : undefined,
      rstd: allocate(x.device, x.shape.slice(0, -1), 'f32', id),
      eps,
      dropout,
      seed,
      counter,
    }
  },
  result: ({ x, y, sum }): NormResult => ({ y, sum: sum ?? x }),
  differentiable: ['y', 'sum'],
  saves: ({ sum }) => [sum ? 'sum' : 'x', 'weight', 'rstd'],
  backward({ saved: { x, sum = x, weight, rstd, dropout, seed, counter }, gradient, needs, accumulate }) {
    const make = (needed: boolean | undefined) =>
      needed ? allocate(sum.device, sum.shape, sum.dtype, schema.rmsNormBackward.id) : undefined
    const dresidual = make(needs.residual || (needs.x && dropout === 0))
    // Without dropout x and the residual have one gradient.
    const dx = dropout === 0 ? dresidual : make(needs.x)
    rmsNormBackward({
      dy: denseGradient(gradient.y, sum),
      dsum: gradient.sum && rawCast(gradient.sum, sum.dtype),
      sum,
      weight,
      rstd,
      dx: dropout === 0 ? undefined : dx,
      dresidual,
      dweight: accumulate('weight'),
      dropout,
      seed,
      counter,
    })
    return { x: dx, residual: dresidual }
  },
  reference(F, args) {
    const sum = residualSum(F, args)
    const square = F.div(F.sum(F.mul(sum, sum), [-1]), F.shape(sum).at(-1) as number)
    const rstd = F.div(F.full([], 1), F.sqrt(F.add(square, args.eps)))
    const normal = F.mul(sum, rstd)
    const y = args.weight === undefined ? normal : F.mul(normal, args.weight)
    return { y, rstd, ...(args.sum === undefined ? {} : { sum }) }
  },
})

export interface RMSNormOptions extends NormOptions {
  /** Added to the mean square below the root, default 2^-23 (f32's epsilon, PyTorch's default for f32 and bf16 alike). */
  eps?: number
}

/**
 * s / √(mean(s²) + eps) · weight over the last dimension, s = residual + dropout(x). Computed in f32.
 *
 * @param x [..., C], float
 * @param weight [C], f32 or the dtype of `x`; default 1
 * @returns [..., C], the dtype of `x`
 * @throws ArgumentError if a shape or dtype does not fit, or `dropout` is not from 0 to 1
 */
export function rmsNorm<S extends Shape, W extends Shape = Shape>(
  x: Tensor<S>,
  weight?: Wide<W, Last<S>> | undefined,
  options: RMSNormOptions = {},
): Tensor<S> {
  return rmsNormResidual(x, weight as Tensor | undefined, options).y
}

/** `rmsNorm` that also gives `sum`, what was normalized: the next residual of a pre-norm layer. Gradients flow through both. */
export function rmsNormResidual<S extends Shape, W extends Shape = Shape>(
  x: Tensor<S>,
  weight?: Wide<W, Last<S>> | undefined,
  options: RMSNormOptions = {},
): NormResult<S> {
  return rmsNormOp(normInputs('rmsNorm', x, weight as Tensor | undefined, undefined, options, 2 ** -23)) as NormResult<S>
}
