/** Optimizers and learning rates. */
export { Adam, type AdamOptions, AdamW, type Optimizer, type OptimizerState, type ParameterState } from './adam.ts'
export { clipGradNorm } from './clipGradNorm.ts'
export type { ParameterGroup } from './parameters.ts'
export {
  type ConstantOptions,
  constant,
  cosine,
  type DecayOptions,
  inverseSqrt,
  linear,
  type NoamOptions,
  noam,
  type RateSchedule,
  Schedule,
} from './schedules.ts'
