import { describe, expect, it } from 'vitest'
import { ArgumentError, dropout, normal, ones, rand, randn, seed, type Tensor, truncatedNormal, uniform } from '../../lib/index.ts'
import { truncatedQuantile } from '../../lib/ops/quantile.ts'
import { PhiloxStream } from '../../lib/random.ts'
import { testDevices } from '../devices.ts'
import { erf } from '../reference/erf.ts'

const count = 200_000
const normalCdf = (z: number) => 0.5 * (1 + erf(z / Math.SQRT2))
const cutCdf = (z: number) => (normalCdf(z) - normalCdf(-2)) / (normalCdf(2) - normalCdf(-2))

/** The largest distance between the sample's distribution and `cdf` (Kolmogorov–Smirnov), times √n: above 1.95 once in a thousand samples. */
function kolmogorov(sample: Float32Array, cdf: (x: number) => number): number {
  const sorted = Float32Array.from(sample).sort()
  let distance = 0
  for (const [i, x] of sorted.entries()) {
    const expected = cdf(x)
    distance = Math.max(distance, Math.abs(i / sorted.length - expected), Math.abs((i + 1) / sorted.length - expected))
  }
  return distance * Math.sqrt(sorted.length)
}

function moments(sample: Float32Array) {
  const mean = sample.reduce((sum, x) => sum + x, 0) / sample.length
  const variance = sample.reduce((sum, x) => sum + (x - mean) ** 2, 0) / sample.length
  return { mean, variance, least: sample.reduce((a, b) => Math.min(a, b)), most: sample.reduce((a, b) => Math.max(a, b)) }
}

/** The correlation of each element with the one `lag` later. */
function correlation(sample: Float32Array, lag: number): number {
  const { mean, variance } = moments(sample)
  let sum = 0
  for (let i = 0; i + lag < sample.length; i++) sum += ((sample[i] as number) - mean) * ((sample[i + lag] as number) - mean)
  return sum / (sample.length - lag) / variance
}

for (const { name, device } of testDevices) {
  describe(`random numbers on ${name}`, () => {
    it('are uniform', async () => {
      seed(1)
      const sample = await rand([count], { device }).read()
      const { mean, variance, least, most } = moments(sample)
      expect(Math.abs(mean - 0.5)).toBeLessThan(4 * Math.sqrt(1 / 12 / count))
      expect(Math.abs(variance - 1 / 12)).toBeLessThan(0.001)
      expect(least).toBeGreaterThanOrEqual(0)
      expect(most).toBeLessThan(1)
      expect(kolmogorov(sample, x => x)).toBeLessThan(1.95)
      for (const lag of [1, 2, 4]) expect(Math.abs(correlation(sample, lag))).toBeLessThan(4 / Math.sqrt(count))
    })

    it('are the words of lib/random.ts', async () => {
      seed(12345)
      await rand([3], { device }).read()
      const sample = await rand([1001], { device }).read()
      const stream = new PhiloxStream(12345, 1)
      expect(sample).toEqual(Float32Array.from({ length: 1001 }, () => stream.uniform()))
    })

    it('are normal', async () => {
      seed(2)
      const sample = await normal([count], { mean: 3, std: 2, device }).read()
      const { mean, variance } = moments(sample)
      expect(Math.abs(mean - 3)).toBeLessThan((4 * 2) / Math.sqrt(count))
      expect(Math.abs(variance - 4)).toBeLessThan(4 * 4 * Math.sqrt(2 / count))
      expect(kolmogorov(sample, x => normalCdf((x - 3) / 2))).toBeLessThan(1.95)
      // Both halves of a pair, and the pair's independence.
      const halves = [0, 1].map(half => sample.filter((_, i) => i % 2 === half)) as [Float32Array, Float32Array]
      for (const half of halves) expect(kolmogorov(half, x => normalCdf((x - 3) / 2))).toBeLessThan(1.95)
      for (const lag of [1, 2, 3]) expect(Math.abs(correlation(sample, lag))).toBeLessThan(4 / Math.sqrt(count))
    })

    it('are normal within two deviations', async () => {
      seed(3)
      const sample = await truncatedNormal([count], { mean: -1, std: 0.5, device }).read()
      const { mean, variance, least, most } = moments(sample)
      expect(least).toBeGreaterThanOrEqual(-2)
      expect(most).toBeLessThanOrEqual(0)
      expect(Math.abs(mean + 1)).toBeLessThan((4 * 0.5) / Math.sqrt(count))
      expect(Math.sqrt(variance)).toBeCloseTo(0.5 * 0.8796, 2)
      expect(kolmogorov(sample, x => cutCdf((x + 1) / 0.5))).toBeLessThan(1.95)
    })

    it('keep the fraction that dropout asks for, and scale it', async () => {
      seed(4)
      for (const p of [0.1, 0.5, 0.9]) {
        const y = await dropout(ones([count], { device }), p).read()
        const kept = y.filter(value => value !== 0)
        expect(Math.abs(kept.length / count - (1 - p))).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / count))
        expect(new Set(kept)).toEqual(new Set([Math.fround(1 / (1 - Math.fround(p)))]))
      }
    })

    it('drop what is not finite too', async () => {
      seed(4)
      const x = ones([1000], { device }).mul(Number.POSITIVE_INFINITY)
      const y = await dropout(x, 0.5).read()
      expect(new Set(y)).toEqual(new Set([0, Number.POSITIVE_INFINITY]))
    })
  })
}

