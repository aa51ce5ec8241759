import type { Reporter, TestModule } from 'vitest/node'

/** Ends the run with plain lines: `devices left out: cuda: …`, if any, and `tests: 931 passed, 0 failed, 2 skipped`. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const missing: string[] = []
    const count = { passed: 0, failed: 0, skipped: 0, pending: 0 }
    for (const module of modules) {
      const tests = [...module.children.allTests()]
      if (module.moduleId.endsWith('/test/devices.test.ts'))
        for (const test of tests) if (test.result().state === 'skipped') missing.push(test.name)
      for (const test of tests) count[test.result().state]++
      // A file that fails to load has no tests, but it has failed.
      if (tests.length === 0 && module.state() === 'failed') count.failed++
    }
    if (missing.length > 0) console.log(`\ndevices left out: ${missing.join('; ')}`)
    console.log(`\ntests: ${count.passed} passed, ${count.failed} failed, ${count.skipped + count.pending} skipped`)
  }
}
