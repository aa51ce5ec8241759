import { ArgumentError } from '../errors.ts'
import { formatShape, sameShape } from '../ops/check.ts'
import { linear } from '../ops/index.ts'
import type { Shape, Tensor } from '../tensor.ts'
import type { Wide, WithLast } from '../types/shape.ts'
import { expectCount } from './check.ts'
import { fanInUniform, type Initializer, parameter } from './initialize.ts'
import { Module, type Placement } from './module.ts'

export interface LinearOptions extends Placement {
  /** Default true. */
  bias?: boolean
  /** How the weight starts. Default U(−1/√inFeatures, 1/√inFeatures), as torch.nn.Linear. */
  initialize?: Initializer
  /** How the bias starts. Default the same distribution. */
  initializeBias?: Initializer
  /** A weight [outFeatures, inFeatures] that another module owns: the two are tied. */
  tiedWeight?: Tensor
}

/**
 * y = x Wᵀ + b: [..., inFeatures] → [..., outFeatures], as torch.nn.Linear. `weight` is [outFeatures, inFeatures], `bias` [outFeatures]; both start as
 * U(−1/√inFeatures, 1/√inFeatures).
 */
export class Linear<In extends number = number, Out extends number = number> extends Module {
  readonly inFeatures: In
  readonly outFeatures: Out
  weight: Tensor
  bias: Tensor | undefined

  constructor(inFeatures: In, outFeatures: Out, options: LinearOptions = {}) {
    super()
    expectCount('Linear', 'inFeatures', inFeatures, 0)
    expectCount('Linear', 'outFeatures', outFeatures, 0)
    this.inFeatures = inFeatures
    this.outFeatures = outFeatures
    const start = fanInUniform(inFeatures)
    const { tiedWeight } = options
    if (tiedWeight && !sameShape(tiedWeight.shape, [outFeatures, inFeatures]))
      throw new ArgumentError(`[Linear] tiedWeight must be [${outFeatures}, ${inFeatures}], is ${formatShape(tiedWeight.shape)}`)
    this.weight = tiedWeight ?? parameter([outFeatures, inFeatures], options.initialize ?? start, options)
    this.bias = (options.bias ?? true) ? parameter([outFeatures], options.initializeBias ?? start, options) : undefined
  }

  /** [..., inFeatures] → [..., outFeatures] */
  forward<S extends Shape>(x: Wide<S, In>): Tensor<WithLast<S, Out>> {
    return linear(x as Tensor, this.weight, this.bias) as Tensor as Tensor<WithLast<S, Out>>
  }
}
