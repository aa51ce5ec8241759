import type { Batch, Batches } from '../data/batches.ts'
import { DeviceError, TrainingError } from '../errors.ts'
import { scope } from '../scope.ts'
import type { Tensor } from '../tensor.ts'
import { Lagging, WeightedMean } from './lagging.ts'
import { evaluateLoss, type LossModel, type LossReport } from './loss.ts'

/** What the trainer needs of a model. */
export interface TrainableModel extends LossModel {
  parameters(): Tensor[]
}

/** What the trainer needs of an optimizer. `step()` consumes the gradients. */
export interface TrainableOptimizer {
  lr: number
  step(): void
  /** Gives the gradients up, and makes usable again what a failed step has left as it was. */
  zeroGrad(): void
}

/** One step, told a few steps later. */
export interface StepReport {
  /** From 1, over all epochs. */
  step: number
  /** From 1. */
  epoch: number
  /** Number of the batch in its epoch, from 1, and how many there are. */
  batch: number
  batches: number
  /** Mean over the batch's target tokens, with label smoothing and dropout. */
  loss: number
  /** Of all gradients together, before clipping; undefined without clipping. */
  gradientNorm: number | undefined
  learningRate: number
  /** Of the batch: source and target together, and of the target alone. */
  tokens: number
  targetTokens: number
}

export interface EpochReport {
  /** From 1. */
  epoch: number
  /** Steps so far. */
  step: number
  /** Mean over the epoch's target tokens, with label smoothing and dropout. */
  loss: number
  /** Without label smoothing and dropout; undefined without validation pairs. */
  validation: LossReport | undefined
  learningRate: number
  /** Trained on in this epoch, source and target together. */
  tokens: number
  /** Of training, without validation and `onEpoch`. */
  seconds: number
}

export interface TrainOptions {
  batches: Batches
  /** Measured after each epoch. */
  validation?: Batches | undefined
  optimizer: TrainableOptimizer
  /** Learning rate of a step, from 1. */
  learningRate: (step: number) => number
  epochs: number
  /** Ends training early. Default no limit. */
  maxSteps?: number | undefined
  /** Default 0. */
  labelSmoothing?: number | undefined
  /** Limits the norm of all gradients and returns what it was: `parameters => clipGradNorm(parameters, 1)`. Default none. */
  clip?: ((parameters: Tensor[]) => Tensor) | undefined
  /** Stops after the step under way. */
  signal?: AbortSignal | undefined
  onStep?: ((report: StepReport) => void) | undefined
  /** Awaited before the next epoch begins. The model is in evaluation mode meanwhile. */
  onEpoch?: ((report: EpochReport) => void | Promise<void>) | undefined
}

/** How many steps may be recorded ahead of the loss that is being read: enough to keep the device busy, few enough to stop soon. */
const STEPS_AHEAD = 3

/**
 * Trains by teacher forcing. Steps are recorded ahead of the device and losses read as they arrive, so reporting never stalls it. The same seed (of
 * `seed()` and of the batches), options and machine give the same losses.
 *
 * Rejects with TrainingError when a loss is not finite, with the device's error when a step failed, or with the signal's reason: the model is then as
 * the last step that was made left it, and can be saved or trained on.
 */
export async function train(model: TrainableModel, options: TrainOptions): Promise<void> {
  try {
    await runEpochs(model, options)
  } catch (error) {
    if (error instanceof DeviceError) options.optimizer.zeroGrad()
    throw error
  }
}

async function runEpochs(model: TrainableModel, options: TrainOptions): Promise<void> {
  const { batches, validation, epochs, maxSteps = Number.POSITIVE_INFINITY, signal, onStep, onEpoch } = options
  const parameters = model.parameters()
  let step = 0
  for (let epoch = 1; epoch <= epochs && step < maxSteps; epoch++) {
    model.train()
    const began = performance.now()
    const mean = new WeightedMean()
    let tokens = 0
    const lagging = new Lagging<StepReport>(STEPS_AHEAD, report => {
      const { loss } = report
      if (!Number.isFinite(loss))
        throw new TrainingError(`the loss is ${loss} at step ${report.step}; a lower learning rate, a longer warm-up or clipping may help`)
      mean.add(loss, report.targetTokens)
      tokens += report.tokens
      onStep?.(report)
    })
    const plan = batches.epoch(epoch - 1)
    for (let index = 0; index < plan.length && step < maxSteps && !signal?.aborted; index++) {
      const batch = plan.at(index)
      const learningRate = options.learningRate(++step)
      const reading = trainStep(model, parameters, batch, learningRate, options)
      const report = {
        step,
        epoch,
        batch: index + 1,
        batches: plan.length,
        learningRate,
        tokens: batch.tokens,
        targetTokens: batch.labels.length,
      }
      await lagging.push(reading.then(read => ({ ...report, ...read })))
    }
    await lagging.end()
    signal?.throwIfAborted()
    const seconds = (performance.now() - began) / 1000
    const report = { epoch, step, loss: mean.value, learningRate: options.learningRate(step), tokens, seconds }
    model.eval()
    await onEpoch?.({ ...report, validation: validation && (await evaluateLoss(model, validation, { signal })) })
    signal?.throwIfAborted()
  }
}

/** Records one step and starts to read what it reports. */
async function trainStep(model: TrainableModel, parameters: Tensor[], batch: Batch, learningRate: number, options: TrainOptions) {
  options.optimizer.lr = learningRate
  const reading = scope(() => {
    const loss = model.loss(batch, { labelSmoothing: options.labelSmoothing ?? 0 })
    loss.backward()
    const norm = options.clip?.(parameters)
    options.optimizer.step()
    // The reads are queued here, so the tensors may go when the scope ends.
    return [loss.item(), norm?.item()] as const
  })
  const [loss, gradientNorm] = await Promise.all(reading)
  return { loss, gradientNorm }
}
