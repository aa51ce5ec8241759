/** `--device simt`: what the kernels of a row do to memory, counted by the machine of fibers. Nothing is timed. */

import type { KernelCounters } from '../lib/device.ts'
import { type Device, device } from '../lib/index.ts'
import type { Row } from './row.ts'

export interface Counted extends KernelCounters {
  readonly suite: string
  readonly row: string
  readonly dtype: string
  readonly kernel: string
}

const counting = (): Device => device('simt', { counters: true })

/** One iteration of the row. What preparing it does is not counted. */
export async function count(suite: string, row: Row): Promise<Counted[]> {
  const machine = counting()
  const side = await row.prepare(machine)
  try {
    await machine.synchronize()
    machine.report()
    await side.sample(1)
    const kernels = Object.entries(machine.report().kernels ?? {})
    return kernels.map(([kernel, counters]) => ({ suite, row: row.name, dtype: row.dtype, kernel, ...counters }))
  } finally {
    side.dispose()
  }
}

const HEADINGS = ['row', 'dtype', 'kernel', 'launches', 'read', 'sectors', 'written', 'sectors', 'conflicts', 'mma'] as const

/** Sectors over the fewest that could carry the bytes: 1.00 is fully coalesced. Lanes that read the same bytes bring it below 1. */
const overIdeal = (sectors: number, bytes: number) => (bytes === 0 ? '' : (sectors / Math.ceil(bytes / 32)).toFixed(2))
const size = (bytes: number) => (bytes === 0 ? '' : bytes < 1e5 ? `${bytes} B` : `${(bytes / 1024).toFixed(0)} KiB`)

export function countTable(results: readonly Counted[]): string {
  const lines = results.map((r, i) => {
    const repeats = i > 0 && results[i - 1]?.row === r.row && results[i - 1]?.dtype === r.dtype
    return [
      repeats ? '' : r.row,
      repeats ? '' : r.dtype,
      r.kernel,
      String(r.launches),
      size(r.loadBytes),
      overIdeal(r.loadSectors, r.loadBytes),
      size(r.storeBytes),
      overIdeal(r.storeSectors, r.storeBytes),
      r.sharedIdeal === 0 ? '' : `${((100 * (r.sharedWavefronts - r.sharedIdeal)) / r.sharedIdeal).toFixed(0)} %`,
      r.matrixInstructions === 0 ? '' : String(r.matrixInstructions),
    ]
  })
  const all = [[...HEADINGS], ...lines]
  const widths = HEADINGS.map((_, column) => Math.max(...all.map(line => (line[column] as string).length)))
  const pad = (cell: string, column: number) =>
    column < 3 ? cell.padEnd(widths[column] as number) : cell.padStart(widths[column] as number)
  return all.map(line => line.map(pad).join('  ').trimEnd()).join('\n')
}
