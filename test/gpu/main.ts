/**
 * `npm run test:gpu [-- options]`: what must hold on a GPU before anybody believes its kernels. Fresh inputs, poisoned memory, equal bits when
 * repeated, references in float64 by the rule of docs/numerics.md; errors, instructions, memory checkers. docs/kernels.md says how to use it.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createVitest } from 'vitest/node'
import { device, gpuReport } from '../../lib/index.ts'
import { type ModelsRun, models } from './models.ts'
import { type Options, parse, USAGE, UsageError } from './options.ts'
import { projects, root } from './plan.ts'
import { type Findings, GpuReporter } from './reporter.ts'
import { type Sanitized, sanitize } from './sanitize.ts'

const say = (line: string) => console.log(`test:gpu: ${line}`)

/** Ends the process: exit code 2 is a wrong call. */
function options(): Options {
  try {
    const parsed = parse(process.argv.slice(2))
    if (parsed) return parsed
    console.log(USAGE)
    process.exit(0)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    console.error(`test:gpu: ${error.message}\n${USAGE}`)
    process.exit(2)
  }
}

const asked = options()
const start = performance.now()
const { refusal, gpus, driver, runtime } = gpuReport()
const write = (result: object) => asked.json && writeFileSync(asked.json, `${JSON.stringify(result, null, 2)}\n`)

const DRIVER = '/proc/driver/nvidia/version'
/** "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build": with and without "Open" and "for". */
const driverVersion = () => /Module\s+(?:for \S+\s+)?([\d.]+)/.exec(readFileSync(DRIVER, 'utf8'))?.[1] ?? null
/** What the results belong to. */
const conditions = {
  device: asked.device === 'cuda' ? (gpus[0]?.name ?? null) : device('simt').information.name,
  measuredOnGpu: asked.device === 'cuda' && refusal === '',
  capability: asked.device === 'cuda' ? (gpus[0]?.capability ?? null) : null,
  driver: existsSync(DRIVER) ? driverVersion() : null,
  cuda: { driver, runtime },
  date: new Date().toISOString(),
  node: process.version,
  seed: asked.seed,
  quick: asked.quick,
}

if (asked.device === 'cuda' && refusal !== '') {
  say(refusal)
  say('skipped, not run on a GPU')
  write({ ...conditions, skipped: refusal })
  process.exit(0)
}

/** The suite, in processes that share the device. */
async function suite(): Promise<Findings> {
  const reporter = new GpuReporter(say)
  const vitest = await createVitest('test', {
    root,
    config: false,
    watch: false,
    reporters: [reporter],
    projects: projects(asked),
    maxWorkers: asked.workers,
  })
  const timer = setTimeout(() => {
    say(`broken off after ${asked.limit} s`)
    reporter.findings.failures.push({ name: 'the run', message: `not done after ${asked.limit} s` })
    reporter.findings.failed++
    finish(reporter.findings)
  }, 1000 * asked.limit)
  await vitest.start()
  clearTimeout(timer)
  await vitest.close()
  return reporter.findings
}

/** Seconds of cases under each of the checkers. */
const SANITIZED_SECONDS = asked.quick ? 5 : 40

/** Prints and writes what was found, and ends the process: a worker that hangs in a kernel would keep it. */
function finish(findings: Findings, instructions: readonly ModelsRun[] = [], checkers: readonly Sanitized[] = []): never {
  const seconds = (performance.now() - start) / 1000
  for (const { what, state, lines } of instructions) {
    findings[state]++
    if (state === 'failed') findings.failures.push({ name: what, message: lines.join('\n') })
    if (state === 'skipped') findings.skips.push({ name: what, reason: lines[0] as string })
  }
  for (const { tool, state, message } of checkers) {
    findings[state]++
    if (state === 'failed') findings.failures.push({ name: `compute-sanitizer, ${tool}`, message })
    if (state === 'skipped') findings.skips.push({ name: `compute-sanitizer, ${tool}`, reason: message })
  }
  const reasons = new Map<string, number>()
  for (const { reason } of findings.skips) reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  for (const [reason, count] of reasons) say(`skipped ${count}: ${reason}`)
  for (const { op, dtype, share, what } of findings.accuracy.slice(0, 5))
    say(`nearest to its bound: ${op} ${dtype}, ${(100 * share).toFixed(0)} % of what is allowed (${what})`)
  for (const { name, message } of findings.failures) say(`failed: ${name}\n${message}`)
  write({ ...conditions, seconds: Math.round(seconds), ...findings, instructions, checkers })
  const { passed, failed, skipped } = findings
  say(`seed ${asked.seed}, ${conditions.device}: ${passed} passed, ${failed} failed, ${skipped} skipped in ${seconds.toFixed(0)} s`)
  if (!conditions.measuredOnGpu) say('a dry run, not run on a GPU')
  process.exit(failed > 0 || passed === 0 ? 1 : 0)
}

say(`${conditions.device}, ${asked.workers} processes, seed ${asked.seed}`)
const findings = await suite()
const instructions = await models(asked.device, asked.seed, say)
finish(findings, instructions, asked.sanitize ? await sanitize(asked.device, SANITIZED_SECONDS, say) : [])
