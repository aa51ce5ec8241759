import { ArgumentError } from '../errors.ts'
import { Adam, AdamW, constant, cosine, inverseSqrt, linear, type Optimizer, type RateSchedule } from '../optim/index.ts'
import type { Tensor } from '../tensor.ts'

export type OptimizerName = 'adam' | 'adamw'
export type ScheduleName = 'noam' | 'cosine' | 'linear' | 'constant'

export interface OptimizerSettings {
  /** Default [0.9, 0.98]. */
  betas?: readonly [number, number] | undefined
  /** Default 1e-9. */
  eps?: number | undefined
  /** Default 0.01 for AdamW, 0 for Adam. Acts on matrices only: biases and norms are left alone. */
  weightDecay?: number | undefined
}

/** The optimizer of that name, with the paper's betas and eps (Vaswani et al. 2017, section 5.3) by default. */
export function makeOptimizer(name: OptimizerName, parameters: readonly Tensor[], settings: OptimizerSettings = {}): Optimizer {
  const { betas = [0.9, 0.98], eps = 1e-9, weightDecay = name === 'adamw' ? 0.01 : 0 } = settings
  const groups = [
    { parameters: parameters.filter(parameter => parameter.rank >= 2), weightDecay },
    { parameters: parameters.filter(parameter => parameter.rank < 2), weightDecay: 0 },
  ].filter(group => group.parameters.length > 0)
  if (name === 'adamw') return new AdamW(groups, { betas, eps })
  if (name === 'adam') return new Adam(groups, { betas, eps })
  throw new ArgumentError(`[makeOptimizer] name must be 'adam' or 'adamw', is '${String(name)}'`)
}

export interface ScheduleSettings {
  /** The highest rate, reached at step `warmup`. */
  lr: number
  warmup: number
  /** All steps: where `cosine` and `linear` end, at 0. */
  steps: number
}

/** The learning rate by step, from 1: a linear rise over the warm-up, then what the name says; `noam` falls as 1/√step. */
export function makeSchedule(name: ScheduleName, { lr, warmup, steps }: ScheduleSettings): RateSchedule {
  // A warm-up that training is too short for rises to its end.
  const total = Math.max(steps, warmup)
  switch (name) {
    case 'cosine':
      return cosine({ lr, warmup, total })
    case 'linear':
      return linear({ lr, warmup, total })
    case 'constant':
      return constant({ lr, warmup })
    case 'noam':
      return inverseSqrt({ lr, warmup: Math.max(warmup, 1) })
    default:
      throw new ArgumentError(`[makeSchedule] name must be 'noam', 'cosine', 'linear' or 'constant', is '${String(name)}'`)
  }
}
