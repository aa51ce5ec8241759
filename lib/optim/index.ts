/** Optimizers and learning rates. */
export { Adam, type AdamOptions, AdamW, type Optimizer } from './adam.ts'
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
export type { OptimizerState, ParameterState } from './state.ts'
