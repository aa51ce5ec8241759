/**
 * `npm run test:mutation [-- --sample N --seed S] [--only PATTERN]`
 *
 * Leaves out each barrier, fence, wait and commit of native/cuda in turn, and requires that the cases notice: on the machine of fibers, in one of
 * three thread orders, the results must change or the machine must object. The survivors must stand in equivalent.ts with a reason. The last line
 * is `mutation: killed=<n> survived=<n>`.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { parseArgs } from 'node:util'
import { PhiloxStream } from '../../lib/random.ts'
import { equivalent } from './equivalent.ts'
import { type Mutant, mutantsOf } from './mutants.ts'

const { values } = parseArgs({
  options: { sample: { type: 'string' }, seed: { type: 'string', default: '1' }, only: { type: 'string' } },
})
const sample = values.sample === undefined ? undefined : Number(values.sample)
const seed = Number.parseInt(values.seed, 16)
if (sample !== undefined && !(Number.isSafeInteger(sample) && sample > 0))
  throw new Error(`--sample must be a positive integer, is ${values.sample}`)
if (!Number.isSafeInteger(seed)) throw new Error(`--seed must be a hexadecimal number, such as the start of a commit, is ${values.seed}`)

/** A mutant that has not answered by then hangs, which is noticed as well. */
const TIMEOUT = 120_000
/** Engines are never given back, so a worker ends after this many mutants. */
const MUTANTS_PER_WORKER = 25

class Worker {
  readonly #process: ChildProcess
  served = 0

  private constructor(child: ChildProcess) {
    this.#process = child
  }
  static async start(): Promise<{ worker: Worker; names: string[] }> {
    const worker = new Worker(fork(new URL('worker.ts', import.meta.url), { execArgv: ['--import', 'tsx'] }))
    const { ready } = (await worker.#answer()) as { ready: string[] }
    return { worker, names: ready }
  }
  async #answer(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => settle(() => reject(new Error(`no answer in ${TIMEOUT / 1000} s`))), TIMEOUT)
      const onMessage = (message: unknown) => settle(() => resolve(message))
      const onExit = (code: number | null, signal: string | null) =>
        settle(() => reject(new Error(`the process ended: ${signal ?? `code ${code}`}`)))
      const settle = (finish: () => void) => {
        clearTimeout(timer)
        this.#process.off('message', onMessage).off('exit', onExit)
        finish()
      }
      this.#process.on('message', onMessage).on('exit', onExit)
    })
  }
  async ask<T>(message: object): Promise<T> {
    this.served++
    this.#process.send(message)
    return (await this.#answer()) as T
  }
  stop(): void {
    this.#process.kill('SIGKILL')
  }
}

/** `count` of `items`, drawn by the seed, in their own order. */
function draw<T>(items: readonly T[], count: number): T[] {
  const stream = new PhiloxStream(seed, 0)
  const keyed = items.map((item, at) => ({ item, at, key: stream.uniform() }))
  const chosen = keyed.sort((a, b) => a.key - b.key).slice(0, count)
  return chosen.sort((a, b) => a.at - b.at).map(({ item }) => item)
}

const folder = new URL('../../native/cuda/', import.meta.url)
let mutants = mutantsOf(folder)
const only = values.only
if (only !== undefined) mutants = mutants.filter(({ site }) => new RegExp(only).test(site))
if (sample !== undefined) mutants = draw(mutants, sample)

let { worker, names } = await Worker.start()
const covering = new Map<string, { name: string; milliseconds: number }[]>()
const wanted = new Set(mutants.map(({ site }) => site))
process.stderr.write(`${mutants.length} mutants; which of ${names.length} programs run them?\n`)
for (const [i, name] of names.entries()) {
  if (process.stderr.isTTY) process.stderr.write(`\r${i + 1} of ${names.length}`)
  const { sites, milliseconds } = await worker.ask<{ sites: string[]; milliseconds: number }>({ survey: name })
  for (const site of sites) if (wanted.has(site)) covering.set(site, [...(covering.get(site) ?? []), { name, milliseconds }])
}
process.stderr.write('\n')

const survivors: { mutant: Mutant; why: string; explained: string | undefined }[] = []
let killed = 0
for (const mutant of mutants) {
  const programs = (covering.get(mutant.site) ?? []).sort((a, b) => a.milliseconds - b.milliseconds).map(({ name }) => name)
  let killer: string | undefined
  if (programs.length > 0) {
    if (worker.served >= MUTANTS_PER_WORKER) {
      worker.stop()
      worker = (await Worker.start()).worker
    }
    try {
      killer = (await worker.ask<{ killer?: string }>({ mutant: mutant.site, programs })).killer
    } catch (error) {
      killer = (error as Error).message
      worker.stop()
      worker = (await Worker.start()).worker
    }
  }
  if (killer !== undefined) {
    killed++
    console.log(`killed    ${mutant.site}  ${mutant.what}  (${killer.slice(0, 160)})`)
    continue
  }
  const why = programs.length === 0 ? 'no program runs it' : `${programs.length} programs do not notice`
  const explained = equivalent.find(({ file, text }) => mutant.site.startsWith(`${file}:`) && mutant.text.includes(text))?.reason
  survivors.push({ mutant, why, explained })
  console.log(`SURVIVED  ${mutant.site}  ${mutant.what}  ${mutant.text}  (${explained ? `explained: ${explained}` : why})`)
}
worker.stop()

const unexplained = survivors.filter(({ explained }) => explained === undefined)
if (unexplained.length > 0) console.log(`\n${unexplained.length} survivors without a reason in test/mutation/equivalent.ts`)
console.log(`mutation: killed=${killed} survived=${survivors.length}`)
process.exit(unexplained.length > 0 ? 1 : 0)
