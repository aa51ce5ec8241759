/** The rows of a run as cells, for the terminal and for docs/perf.md. */
import { significant } from '../statistics.ts'
import { datasheetOf, type GpuResult, type GpuRun, rateOf, type Timing } from './result.ts'

export const HEADINGS = [
  'family',
  'row',
  'ours',
  'spread',
  'rate',
  'of limit',
  'PyTorch',
  'spread',
  'of limit',
  'ratio',
  "PyTorch's way",
  'SM MHz',
]

const percent = (share: number) => `${(100 * share).toFixed(0)} %`
const spread = (timing: Timing) => `±${Math.round(50 * timing.spread)} %`
const µs = (timing: Timing) => `${timing.median < 100 ? timing.median.toPrecision(3) : Math.round(timing.median).toLocaleString('en')} µs`

function rate(result: GpuResult, timing: Timing, run: GpuRun): string {
  const value = rateOf(result, timing)
  const main = result.bound === 'matrix' ? `${significant(value / 1e12)} TFLOP/s` : `${significant(value / 1e9)} GB/s`
  if (result.family !== 'models') return main
  const tokens = `${significant((result.work.tokens as number) / (timing.median / 1e6))} tokens/s`
  const datasheet = datasheetOf(run.gpu)
  return `${main}, ${tokens}${result.bound === 'matrix' && datasheet ? `, ${percent(value / (1e12 * datasheet))} of ${datasheet} TFLOP/s` : ''}`
}

export function cells(result: GpuResult, run: GpuRun): string[] {
  const { ours, theirs, ratio } = result
  const share = (timing: Timing) => {
    const limit = run.limits[result.bound]
    return limit > 0 ? percent(rateOf(result, timing) / limit) : ''
  }
  return [
    result.family,
    result.row,
    µs(ours),
    spread(ours),
    rate(result, ours, run),
    share(ours),
    theirs ? µs(theirs) : '',
    theirs ? spread(theirs) : '',
    theirs ? share(theirs) : '',
    ratio === null ? '' : `${ratio.toFixed(2)}×`,
    theirs ? result.way : run.torch ? (result.note ?? '') : '',
    result.clocks ? String(result.clocks.sm) : '',
  ]
}
