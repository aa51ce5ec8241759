/** Nsight Compute's counters of a row, where a GPU and `ncu` are: one pass of `ncu` over a process that runs the row. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Shares of the peak of each part, time, and how full the multiprocessors were. */
const METRICS = {
  time: 'gpu__time_duration.sum',
  memory: 'dram__throughput.avg.pct_of_peak_sustained_elapsed',
  l2: 'lts__throughput.avg.pct_of_peak_sustained_elapsed',
  l1: 'l1tex__throughput.avg.pct_of_peak_sustained_active',
  matrix: 'sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active',
  issue: 'sm__issue_active.avg.pct_of_peak_sustained_elapsed',
  warps: 'sm__warps_active.avg.pct_of_peak_sustained_active',
} as const
export type Measured = Record<keyof typeof METRICS, number> & { kernel: string; launches: number }

/** One line of CSV, whose cells may be quoted. */
const cells = (line: string) =>
  [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '')

/** `--csv --page raw`: names, units, then a line a launch. Means over a kernel's launches, the longest first; times in µs. */
export function parseNcu(text: string): Measured[] {
  const lines = text.split('\n').filter(line => line.startsWith('"'))
  const names = cells(lines[0] ?? '')
  const units = cells(lines[1] ?? '')
  const at = (metric: string) => names.indexOf(metric)
  const micros =
    { ns: 1e-3, nsecond: 1e-3, us: 1, usecond: 1, ms: 1e3, msecond: 1e3, s: 1e6, second: 1e6 }[units[at(METRICS.time)] ?? ''] ?? 1e-3
  const byKernel = new Map<string, Measured>()
  for (const line of lines.slice(2)) {
    const row = cells(line)
    const kernel = row[at('Kernel Name')] as string
    const sum = byKernel.get(kernel) ?? { kernel, launches: 0, time: 0, memory: 0, l2: 0, l1: 0, matrix: 0, issue: 0, warps: 0 }
    sum.launches++
    for (const [name, metric] of Object.entries(METRICS) as [keyof typeof METRICS, string][]) {
      // A metric that this GPU does not have is NaN, and printed as that.
      const value = at(metric) < 0 ? Number.NaN : Number((row[at(metric)] ?? '').replaceAll(',', ''))
      sum[name] += name === 'time' ? value * micros : value
    }
    byKernel.set(kernel, sum)
  }
  return [...byKernel.values()]
    .sort((a, b) => b.time - a.time)
    .map(sum => ({
      ...sum,
      ...Object.fromEntries(Object.keys(METRICS).map(name => [name, sum[name as keyof typeof METRICS] / sum.launches])),
    }))
}

/** What bounds a kernel that was measured: the part nearest to its peak; none near it means that too little is under way. */
export function measuredBound({ memory, l2, l1, matrix, issue }: Measured): string {
  const parts = Object.entries({
    'memory traffic': memory,
    'L2 traffic': l2,
    'shared memory and L1': l1,
    'matrix instructions': matrix,
    issue,
  })
  const [part, share] = parts.reduce((most, each) => (each[1] > most[1] || Number.isNaN(most[1]) ? each : most))
  const at = `${part} at ${share.toFixed(0)} % of its peak`
  return share >= 60 ? `bound by ${at}` : `bound by latency and occupancy: nothing is near its peak, ${at}`
}

const ROW = fileURLToPath(new URL('./row.ts', import.meta.url))

/** Runs the row under ncu; or why it could not. */
export function profileOnGpu(name: string): { measured: Measured[] } | { refusal: string } {
  if (spawnSync('ncu', ['--version'], { stdio: 'ignore' }).status !== 0) return { refusal: 'there is no ncu here' }
  const options = ['--csv', '--page', 'raw', '--clock-control', 'none', '--metrics', Object.values(METRICS).join(',')]
  const { stdout, stderr, status } = spawnSync('ncu', [...options, process.execPath, '--import', 'tsx', ROW, name], {
    encoding: 'utf8',
    maxBuffer: 2 ** 30,
    timeout: 300_000,
  })
  const measured = status === 0 ? parseNcu(stdout) : []
  if (measured.length > 0) return { measured }
  return { refusal: `ncu failed: ${`${stdout}\n${stderr}`.trimEnd().split('\n').slice(-3).join(' ')}` }
}
