import type { Batch, Batches } from '../data/batches.ts'
import { noGrad, scope } from '../scope.ts'
import type { Tensor } from '../tensor.ts'
import { Lagging, WeightedMean } from './lagging.ts'

/** What is needed of a model here: the mean loss over a batch's target tokens. */
export interface LossModel {
  loss(batch: Batch, options?: { labelSmoothing?: number }): Tensor
  train(on?: boolean): unknown
  eval(): unknown
  readonly training: boolean
}

export interface LossReport {
  /** Mean over the target tokens, in nats. */
  loss: number
  /** e to the loss. */
  perplexity: number
  /** Target tokens, EOS included. */
  tokens: number
}

/** How many batches may be recorded ahead of the loss that is being read. */
const BATCHES_AHEAD = 3

/**
 * Loss and perplexity over all pairs of `batches`, each target token weighing the same, without dropout and label smoothing. The model's mode is as
 * before afterwards. Rejects with the device's error, or with the signal's reason.
 */
export async function evaluateLoss(
  model: LossModel,
  batches: Batches,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<LossReport> {
  const { signal } = options
  const { training } = model
  const mean = new WeightedMean()
  const lagging = new Lagging<{ loss: number; tokens: number }>(BATCHES_AHEAD, ({ loss, tokens }) => mean.add(loss, tokens))
  model.eval()
  try {
    for (const batch of batches.epoch(0)) {
      signal?.throwIfAborted()
      await lagging.push(batchLoss(model, batch))
    }
    await lagging.end()
  } finally {
    model.train(training)
  }
  return { loss: mean.value, perplexity: Math.exp(mean.value), tokens: mean.weight }
}

async function batchLoss(model: LossModel, batch: Batch): Promise<{ loss: number; tokens: number }> {
  const reading = scope(() => noGrad(() => model.loss(batch)).item())
  return { loss: await reading, tokens: batch.labels.length }
}
