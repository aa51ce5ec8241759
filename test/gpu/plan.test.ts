import { expect, it } from 'vitest'
import { parse } from './options.ts'
import { filesOnDevices, projects } from './plan.ts'

it('takes every file that runs on the devices it is given, but for the ops and for what needs the GPU alone', () => {
  const files = filesOnDevices()
  for (const file of ['capture', 'nn/training', 'nn/transformer', 'optim/adam', 'ops/attention', 'ops/random', 'devices'])
    expect(files).toContain(`test/${file}.test.ts`)
  for (const file of ['ops/ops', 'ops/ops.gpu', 'gpu/errors', 'ops/norm.counters', 'scope'])
    expect(files).not.toContain(`test/${file}.test.ts`)
})

it('spreads the cases over half of the processes, and lets the errors wait for all others', () => {
  const tests = projects({ ...parse(['--seed', '9', '--workers', '16'])! }).map(({ test }) => test!)
  expect(tests.map(({ name }) => name)).toEqual([...Array.from({ length: 8 }, (_, i) => `ops ${i + 1} of 8`), 'files', 'alone'])
  expect(tests.map(({ provide }) => provide?.ops?.part)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 0, 0])
  for (const { provide } of tests) expect(provide?.ops).toMatchObject({ seed: 9, parts: 8, quick: false })
  expect(tests.map(({ sequence }) => sequence?.groupOrder)).toEqual([...Array(9).fill(0), 1])
  expect(tests.at(-1)).toMatchObject({ maxWorkers: 1, provide: { alone: true }, include: ['test/gpu/errors.test.ts'] })
  expect(projects({ ...parse(['--quick'])! })).toHaveLength(3)
})