describe('random draws', () => {
  const first = testDevices[0]?.device

  it('are the same for the same seed, and differ from one draw to the next', async () => {
    const draws = async (value: number) => {
      seed(value)
      return [await randn([64], { device: first! }).read(), await randn([64], { device: first! }).read()]
    }
    const [a, b] = [await draws(5), await draws(5)]
    expect(a).toEqual(b)
    expect(a[0]).not.toEqual(a[1])
    expect(await draws(6)).not.toEqual(a)
  })

  it('give equal masks and nearly equal values on every instruction set', async () => {
    const on = async (make: (device: (typeof testDevices)[0]['device']) => Tensor) =>
      Promise.all(
        testDevices.map(({ device }) => {
          seed(8)
          return make(device).read()
        }),
      )
    const masks = await on(device => dropout(ones([4099], { device }), 0.3))
    const uniforms = await on(device => rand([4099], { device }))
    for (const results of [masks, uniforms]) for (const result of results) expect(result).toEqual(results[0])
    const [reference, ...others] = await on(device => normal([4099], { device }))
    for (const other of others)
      for (const [i, value] of other.entries()) expect(Math.abs(value - (reference?.[i] as number))).toBeLessThan(2e-6)
  })

  it('refuse bad arguments', () => {
    const device = first!
    expect(() => uniform([2], { low: 1, high: 0, device })).toThrow(new ArgumentError('[uniform] high must be at least low (1), is 0'))
    expect(() => uniform([2], { low: Number.NaN, device })).toThrow('[uniform] low must be finite, is NaN')
    expect(() => normal([2], { std: -1, device })).toThrow('[normal] std must not be negative, is -1')
    expect(() => truncatedNormal([2], { mean: Number.POSITIVE_INFINITY, device })).toThrow('[truncatedNormal] mean must be finite')
    expect(() => rand([-1], { device })).toThrow('shape must hold integers')
    for (const p of [-0.1, 1.1, Number.NaN])
      expect(() => dropout(ones([2], { device }), p)).toThrow(`[dropout] p must be from 0 to 1, is ${p}`)
  })

  it('leave x alone where dropout has nothing to do', () => {
    const x = ones([2], { device: first! })
    expect(dropout(x, 0)).toBe(x)
    expect(dropout(x, 0.5, { training: false })).toBe(x)
  })
})

describe('truncatedQuantile', () => {
  it('inverts the distribution', () => {
    for (const u of [0, 1e-7, 0.01, 0.25, 0.5, 0.9, 1 - 2 ** -24]) expect(cutCdf(truncatedQuantile(u))).toBeCloseTo(u, 12)
  })
})
