import { expect, test } from 'vitest'
import { Linear } from '../../lib/nn/index.ts'

test('the modules work when nothing else of the package is imported', async () => {
  using linear = new Linear(2, 3)
  expect(linear.weight.device.kind).toMatch(/cpu|cuda/)
  expect((await linear.weight.read()).length).toBe(6)
})
