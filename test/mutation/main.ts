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
/** A mutant's engines are never given back, so a worker ends after this many programs. */
const QUESTIONS_PER_WORKER = 200

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
/** Why the machine cannot notice this one. */
const explanation = ({ site, text }: Mutant) =>
  equivalent.find(entry => site.startsWith(`${entry.file}:`) && text.includes(entry.text))?.reason
// A sample is for what can be noticed: a known survivor takes every program there is.
if (sample !== undefined)
  mutants = draw(
    mutants.filter(mutant => explanation(mutant) === undefined),
    sample,
  )

let { worker, names } = await Worker.start()

/** Programs that are known to run a place, and those that have not been asked yet. */
const covering = new Map<string, string[]>()
const unasked = names

/** The programs that run a place: first those already known, then one after another of the rest; those of the file's own op come first. */
async function* programsOf(site: string): AsyncGenerator<string> {
  for (let i = 0; ; i++) {
    const known = covering.get(site) ?? []
    if (i < known.length) {
      yield known[i] as string
      continue
    }
    const stem = (/\/(\w+)\.cuh/.exec(site)?.[1] ?? '').replaceAll('_', '').toLowerCase()
    const own = unasked.findIndex(name => stem !== '' && (name.split(' ')[0] as string).toLowerCase().includes(stem))
    const [name] = unasked.splice(Math.max(0, own), 1)
    if (name === undefined) return
    const { sites } = await worker.ask<{ sites: string[] }>({ survey: name })
    for (const seen of sites) covering.set(seen, [...(covering.get(seen) ?? []), name])
    i--
  }
}

async function newWorker(): Promise<void> {
  worker.stop()
  worker = (await Worker.start()).worker
}

const survivors: { mutant: Mutant; explained: string | undefined }[] = []
let killed = 0
for (const mutant of mutants) {
  if (worker.served >= QUESTIONS_PER_WORKER) await newWorker()
  let killer: string | undefined
  let tried = 0
  for await (const program of programsOf(mutant.site)) {
    tried++
    try {
      const { difference } = await worker.ask<{ difference?: string }>({ mutant: mutant.site, program })
      if (difference !== undefined) killer = `${program}, ${difference}`
    } catch (error) {
      killer = `${program}: ${(error as Error).message}`
      await newWorker()
    }
    if (killer !== undefined) break
  }
  if (killer !== undefined) {
    killed++
    console.log(`killed    ${mutant.site}  ${mutant.what}  (${killer.slice(0, 160)})`)
    continue
  }
  const why = tried === 0 ? 'no program runs it' : `${tried} programs do not notice`
  const explained = explanation(mutant)
  survivors.push({ mutant, explained })
  console.log(`SURVIVED  ${mutant.site}  ${mutant.what}  ${mutant.text}  (${explained ? `explained: ${explained}` : why})`)
}
worker.stop()

const unexplained = survivors.filter(({ explained }) => explained === undefined)
if (unexplained.length > 0) console.log(`\n${unexplained.length} survivors without a reason in test/mutation/equivalent.ts`)
console.log(`mutation: killed=${killed} survived=${survivors.length}`)
process.exitCode = unexplained.length > 0 ? 1 : 0
