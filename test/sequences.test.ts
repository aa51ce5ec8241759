import { expect, it } from 'vitest'
import { ArgumentError } from '../lib/errors.ts'
import { device, scope } from '../lib/index.ts'
import { Sequences } from '../lib/sequences.ts'

const cpu = device('cpu', { threads: 1 })

it('counts', async () => {
  const sequences = Sequences.of([2, 0, 3], cpu)
  expect(sequences).toMatchObject({ lengths: [2, 0, 3], count: 3, total: 5, maxLength: 3 })
  expect(await sequences.offsets.read()).toEqual(Int32Array.of(0, 2, 2, 5))
  sequences.dispose()
  expect(() => Sequences.of([1, -1], cpu)).toThrow(ArgumentError)
})

it('leaves a scope whole, and is freed whole by one', async () => {
  await cpu.synchronize()
  const before = cpu.memory().live
  const kept = scope(() => {
    Sequences.of([5], cpu)
    return { sequences: Sequences.of([1, 2], cpu) }
  })
  expect(await kept.sequences.offsets.read()).toEqual(Int32Array.of(0, 1, 3))
  kept.sequences.dispose()
  await cpu.synchronize()
  expect(cpu.memory().live).toBe(before)
})
