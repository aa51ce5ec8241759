/** What can be profiled: the rows of the benchmark, and the cases of the tests. */
import { readdirSync } from 'node:fs'
import type { KernelCounters } from '../../lib/device.ts'
import { type Device, scope } from '../../lib/index.ts'
import { programs } from '../../test/mutation/programs.ts'
import { Bench } from '../gpu/bench.ts'
import { families } from '../gpu/families.ts'
import type { GpuRow } from '../gpu/row.ts'
import type { Row, Suite } from '../row.ts'

export interface Profiled {
  readonly name: string
  /** Whether the machine of fibers can take it. */
  readonly small: boolean
  /** What differs there. */
  readonly note?: string
  /** Runs it once, with what it needs already there. Resolves with what the device reports of that, where it counts. */
  run(device: Device): Promise<Record<string, KernelCounters>>
}

/** What `body` makes a device count. */
async function counted(device: Device, body: () => Promise<unknown>): Promise<Record<string, KernelCounters>> {
  await device.synchronize()
  device.report() // forgets what came before
  await body()
  await device.synchronize()
  return device.report().kernels ?? {}
}

async function benchRows(): Promise<Profiled[]> {
  const folder = new URL('../suites/', import.meta.url)
  const found: Profiled[] = []
  for (const file of readdirSync(folder)) {
    const suite = (await import(new URL(file, folder).href)) as Suite
    const small = suite.smallRows?.() ?? []
    if (small.length === 0) continue
    const name = (row: Row) => `${file.replace(/\.ts$/, '')} ${row.name} ${row.dtype}`
    const names = new Set(small.map(name))
    const large = suite.rows().filter(row => !names.has(name(row)))
    for (const row of [...small, ...large])
      found.push({
        name: name(row),
        small: names.has(name(row)),
        run: async device => {
          const side = await row.prepare(device)
          try {
            return await counted(device, () => side.sample(1))
          } finally {
            side.dispose()
          }
        },
      })
  }
  return found
}

/** The rows of `npm run bench:gpu`: with their own shapes on a GPU, with those of a rehearsal on the machine of fibers. */
function gpuRows(): Profiled[] {
  return Object.entries(families).flatMap(([family, { rows }]) => {
    const rehearsed = rows(true)
    return rows(false).map((row, i) => ({
      name: `gpu ${family} ${row.name}`,
      small: true,
      note: 'with the small shapes of a rehearsal',
      run: async device => {
        const dry = device.kind !== 'cuda'
        const bench = new Bench(device, dry, false)
        bench.begin()
        const side = await (dry ? (rehearsed[i] as GpuRow) : row).prepare(bench)
        try {
          return await counted(device, async () => scope(() => side.iterate(body => body())))
        } finally {
          side.dispose?.()
          bench.dispose()
        }
      },
    }))
  })
}

export async function profiledRows(): Promise<Profiled[]> {
  const cases = (await programs()).map(({ name, run }) => ({
    name,
    small: true,
    run: (device: Device) => counted(device, () => run(device)),
  }))
  return [...(await benchRows()), ...gpuRows(), ...cases]
}

/** The one row that a pattern means: the row of exactly that name, else the only one that matches. */
export function pick(names: readonly string[], pattern: string): { name: string } | { refusal: string } {
  if (names.includes(pattern)) return { name: pattern }
  let wanted: RegExp
  try {
    wanted = new RegExp(pattern, 'i')
  } catch (error) {
    return { refusal: `ROW must be a name or a regular expression: ${(error as Error).message}` }
  }
  const matching = names.filter(name => wanted.test(name))
  if (matching.length === 1) return { name: matching[0] as string }
  if (matching.length === 0) return { refusal: `no row matches '${pattern}'` }
  const shown = matching.slice(0, 30)
  const more = matching.length - shown.length
  return { refusal: [`${matching.length} rows match '${pattern}':`, ...shown, ...(more > 0 ? [`… and ${more} more`] : [])].join('\n  ') }
}
