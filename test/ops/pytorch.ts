/** Compares with PyTorch's fixtures. */
import { expect } from 'vitest'
import type { Tensor } from '../../lib/index.ts'
import type { Fixture, FixtureCase } from '../fixtures/fixture.ts'

/**
 * f32 may be off by `factor` times the error of PyTorch's own f32 (2 forward, 3 backward), plus a few units in the last place of the largest number:
 * the fixtures' yardstick is one computation's luck. `floor` is allowed besides.
 */
export async function expectClose(actual: Tensor | undefined, fixture: Fixture, test: FixtureCase, name: string, floor = 0): Promise<void> {
  if (actual === undefined) throw new Error(`${test.name}: ${name} was not computed`)
  const { data, shape } = fixture.tensor(test.name, name)
  expect(actual.shape, `shape of ${name}`).toEqual(shape)
  const values = await actual.read()
  let largest = 0
  let error = 0
  for (const [i, exact] of data.entries()) {
    if (values[i] === exact) continue
    largest = Math.max(largest, Math.abs(exact))
    const difference = Math.abs((values[i] as number) - exact)
    error = Math.max(error, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference)
  }
  const allowed = (name === 'output' ? 2 : 3) * (test.float32Error?.[name] ?? 0) + 4 * 2 ** -23 * largest + floor
  expect(error, `${test.name}: error of ${name} is ${error}, allowed ${allowed}`).toBeLessThanOrEqual(allowed)
}
