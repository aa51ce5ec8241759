/** Samples of both sides of a row, alternately: what slows the machine down for a while slows both. */
import type { Device } from '../lib/index.ts'
import { isQuiet, untilQuiet, Watch } from './load.ts'
import type { Conditions, Result, Row } from './row.ts'
import { median, round, significant, summary } from './statistics.ts'
import type { Torch } from './torch.ts'

export interface Plan extends Conditions {
  /** Milliseconds that a sample should take at least. */
  readonly sampleTime: number
  /** Milliseconds of warm-up of each side. */
  readonly warmUp: number
  /** Samples of each side at most: those that something else on the machine disturbed are taken again. */
  readonly most: number
  /** Milliseconds that a row's samples may wait in all for other programs to end. */
  readonly patience: number
}

export const FULL: Omit<Plan, 'threads' | 'clock'> = { samples: 11, sampleTime: 150, warmUp: 300, most: 22, patience: 30_000 }
export const QUICK: Omit<Plan, 'threads' | 'clock'> = { samples: 3, sampleTime: 40, warmUp: 60, most: 3, patience: 0 }

/** Shares of one core that a side used while the other ran. It should be 0: threads that spin would slow the other side. */
export interface Idle {
  ours: number
  theirs: number
}

const unitMilliseconds = { ms: 1, µs: 1e-3 }

type Sample = (iterations: number) => Promise<number>

/** Warms up, and returns how many iterations fill a sample. */
async function calibrate(sample: Sample, plan: Plan, unit: number): Promise<number> {
  let iterations = 1
  const end = performance.now() + plan.warmUp
  await sample(1)
  for (;;) {
    const each = (await sample(iterations)) * unit
    const wanted = Math.max(1, Math.ceil(plan.sampleTime / Math.max(each, 1e-4)))
    if (performance.now() >= end && wanted <= 2 * iterations) return wanted
    iterations = Math.min(wanted, iterations * 10)
  }
}

const pause = (milliseconds: number) => new Promise(resolve => setTimeout(resolve, milliseconds))

/** Longer than a thread of OpenMP spins before it sleeps: measured, 5 ms for GCC's library on the machine of docs/perf.md. */
const SETTLE = 20

interface Pair {
  readonly ours: number
  readonly theirs: number | undefined
  /** Processors' time of others, as a share of one processor. */
  readonly others: number
}

/** The `plan.samples` least disturbed pairs of up to `plan.most`. */
async function leastDisturbed(take: () => Promise<Pair & { quiet: boolean }>, plan: Plan): Promise<Pair[]> {
  const quiet: Pair[] = []
  const disturbed: Pair[] = []
  let { patience } = plan
  while (quiet.length < plan.samples && quiet.length + disturbed.length < plan.most) {
    patience -= await untilQuiet(patience)
    const pair = await take()
    ;(pair.quiet ? quiet : disturbed).push(pair)
  }
  disturbed.sort((a, b) => a.others - b.others)
  return [...quiet, ...disturbed].slice(0, plan.samples)
}

/** Measures a row. Without `torch`, or where the row has no twin, ours alone. `idle` keeps the highest shares seen. */
export async function measure(suite: string, row: Row, device: Device, torch: Torch | undefined, plan: Plan, idle: Idle): Promise<Result> {
  const unit = unitMilliseconds[row.unit]
  const side = await row.prepare(device)
  try {
    let way = ''
    const oursCount = await calibrate(iterations => side.sample(iterations), plan, unit)
    const takeOurs = async () => {
      await pause(SETTLE)
      const watch = new Watch()
      const value = await side.sample(oursCount)
      const load = watch.end()
      return { value: plan.clock === 'cpu' ? (load.cpu * 1000) / unit / oursCount : value, ...load }
    }
    let takeTheirs: typeof takeOurs | undefined
    if (torch && row.twin) {
      await pause(SETTLE)
      const prepared = await torch.prepare(row.twin.name, { ...row.twin.args, dtype: row.dtype, ...side.shared })
      way = prepared.way
      row.verify?.(side.answers ?? {}, prepared.answers)
      const theirsSample: Sample = async iterations => (await torch.run(iterations)).seconds * (1000 / unit)
      const theirsCount = await calibrate(theirsSample, plan, unit)
      takeTheirs = async () => {
        await pause(SETTLE)
        const before = process.cpuUsage()
        const watch = new Watch()
        const { seconds, cpu, idleShare } = await torch.run(theirsCount)
        const used = process.cpuUsage(before)
        const load = watch.end(cpu)
        // Short samples hold too few ticks of the clock to say anything.
        if (load.wall >= 0.03) {
          idle.ours = Math.max(idle.ours, (used.user + used.system) / 1e6 / load.wall)
          idle.theirs = Math.max(idle.theirs, idleShare)
        }
        return { value: (plan.clock === 'cpu' ? cpu / theirsCount : seconds) * (1000 / unit), ...load }
      }
    }
    const pairs = await leastDisturbed(async () => {
      const mine = await takeOurs()
      const other = await takeTheirs?.()
      const others = (mine.others + (other?.others ?? 0)) / (mine.wall + (other?.wall ?? 0))
      return {
        ours: mine.value,
        theirs: other?.value,
        others,
        quiet: plan.clock === 'cpu' || (isQuiet(mine) && (other === undefined || isQuiet(other))),
      }
    }, plan)
    if (takeTheirs) await torch?.release()
    const ours = pairs.map(pair => pair.ours)
    const theirs = pairs.flatMap(pair => pair.theirs ?? [])
    const others = median(pairs.map(pair => pair.others))
    const mine = summary(ours)
    const other = theirs.length > 0 ? summary(theirs) : undefined
    const rate = row.work ? `${significant(row.work.amount / ((mine.median * unit) / 1000))} ${row.work.unit}` : ''
    return {
      suite,
      row: row.name,
      dtype: row.dtype,
      ours: round(mine.median),
      theirs: other ? round(other.median) : null,
      unit: row.unit,
      ratio: other ? round(other.median / mine.median) : null,
      oursSpread: round(mine.spread),
      theirsSpread: other ? round(other.spread) : null,
      others: round(others),
      threads: plan.threads,
      clock: plan.clock,
      samples: plan.samples,
      rate,
      way,
    }
  } finally {
    side.dispose()
    await device.synchronize()
    device.trim()
  }
}
