import { defineOp } from '../autograd/defineOp.ts'
import { drawForDropout } from '../generator.ts'
import { type LayerNormArgs, layerNormBackward, layerNorm as native, schema } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import type { Last, Wide } from '../types/shape.ts'
import { denseGradient, type NormInputs, type NormOptions, type NormResult, normInputs, residualSum } from './norm.ts'
import { rawCast } from './untaped.ts'

export const layerNormOp = defineOp('layerNorm', {
  native,
  infer({ x, residual, weight, bias, eps, dropout }: NormInputs): LayerNormArgs {
    const { id } = schema.layerNorm
    const { seed, counter } = drawForDropout(dropout)
    const rows = x.shape.slice(0, -1)
    return {
      x,
      residual,
      weight,
      bias,
      y: allocate(x.device, x.shape, x.dtype, id),
      sum: residual !== undefined || dropout > 0 ? allocate(x.device, x.shape, x.dtype, id) : undefined,
      mean: allocate(x.device, rows, 'f32', id),
      rstd: allocate(x.device, rows, 'f32', id),
      eps,
      dropout,
      seed,
      counter,
    }
  },
  result: ({ x, y, sum }): NormResult => ({ y, sum: sum ?? x }),
  differentiable: ['y', 'sum'],
  saves: ({ sum }) => [sum ? 'sum' : 'x', 'weight', 'mean', 'rstd'],
  backward({ saved: { x, sum = x, weight, mean, rstd, dropout, seed, counter }, gradient, needs, accumulate }) {
    const make = (needed: boolean | undefined) =>
      needed ? allocate(sum.device, sum.shape, sum.dtype, schema.layerNormBackward.id) : undefined
    const dresidual = make(needs.residual || (needs.x && dropout === 0))
    // Without dropout x and the residual have one gradient.
    const dx = dropout === 0 ? dresidual : make(needs.x)
    layerNormBackward({
      dy: denseGradient(gradient.y, sum),
      dsum: gradient.sum && rawCast(gradient.sum, sum.dtype),
      sum,
      weight,
      mean,
      rstd,
      dx: dropout === 0 ? undefined : dx,
      dresidual,
      dweight: accumulate('weight'),
      dbias: accumulate('bias'),
      dropout,
      seed,
      counter,
    })
    return { x: dx, residual: dresidual }
  },
  reference(F, args) {
    const sum = residualSum(F, args)
    const width = F.shape(sum).at(-1) as number
    const mean = F.div(F.sum(sum, [-1]), width)
    const centered = F.sub(sum, mean)
    const variance = F.div(F.sum(F.mul(centered, centered), [-1]), width)
    const rstd = F.div(F.full([], 1), F.sqrt(F.add(variance, args.eps)))
    const normal = F.mul(centered, rstd)
    const scaled = args.weight === undefined ? normal : F.mul(normal, args.weight)
    const y = args.bias === undefined ? scaled : F.add(scaled, args.bias)
    return { y, mean, rstd, ...(args.sum === undefined ? {} : { sum }) }
  },
})

export interface LayerNormOptions extends NormOptions {
  /** Added to the variance below the root, default 1e-5. */
  eps?: number
}

/**
 * (s - mean) / √(variance + eps) · weight + bias over the last dimension, s = residual + dropout(x), with the variance of the whole row (divided by its
 * length). Computed in f32.
 *
 * @param x [..., C], float
 * @param weight [C], f32 or the dtype of `x`; default 1
 * @param bias [C], likewise; default 0
 * @returns [..., C], the dtype of `x`
 * @throws ArgumentError if a shape or dtype does not fit, or `dropout` is not from 0 to 1
 */
export function layerNorm<S extends Shape, W extends Shape = Shape, B extends Shape = Shape>(
  x: Tensor<S>,
  weight?: Wide<W, Last<S>> | undefined,
  bias?: Wide<B, Last<S>> | undefined,
  options: LayerNormOptions = {},
): Tensor<S> {
  return layerNormResidual(x, weight as Tensor | undefined, bias as Tensor | undefined, options).y
}

/** `layerNorm` that also gives `sum`, what was normalized: the next residual of a pre-norm layer. Gradients flow through both. */
export function layerNormResidual<S extends Shape, W extends Shape = Shape, B extends Shape = Shape>(
  x: Tensor<S>,
  weight?: Wide<W, Last<S>> | undefined,
  bias?: Wide<B, Last<S>> | undefined,
  options: LayerNormOptions = {},
): NormResult<S> {
  return layerNormOp(normInputs('layerNorm', x, weight as Tensor | undefined, bias as Tensor | undefined, options, 1e-5)) as NormResult<S>
}
