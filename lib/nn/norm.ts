import type { Tensor } from '../tensor.ts'
import { LayerNorm } from './layerNorm.ts'
import type { Module, Placement } from './module.ts'
import { RMSNorm } from './rmsNorm.ts'

/** What goes into a norm beside x: the sum is residual + dropout(x). */
export interface Added {
  residual: Tensor
  /** Dropout on x, while training. */
  dropout: number
}

/** A norm over the last dimension, fused with what the blocks of a Transformer do before it. */
export interface Norm extends Module {
  /** norm(x) */
  forward(x: Tensor): Tensor
  /** norm(residual + dropout(x)) */
  forwardAdded(x: Tensor, added: Added): Tensor
  /** The same, and the sum. */
  forwardResidual(x: Tensor, added: Added): { y: Tensor; sum: Tensor }
}

export type NormKind = 'layer' | 'rms'
export const normKinds: readonly NormKind[] = ['layer', 'rms']

export function makeNorm(kind: NormKind, width: number, options: Placement & { eps: number; bias: boolean }): Norm {
  return kind === 'rms' ? new RMSNorm(width, options) : new LayerNorm(width, options)
}
