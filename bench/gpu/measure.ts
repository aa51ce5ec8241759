/** A row's samples of both sides, alternately, in rounds: what the GPU's clock does for a while it does to both. */
import { round, summary } from '../statistics.ts'
import { type Bench, expectSame } from './bench.ts'
import type { ClockWatch } from './clocks.ts'
import type { GpuResult, Timing } from './result.ts'
import type { GpuRow } from './row.ts'
import type { GpuTorch, Prepared } from './torch.ts'

export interface GpuPlan {
  readonly rounds: number
  /** Milliseconds of samples of each side, in all rounds together. */
  readonly time: number
  /** Samples of each side in all rounds, at least and at most. */
  readonly least: number
  readonly most: number
  /** Iterations of each side that are not counted. */
  readonly warmUp: number
}

export const FULL: GpuPlan = { rounds: 5, time: 300, least: 15, most: 60, warmUp: 5 }
export const QUICK: GpuPlan = { rounds: 3, time: 150, least: 9, most: 30, warmUp: 3 }
export const DRY: GpuPlan = { rounds: 1, time: 0, least: 1, most: 1, warmUp: 1 }

type Sample = (count: number) => Promise<number[]>

/** Samples of a round. */
async function calibrate(sample: Sample, plan: GpuPlan): Promise<number> {
  const times = await sample(plan.warmUp)
  // The flush before a sample takes time too.
  const each = Math.max(0.05, times.at(-1) as number) + 0.1
  const samples = Math.min(plan.most, Math.max(plan.least, plan.time / each))
  return Math.ceil(samples / plan.rounds)
}

function timing(milliseconds: readonly number[]): Timing {
  const { median, spread } = summary(milliseconds)
  const µs = (ms: number) => round(1000 * ms)
  // Time may stand still on the clock of a dry run.
  return {
    median: Math.max(µs(median), 0.001),
    spread: round(spread || 0),
    best: µs(Math.min(...milliseconds)),
    samples: milliseconds.length,
  }
}

export interface Surroundings {
  readonly bench: Bench
  /** undefined: ours alone. */
  readonly torch: GpuTorch | undefined
  readonly plan: GpuPlan
  readonly clocks: ClockWatch | undefined
  /** Whether torch.compile is tried. */
  readonly compile: boolean
}

/** Throws what our side throws. What PyTorch's side throws is a note of the result, but for different answers. */
export async function measure(family: string, row: GpuRow, { bench, torch, plan, clocks, compile }: Surroundings): Promise<GpuResult> {
  bench.begin()
  const side = await row.prepare(bench)
  try {
    const answers = bench.compared ? await side.answers?.() : undefined
    let theirs: Prepared | undefined
    let note = torch ? undefined : 'PyTorch was not asked'
    if (torch) {
      try {
        theirs = await torch.prepare(row, side.shared ?? {}, { compared: bench.compared, compile })
      } catch (error) {
        note = (error as Error).message
      }
    }
    if (answers && theirs) expectSame(answers, theirs.answers)
    const mine: Sample = count => bench.sample(side, count)
    const other: Sample = count => (torch as GpuTorch).sample(count)
    const oursCount = await calibrate(mine, plan)
    let theirsCount = 0
    try {
      if (theirs) theirsCount = await calibrate(other, plan)
    } catch (error) {
      note = (error as Error).message
      theirs = undefined
    }
    const start = performance.now()
    const [oursTimes, theirsTimes]: [number[], number[]] = [[], []]
    for (let i = 0; i < plan.rounds; i++) {
      oursTimes.push(...(await mine(oursCount)))
      if (theirs) theirsTimes.push(...(await other(theirsCount)))
    }
    const read = clocks?.between(start, performance.now())
    if (theirs) await torch?.release()
    const ours = timing(oursTimes)
    const pytorch = theirs ? timing(theirsTimes) : null
    return {
      family,
      row: row.name,
      bound: row.bound,
      work: row.work,
      ...(row.plot ? { plot: row.plot } : {}),
      ours,
      theirs: pytorch,
      ratio: pytorch && round(pytorch.median / ours.median),
      way: theirs?.way ?? '',
      ways: theirs?.ways ?? {},
      refused: theirs?.refused ?? {},
      ...(read ? { clocks: read } : {}),
      ...(note === undefined ? {} : { note }),
    }
  } finally {
    side.dispose?.()
    bench.begin()
    await bench.device.synchronize()
    bench.device.trim()
  }
}
