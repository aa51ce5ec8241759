import { layerNorm, layerNormResidual } from '../ops/index.ts'
import type { Shape, Tensor } from '../tensor.ts'
import type { Wide } from '../types/shape.ts'
import { expectCount, expectPositive } from './check.ts'
import { constant, parameter } from './initialize.ts'
import { Module, type Placement } from './module.ts'
import type { Added } from './norm.ts'

export interface LayerNormOptions extends Placement {
  /** Added to the variance under the root. Default 1e-5. */
  eps?: number
  /** Whether there are weight and bias. Default true. */
  elementwiseAffine?: boolean
  /** Whether there is a bias beside the weight. Default true. */
  bias?: boolean
}

/** (x − mean) / √(variance + eps) · weight + bias over the last dimension, with the biased variance, as torch.nn.LayerNorm. Starts as 1 and 0. */
export class LayerNorm<C extends number = number> extends Module {
  readonly normalizedShape: C
  readonly eps: number
  weight: Tensor | undefined
  bias: Tensor | undefined

  constructor(normalizedShape: C, options: LayerNormOptions = {}) {
    super()
    const { eps = 1e-5, elementwiseAffine = true, bias = true } = options
    expectCount('LayerNorm', 'normalizedShape', normalizedShape)
    expectPositive('LayerNorm', 'eps', eps)
    this.normalizedShape = normalizedShape
    this.eps = eps
    this.weight = elementwiseAffine ? parameter([normalizedShape], constant(1), options) : undefined
    this.bias = elementwiseAffine && bias ? parameter([normalizedShape], constant(0), options) : undefined
  }

  /** [..., C] → [..., C] */
  forward<S extends Shape>(x: Wide<S, C>): Tensor<S> {
    return layerNorm(x as Tensor, this.weight, this.bias, { eps: this.eps }) as Tensor<S>
  }

  /** norm(residual + dropout(x)) */
  forwardAdded(x: Tensor, added: Added): Tensor {
    return layerNorm(x, this.weight, this.bias, this.#fused(added))
  }

  /** `sum` = residual + dropout(x), and `y`, its norm. */
  forwardResidual(x: Tensor, added: Added): { y: Tensor; sum: Tensor } {
    return layerNormResidual(x, this.weight, this.bias, this.#fused(added))
  }

  #fused({ residual, dropout }: Added) {
    return { eps: this.eps, residual, dropout: this.training ? dropout : 0 }
  }
}
