/** What a suite is made of: rows, each with a side of ours and, where PyTorch has the same, the name of its twin in bench/torch. */
import type { Device, FloatDType } from '../lib/index.ts'

export interface Row {
  readonly name: string
  readonly dtype: FloatDType
  readonly unit: 'ms' | 'µs'
  /** Work of one iteration, for the rate that stands beside the time. `unit` is a rate of `amount` per second: GFLOP/s, GB/s, tokens/s. */
  readonly work?: { readonly amount: number; readonly unit: string }
  /** The twin: a function of bench/torch/twins and its arguments. None: ours is measured alone. */
  readonly twin?: { readonly name: string; readonly args: TwinArguments }
  /** Builds inputs and models. */
  prepare(device: Device): Promise<Side>
  /** Throws when the two sides do not do the same work. `answers` is what the twin computed when it was prepared, `ours` what this side did. */
  verify?(ours: Answers, theirs: Answers): void
}

export type TwinArguments = { readonly [key: string]: string | number | boolean | readonly number[] | undefined }
/** Figures that say what was computed: a first loss, the tokens of a translation. */
export type Answers = Readonly<Record<string, readonly number[]>>

export interface Side {
  /** Runs `iterations` of the row and resolves with the time of one, in the row's unit. */
  sample(iterations: number): Promise<number>
  /** What the twin is told beyond the row's arguments, such as a file of weights. */
  readonly shared?: TwinArguments
  readonly answers?: Answers
  dispose(): void
}

/** A suite's file exports `rows`, and `smallRows` where they can be counted on the machine of fibers. */
export interface Suite {
  rows(): Row[]
  smallRows?(): Row[]
}

/** A side that does `body` again and again; the clock stops when the device has finished all of it. */
export function timed(device: Device, body: () => void, rest: Omit<Side, 'sample'>): Side {
  return {
    ...rest,
    async sample(iterations) {
      const start = performance.now()
      for (let i = 0; i < iterations; i++) body()
      await device.synchronize()
      return (performance.now() - start) / iterations
    },
  }
}

/** How the rows of a run were measured. */
export interface Conditions {
  /** Of each side. */
  readonly threads: number
  /** What a time is: the clock's, or the processors' time of the whole process, which beside other programs is a figure for one thread. */
  readonly clock: 'wall' | 'cpu'
  /** Of each side. */
  readonly samples: number
}

/** One row measured. Times are medians; the spread is the distance from the 10th to the 90th percentile over the median. */
export interface Result extends Conditions {
  readonly suite: string
  readonly row: string
  readonly dtype: string
  readonly ours: number
  readonly theirs: number | null
  readonly unit: string
  /** theirs / ours: above 1, ours is faster. */
  readonly ratio: number | null
  readonly oursSpread: number
  readonly theirsSpread: number | null
  /** Processors' time that other programs took meanwhile, as a share of one processor: the median over the samples. */
  readonly others: number
  readonly rate: string
  /** Which of PyTorch's ways was the fastest and stands in `theirs`. */
  readonly way: string
}
