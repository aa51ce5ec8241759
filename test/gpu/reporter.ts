/** Collects what the tests of a run said, and prints a line now and then. */
import type { SerializedError } from 'vitest'
import type { Reporter, TestCase, TestModule } from 'vitest/node'
import type { Accuracy } from '../ops/opsSuite.ts'

export interface Findings {
  passed: number
  failed: number
  skipped: number
  failures: { name: string; message: string }[]
  skips: { name: string; reason: string }[]
  /** By op and dtype, the output or gradient that came nearest to what is allowed. */
  accuracy: (Accuracy & { share: number })[]
}

const PROGRESS_EVERY = 5_000

/** Tests say why they are skipped in their names: "(skipped: reason)", or with nothing but the reason. */
function reasonOf(test: TestCase): string {
  const result = test.result()
  const note = result.state === 'skipped' ? result.note : undefined
  return note ?? /\(skipped: (.*)\)$/.exec(test.name)?.[1] ?? test.name
}

export class GpuReporter implements Reporter {
  readonly findings: Findings = { passed: 0, failed: 0, skipped: 0, failures: [], skips: [], accuracy: [] }
  readonly #nearest = new Map<string, Accuracy & { share: number }>()
  readonly #say: (line: string) => void
  readonly #start = performance.now()
  #said = this.#start

  constructor(say: (line: string) => void) {
    this.#say = say
  }

  onTestCaseResult(test: TestCase): void {
    const { findings } = this
    const result = test.result()
    const name = `${test.module.relativeModuleId}: ${test.fullName}`
    if (result.state === 'passed') findings.passed++
    else if (result.state === 'failed') this.#fail(name, result.errors[0]?.message ?? 'no message')
    else {
      findings.skipped++
      findings.skips.push({ name, reason: reasonOf(test) })
    }
    const { accuracy } = test.meta()
    if (accuracy) {
      const share = accuracy.error === 0 ? 0 : accuracy.error / accuracy.allowed
      const key = `${accuracy.op} ${accuracy.dtype}`
      if (share >= (this.#nearest.get(key)?.share ?? 0)) this.#nearest.set(key, { ...accuracy, share })
    }
    const now = performance.now()
    if (now - this.#said < PROGRESS_EVERY) return
    this.#said = now
    this.#say(`${((now - this.#start) / 1000).toFixed(0)} s: ${findings.passed} passed, ${findings.failed} failed, now ${test.fullName}`)
  }

  onTestModuleEnd(module: TestModule): void {
    // A file that cannot be loaded has no tests, but it has failed; so has one whose hooks fail.
    for (const error of module.errors()) this.#fail(module.relativeModuleId, error.message)
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    // What the worker could not tell any more: its process was killed, or the run was broken off.
    for (const module of modules)
      for (const test of module.children.allTests())
        if (test.result().state === 'pending') this.#fail(`${module.relativeModuleId}: ${test.fullName}`, 'did not finish')
    for (const error of errors) this.#fail('outside of a test', error.message)
    this.findings.accuracy = [...this.#nearest.values()].sort((a, b) => b.share - a.share)
  }

  #fail(name: string, message: string): void {
    this.findings.failed++
    this.findings.failures.push({ name, message })
    this.#say(`failed: ${name}: ${message.split('\n')[0]}`)
  }
}
