/**
 * A process that runs programs for main.ts: a mutant may hang or crash, and then only this process is lost.
 * Messages in: `{ survey: program }` or `{ mutant: site, program }`. Out: `{ sites }` or `{ difference }`.
 */
import { device } from '../../lib/index.ts'
import type { Device } from '../ops/surface.ts'
import { type Program, programs } from './programs.ts'

const all = new Map<string, Program>((await programs()).map(program => [program.name, program]))
const schedules = ['in-order', 'warp-greedy', 'warp-greedy-reversed'] as const
const expected = new Map<string, Record<string, Float64Array>>()

function same(a: Record<string, Float64Array>, b: Record<string, Float64Array>): boolean {
  return Object.keys(a).every(name => {
    const [x, y] = [a[name] as Float64Array, b[name] as Float64Array]
    return x.length === y.length && x.every((value, i) => Object.is(value, y[i]))
  })
}

const attempt = async (program: Program, on: Device) => {
  try {
    return await program.run(on)
  } catch (error) {
    return error as Error
  }
}

/** The synchronizations that a program executes; none where it does not even run on the kernels as they are. */
async function survey(name: string): Promise<{ sites: string[] }> {
  const on = device('simt', { sites: true })
  if ((await attempt(all.get(name) as Program, on)) instanceof Error) return { sites: [] }
  return { sites: Object.keys(on.report().sites ?? {}) }
}

/** What tells the mutant from the kernel as it is, in this program. */
async function difference(site: string, name: string): Promise<string | undefined> {
  const program = all.get(name) as Program
  let right = expected.get(name)
  if (right === undefined) {
    right = await program.run(device('simt'))
    expected.set(name, right)
  }
  for (const schedule of schedules) {
    const result = await attempt(program, device('simt', { schedule, suppressed: site }))
    if (result instanceof Error) return `${schedule}: ${result.message}`
    if (!same(right, result)) return `${schedule}: other bits`
  }
  return undefined
}

process.on('message', async (message: { survey: string } | { mutant: string; program: string }) => {
  if ('survey' in message) process.send?.(await survey(message.survey))
  else process.send?.({ difference: await difference(message.mutant, message.program) })
})
process.send?.({ ready: [...all.keys()] })
