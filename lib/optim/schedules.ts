/**
 * Learning rates by step, as pure functions. `step` is the number of the optimizer step that the rate is for, counted from 1 (0 gives where
 * the warm-up starts from); fractions are fine. `lr` is the peak.
 */
import { ArgumentError } from '../errors.ts'

export type RateSchedule = (step: number) => number

function expectAtLeast(schedule: string, name: string, value: number, least: number): void {
  if (!(Number.isFinite(value) && value >= least))
    throw new ArgumentError(`[${schedule}] ${name} must be a number from ${least}, is ${value}`)
}

/** From 0 to 1 over the warm-up, undefined after it. */
const warmingUp = (step: number, warmup: number) => (step < warmup ? step / warmup : undefined)

export interface NoamOptions {
  dModel: number
  /** Steps until the peak, 1 / √(dModel · warmup) · factor. Default 4000. */
  warmup?: number
  /** Default 1. */
  factor?: number
}

/** factor · dModel^-0.5 · min(step^-0.5, step · warmup^-1.5): Vaswani et al., "Attention Is All You Need", 2017, section 5.3. */
export function noam({ dModel, warmup = 4000, factor = 1 }: NoamOptions): RateSchedule {
  expectAtLeast('noam', 'dModel', dModel, 1)
  expectAtLeast('noam', 'warmup', warmup, 1)
  expectAtLeast('noam', 'factor', factor, 0)
  return step => (step <= 0 ? 0 : factor * dModel ** -0.5 * Math.min(step ** -0.5, step * warmup ** -1.5))
}

export interface ConstantOptions {
  /** The peak. Default 1, which makes the schedule a factor. */
  lr?: number
  /** Steps over which the rate rises linearly from 0. Default 0. */
  warmup?: number
}

export interface DecayOptions extends ConstantOptions {
  /** The step at which the decay has reached the minimum, where the rate stays. */
  total: number
  /** What the decay ends at, as a fraction of `lr`. Default 0. */
  minimum?: number
}

function decaying(
  name: string,
  { lr = 1, warmup = 0, total, minimum = 0 }: DecayOptions,
  shape: (progress: number) => number,
): RateSchedule {
  expectAtLeast(name, 'lr', lr, 0)
  expectAtLeast(name, 'warmup', warmup, 0)
  expectAtLeast(name, 'total', total, warmup)
  if (!(minimum >= 0 && minimum <= 1)) throw new ArgumentError(`[${name}] minimum must be from 0 to 1, a fraction of lr, is ${minimum}`)
  return step => {
    const progress = total === warmup ? 1 : Math.min(1, (step - warmup) / (total - warmup))
    return lr * (warmingUp(step, warmup) ?? minimum + (1 - minimum) * shape(progress))
  }
}

/** Warm-up, then half a cosine from `lr` down to `minimum` · lr at step `total` (Loshchilov and Hutter, "SGDR", 2017, without restarts). */
export const cosine = (options: DecayOptions): RateSchedule =>
  decaying('cosine', options, progress => (1 + Math.cos(Math.PI * progress)) / 2)

/** Warm-up, then a line from `lr` down to `minimum` · lr at step `total`. */
export const linear = (options: DecayOptions): RateSchedule => decaying('linear', options, progress => 1 - progress)

/** Warm-up, then `lr` for ever. */
export function constant({ lr = 1, warmup = 0 }: ConstantOptions = {}): RateSchedule {
  expectAtLeast('constant', 'lr', lr, 0)
  expectAtLeast('constant', 'warmup', warmup, 0)
  return step => lr * (warmingUp(step, warmup) ?? 1)
}

/** Warm-up to `lr`, then lr · √(warmup / step): noam with the peak as parameter. `warmup` is at least 1. */
export function inverseSqrt({ lr = 1, warmup }: { lr?: number; warmup: number }): RateSchedule {
  expectAtLeast('inverseSqrt', 'lr', lr, 0)
  expectAtLeast('inverseSqrt', 'warmup', warmup, 1)
  return step => lr * (warmingUp(step, warmup) ?? Math.sqrt(warmup / step))
}

/** Sets an optimizer's rate step by step: call `advance()` before each `optimizer.step()`. */
export class Schedule {
  #step: number

  /** @param step The steps already taken, where a run goes on. */
  constructor(
    readonly optimizer: { lr: number },
    readonly rate: RateSchedule,
    { step = 0 }: { step?: number } = {},
  ) {
    if (!Number.isSafeInteger(step) || step < 0) throw new ArgumentError(`[Schedule] step must be a non-negative integer, is ${step}`)
    this.#step = step
  }

  /** The steps taken so far. */
  get step(): number {
    return this.#step
  }

  /** Counts one step and sets its rate, which it returns. */
  advance(): number {
    const rate = this.rate(++this.#step)
    this.optimizer.lr = rate
    return rate
  }
}
