/**
 * A process that runs programs for main.ts: a mutant may hang or crash, and then only this process is lost.
 * Messages in: `{ survey: program }` or `{ mutant: site, programs }`. Out: `{ sites, milliseconds }` or `{ killer }`.
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

/** The synchronizations that a program executes, and how long it takes. */
async function survey(name: string) {
  const on = device('simt', { sites: true })
  const start = performance.now()
  await attempt(all.get(name) as Program, on)
  const milliseconds = performance.now() - start
  return { sites: Object.keys(on.report().sites ?? {}), milliseconds }
}

/** The first program that tells the mutant from the kernel as it is. */
async function killer(site: string, names: readonly string[]): Promise<string | undefined> {
  for (const name of names) {
    const program = all.get(name) as Program
    let right = expected.get(name)
    if (right === undefined) {
      right = await program.run(device('simt'))
      expected.set(name, right)
    }
    for (const schedule of schedules) {
      const result = await attempt(program, device('simt', { schedule, suppressed: site }))
      if (result instanceof Error) return `${name}, ${schedule}: ${result.message}`
      if (!same(right, result)) return `${name}, ${schedule}: other bits`
    }
  }
  return undefined
}

process.on('message', async (message: { survey: string } | { mutant: string; programs: string[] }) => {
  if ('survey' in message) process.send?.(await survey(message.survey))
  else process.send?.({ killer: await killer(message.mutant, message.programs) })
})
process.send?.({ ready: [...all.keys()] })
