import { dropout } from '../ops/index.ts'
import type { Shape, Tensor } from '../tensor.ts'
import { expectProbability } from './check.ts'
import { Module } from './module.ts'

/** While training, elements become 0 with probability `p` and the others grow by 1/(1 − p); otherwise nothing happens. As torch.nn.Dropout. */
export class Dropout extends Module {
  readonly p: number

  constructor(p = 0.5) {
    super()
    expectProbability('Dropout', 'p', p)
    this.p = p
  }

  forward<S extends Shape>(x: Tensor<S>): Tensor<S> {
    return this.training && this.p > 0 ? (dropout(x as Tensor, this.p) as Tensor<S>) : x
  }
}
