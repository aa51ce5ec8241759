/** The state of random draws on devices: a seed, and a counter that every random op advances. See lib/random.ts for the numbers themselves. */
import { ArgumentError } from './errors.ts'

let currentSeed = 0
let nextCounter = 0

/** Seeds every draw that follows, on all devices: the same seed and the same calls give the same numbers everywhere. */
export function seed(value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new ArgumentError(`seed must be an integer from 0 to 2^53 - 1, is ${value}`)
  currentSeed = value
  nextCounter = 0
}

/** Seed and counter for one random op; each call gets a counter of its own. */
export function draw(): { seed: number; counter: number } {
  return { seed: currentSeed, counter: nextCounter++ }
}

const nothingDrawn = { seed: 0, counter: 0 }

/** Seed and counter of an op that drops with probability `p`; without dropout nothing is drawn. */
export function drawForDropout(p: number): { seed: number; counter: number } {
  return p > 0 ? draw() : nothingDrawn
}

/** What a checkpoint keeps, so that a resumed run draws what the uninterrupted one would have. */
export function generatorState(): { seed: number; counter: number } {
  return { seed: currentSeed, counter: nextCounter }
}

export function restoreGenerator(state: { seed: number; counter: number }): void {
  currentSeed = state.seed
  nextCounter = state.counter
}
