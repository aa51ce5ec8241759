/** What a run writes down. */
import type { Clocks } from './clocks.ts'
import type { GpuRow, Work } from './row.ts'

/** One side of a row. Times in µs. */
export interface Timing {
  readonly median: number
  /** Distance from the 10th to the 90th percentile over the median. */
  readonly spread: number
  readonly best: number
  readonly samples: number
}

export interface GpuResult {
  readonly family: string
  readonly row: string
  readonly bound: GpuRow['bound']
  readonly work: Work
  readonly plot?: GpuRow['plot']
  readonly ours: Timing
  readonly theirs: Timing | null
  /** PyTorch's median over ours: above 1, ours is faster. */
  readonly ratio: number | null
  /** PyTorch's fastest way, which stands in `theirs`; all ways with the µs that they took at first sight; those it refused, and why. */
  readonly way: string
  readonly ways: Readonly<Record<string, number>>
  readonly refused: Readonly<Record<string, string>>
  readonly clocks?: Clocks
  /** Why there is no PyTorch in this row. */
  readonly note?: string
}

/** What the best product and the best copy of the run did, of either side. */
export interface Limits {
  /** FLOP/s. */
  readonly matrix: number
  /** Bytes/s, read and written. */
  readonly copy: number
}

export interface GpuRun {
  /** A rehearsal on another device: its figures mean nothing. */
  readonly dry: boolean
  readonly quick: boolean
  readonly gpu: string
  readonly date: string
  readonly commit: string
  readonly command: string
  readonly ours: string
  /** Versions of PyTorch, CUDA and cuDNN; null: ours was measured alone. */
  readonly torch: { readonly torch: string; readonly cuda: string; readonly cudnn: string } | null
  readonly seconds: number
  readonly limits: Limits
  readonly rows: readonly GpuResult[]
  readonly notMeasured: readonly { readonly family: string; readonly row: string; readonly reason: string }[]
}

/** FLOP/s or bytes/s of one side. */
export function rateOf(result: Pick<GpuResult, 'bound' | 'work'>, timing: Timing): number {
  return ((result.bound === 'matrix' ? result.work.flops : result.work.bytes) as number) / (timing.median / 1e6)
}

/** The best rates among rows that have a claim to be the limit: any product or copy, of either side. */
export function limitsOf(rows: readonly GpuResult[]): Limits {
  const best = (family: readonly string[], bound: GpuRow['bound']) =>
    Math.max(
      0,
      ...rows
        .filter(row => row.bound === bound && family.includes(row.family))
        .flatMap(row => [row.ours, ...(row.theirs ? [row.theirs] : [])].map(timing => rateOf(row, timing))),
    )
  return { matrix: best(['limits', 'products'], 'matrix'), copy: best(['limits'], 'copy') }
}

/** The datasheet's dense bf16 TFLOP/s, for the utilization that training runs are compared by. */
const DATASHEETS: readonly (readonly [name: RegExp, teraflops: number])[] = [
  [/H100 PCIe/, 756],
  [/H100|H200|GH200/, 989],
  [/A100/, 312],
]
export const datasheetOf = (gpu: string): number | undefined => DATASHEETS.find(([name]) => name.test(gpu))?.[1]
