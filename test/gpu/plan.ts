/** Which test files run where: everything that asks test/devices.ts for its devices, spread over processes that share the GPU. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { TestProjectInlineConfiguration } from 'vitest/config'
import type { Options } from './options.ts'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** Has more cases than all the rest. */
const OPS = 'test/ops/ops.gpu.test.ts'
/** Fills the GPU's memory and loses the device: by itself, after the others. */
const ALONE = 'test/gpu/errors.test.ts'
/** What `--quick` takes beside a few cases of each op. */
const QUICK = ['test/capture.test.ts', 'test/optim/clipGradNorm.test.ts', 'test/ops/misaligned.test.ts']

/** Test files that run on the devices that are asked for. */
export function filesOnDevices(): string[] {
  return readdirSync(`${root}test`, { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.test.ts'))
    .map(file => `test/${file}`)
    .filter(file => readFileSync(`${root}${file}`, 'utf8').includes("/devices.ts'"))
    .filter(file => file !== OPS && file !== ALONE && file !== 'test/ops/ops.test.ts' && !file.endsWith('.counters.test.ts'))
    .sort()
}

/** Processes for the ops' cases: the rest is for the other files. */
const partsOf = (workers: number) => Math.max(1, Math.ceil(workers / 2))

export function projects({ device, seed, quick, workers }: Options): TestProjectInlineConfiguration[] {
  const parts = quick ? 1 : partsOf(workers)
  const project = (name: string, include: string[], part: number, group: number): TestProjectInlineConfiguration => ({
    root,
    test: {
      name,
      include,
      pool: 'forks',
      testTimeout: 120_000,
      env: { TILEWISE_TEST_DEVICES: device },
      provide: { ops: { seed, part, parts, quick }, alone: group > 0 },
      maxWorkers: group > 0 ? 1 : workers,
      sequence: { groupOrder: group },
    },
  })
  return [
    ...Array.from({ length: parts }, (_, part) => project(`ops ${part + 1} of ${parts}`, [OPS], part, 0)),
    project('files', quick ? QUICK : filesOnDevices(), 0, 0),
    project('alone', [ALONE], 0, 1),
  ]
}
