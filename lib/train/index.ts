/** `tilewise/train`: the training loop, what it reports, and losses over whole data sets. */
export { History, type HistoryRow, type Sample } from './history.ts'
export { evaluateLoss, type LossModel, type LossReport } from './loss.ts'
export { makeOptimizer, makeSchedule, type OptimizerName, type ScheduleName } from './optimization.ts'
export { splitPairs } from './split.ts'
export { type EpochReport, type StepReport, type TrainableModel, type TrainableOptimizer, type TrainOptions, train } from './trainer.ts'
