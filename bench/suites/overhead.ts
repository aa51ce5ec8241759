/** What JavaScript spends to record one op: the part that runs on the thread of the user's server. Goal: at most 1 µs at the median. */

import { device, noGrad, scope, type Tensor, zeros } from '../../lib/index.ts'
import { binary } from '../../lib/ops/binary.ts'

const OPS = 64
const REPEATS = 2000

/** Microseconds an op, median and 90th percentile over batches of OPS calls; batches are measured whole because the clock costs too. */
function measure(record: () => Tensor): { median: number; p90: number } {
  const times: number[] = []
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    scope(() => {
      const start = process.hrtime.bigint()
      for (let i = 0; i < OPS; i++) record()
      times.push(Number(process.hrtime.bigint() - start) / OPS / 1000)
    })
  }
  const settled = times.slice(REPEATS / 4).sort((a, b) => a - b)
  return { median: settled[settled.length >> 1] as number, p90: settled[Math.floor(settled.length * 0.9)] as number }
}

export async function run(): Promise<void> {
  const cpu = device('cpu')
  const [a, b] = [zeros([4, 8], { device: cpu }), zeros([4, 8], { device: cpu })]
  const trained = zeros([4, 8], { device: cpu, requiresGrad: true })
  const rows: [string, () => Tensor][] = [
    ['binary (3 tensors), no gradient', () => noGrad(() => binary('add', a, b))],
    ['binary (3 tensors), recorded on the tape', () => binary('add', a, trained)],
  ]
  for (const [name, record] of rows) {
    const { median, p90 } = measure(record)
    console.log(`overhead  ${name.padEnd(44)} ${median.toFixed(2)} µs median, ${p90.toFixed(2)} µs p90`)
  }
  await cpu.synchronize()
}
