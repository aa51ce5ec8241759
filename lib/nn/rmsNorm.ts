import { rmsNorm, rmsNormResidual } from '../ops/index.ts'
import type { Shape, Tensor } from '../tensor.ts'
import type { Wide } from '../types/shape.ts'
import { expectCount, expectPositive } from './check.ts'
import { constant, parameter } from './initialize.ts'
import { Module, type Placement } from './module.ts'
import type { Added } from './norm.ts'

export interface RMSNormOptions extends Placement {
  /** Added to the mean square under the root. Default 1e-6. */
  eps?: number
  /** Whether there is a weight. Default true. */
  elementwiseAffine?: boolean
}

/** x / √(mean(x²) + eps) · weight over the last dimension (Zhang and Sennrich 2019; torch.nn.RMSNorm with its eps given). Starts as 1. */
export class RMSNorm<C extends number = number> extends Module {
  readonly normalizedShape: C
  readonly eps: number
  weight: Tensor | undefined

  constructor(normalizedShape: C, options: RMSNormOptions = {}) {
    super()
    const { eps = 1e-6, elementwiseAffine = true } = options
    expectCount('RMSNorm', 'normalizedShape', normalizedShape)
    expectPositive('RMSNorm', 'eps', eps)
    this.normalizedShape = normalizedShape
    this.eps = eps
    this.weight = elementwiseAffine ? parameter([normalizedShape], constant(1), options) : undefined
  }

  /** [..., C] → [..., C] */
  forward<S extends Shape>(x: Wide<S, C>): Tensor<S> {
    return rmsNorm(x as Tensor, this.weight, { eps: this.eps }) as Tensor<S>
  }

  /** norm(residual + dropout(x)) */
  forwardAdded(x: Tensor, added: Added): Tensor {
    return rmsNorm(x, this.weight, this.#fused(added))
  }

  /** `sum` = residual + dropout(x), and `y`, its norm. */
  forwardResidual(x: Tensor, added: Added): { y: Tensor; sum: Tensor } {
    return rmsNormResidual(x, this.weight, this.#fused(added))
  }

  #fused({ residual, dropout }: Added) {
    return { eps: this.eps, residual, dropout: this.training ? dropout : 0 }
  }
}
