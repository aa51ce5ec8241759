import { describe, expect, it } from 'vitest'
import { ArgumentError, ones, type Tensor, tensor } from '../../lib/index.ts'
import { clipGradNorm } from '../../lib/optim/index.ts'
import { testDevices } from '../devices.ts'
import { loadFixture } from '../fixtures/fixture.ts'

const fixture = loadFixture('optimizers')
const clips = fixture.cases.filter(test => test.kind === 'clip') as unknown as {
  name: string
  options: { maxNorm: number }
  gradientCount: number
  totalNorm: number
}[]

for (const { name: deviceName, device } of testDevices) {
  const parameterWith = (values: ArrayLike<number>, shape: readonly number[] = [values.length]): Tensor => {
    const parameter = ones(shape, { device }).requireGrad()
    parameter.grad = tensor(Float32Array.from(values), shape, { device })
    return parameter
  }
  const gradients = (parameters: Tensor[]) => Promise.all(parameters.map(async ({ grad }) => Array.from((await grad?.read()) ?? [])))

  describe(`clipGradNorm on ${deviceName}`, () => {
    it('takes many gradients of all sizes', async () => {
      const sizes = Array.from({ length: 250 }, (_, i) => (i === 130 ? 8195 : i === 249 ? 16385 : i % 7))
      const value = (i: number, k: number) => Math.fround(Math.sin(i + 3 * k))
      const parameters = sizes.map((size, i) => parameterWith(Float32Array.from({ length: size }, (_, k) => value(i, k))))
      let squares = 0
      for (const [i, size] of sizes.entries()) for (let k = 0; k < size; k++) squares += value(i, k) ** 2
      const norm = await clipGradNorm(parameters, 1).item()
      expect(Math.abs(norm - Math.sqrt(squares))).toBeLessThanOrEqual(1e-7 * norm)
      for (const [i, actual] of (await gradients(parameters)).entries())
        for (const [k, clipped] of actual.entries())
          expect(Math.abs(clipped - value(i, k) / (norm + 1e-6))).toBeLessThanOrEqual(1e-6 * Math.abs(clipped))
    })

    it.each(clips)('$name', async ({ name, options, gradientCount, totalNorm }) => {
      const parameters = Array.from({ length: gradientCount }, (_, i) => {
        const { data, shape } = fixture.tensor(name, `gradient${i}`)
        return parameterWith(data, shape)
      })
      const norm = await clipGradNorm(parameters, options.maxNorm).item()
      expect(Math.abs(norm - totalNorm)).toBeLessThanOrEqual(1e-7 * totalNorm)
      for (const [i, actual] of (await gradients(parameters)).entries()) {
        const { data } = fixture.tensor(name, `clipped${i}`)
        for (const [k, value] of data.entries()) expect(Math.abs((actual[k] as number) - value)).toBeLessThanOrEqual(1e-6 * Math.abs(value))
      }
    })

    it('holds over large tensors, whose squares leave f32', async () => {
      const parameters = [parameterWith(new Float32Array(50_000).fill(2e20)), parameterWith([1])]
      const norm = await clipGradNorm(parameters, 1).item()
      expect(Math.abs(norm / (2e20 * Math.sqrt(50_000)) - 1)).toBeLessThan(1e-6)
      expect((await gradients(parameters))[0]?.[49_999]).toBeCloseTo(1 / Math.sqrt(50_000), 8)
      const small = await clipGradNorm([parameterWith([3e-30, 4e-30])], 1).item()
      expect(Math.abs(small / 5e-30 - 1)).toBeLessThan(1e-6)
    })

    it('computes the norm alone for Infinity', async () => {
      const parameters = [parameterWith([3, 4]), ones([2], { device }), parameterWith([], [0])]
      expect(await clipGradNorm(parameters, Number.POSITIVE_INFINITY).item()).toBe(5)
      expect(await gradients(parameters)).toEqual([[3, 4], [], []])
    })

    it('lets NaN and infinity show', async () => {
      const sick = [parameterWith([1, 2]), parameterWith([Number.NaN])]
      expect(await clipGradNorm(sick, 1).item()).toBeNaN()
      expect(await gradients(sick)).toEqual([[Number.NaN, Number.NaN], [Number.NaN]])
      const infinite = [parameterWith([1, Number.POSITIVE_INFINITY])]
      expect(await clipGradNorm(infinite, 1).item()).toBe(Number.POSITIVE_INFINITY)
      expect(await gradients(infinite)).toEqual([[0, Number.NaN]])
    })

    it('is 0 without gradients, and zeroes for maxNorm 0', async () => {
      expect(await clipGradNorm([ones([2], { device })], 1).item()).toBe(0)
      const parameters = [parameterWith([3, 4])]
      await clipGradNorm(parameters, 0).item()
      expect(await gradients(parameters)).toEqual([[0, 0]])
    })
  })
}

describe('clipGradNorm', () => {
  it('refuses bad arguments', () => {
    const device = testDevices[0]!.device
    for (const maxNorm of [-1, Number.NaN])
      expect(() => clipGradNorm([ones([1], { device })], maxNorm)).toThrow(`[clipGradNorm] maxNorm must not be negative, is ${maxNorm}`)
    expect(() => clipGradNorm([], 1)).toThrow(ArgumentError)
  })
})
