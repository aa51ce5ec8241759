import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { constant, cosine, inverseSqrt, linear, noam, type RateSchedule, Schedule } from '../../lib/optim/index.ts'
import { loadFixture } from '../fixtures/fixture.ts'

const cases = loadFixture('optimizers').table.schedules as {
  name: string
  schedule: 'noam' | 'cosine'
  options: Record<string, number>
  steps: number[]
  learningRates: number[]
}[]

describe('schedules', () => {
  it.each(cases)('$name as the fixture', ({ schedule, options, steps, learningRates }) => {
    const { dModel, warmupSteps = 0, factor, lr, totalSteps, minFactor } = options as { [name: string]: number } & { dModel: number }
    const rate =
      schedule === 'noam'
        ? noam({ dModel, warmup: warmupSteps, factor: factor as number })
        : cosine({ lr: lr as number, warmup: warmupSteps, total: totalSteps as number, minimum: minFactor as number })
    for (const [i, step] of steps.entries()) {
      const expected = learningRates[i] as number
      expect(Math.abs(rate(step) - expected), `step ${step}`).toBeLessThanOrEqual(1e-12 * Math.max(1e-4, expected))
    }
  })

  it('linear rises and falls in lines', () => {
    const rate = linear({ lr: 2, warmup: 10, total: 30, minimum: 0.1 })
    expect([0, 5, 10, 20, 30, 1000].map(rate)).toEqual([0, 1, 2, 1.1, 0.2, 0.2])
  })

  it('constant stays', () => {
    expect([0, 1, 2, 4, 5000].map(constant({ lr: 3, warmup: 4 }))).toEqual([0, 0.75, 1.5, 3, 3])
    expect([0, 1, 9].map(constant())).toEqual([1, 1, 1])
  })

  it('inverseSqrt is noam by its peak', () => {
    const a = inverseSqrt({ lr: 1 / Math.sqrt(512 * 4000), warmup: 4000 })
    const b = noam({ dModel: 512, warmup: 4000 })
    for (const step of [0, 1, 100, 3999, 4000, 4001, 100_000]) expect(a(step)).toBeCloseTo(b(step), 12)
  })

  it('rise over the warm-up, never rise after it, and stay within 0 and the peak', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 1, max: 2000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (warmup, rest, minimum) => {
          const total = warmup + rest
          const rates: RateSchedule[] = [
            cosine({ warmup, total, minimum }),
            linear({ warmup, total, minimum }),
            constant({ warmup }),
            inverseSqrt({ warmup }),
          ]
          for (const rate of rates) {
            expect(rate(warmup)).toBeCloseTo(1, 12)
            for (let step = 1; step <= total + 10; step++) {
              const change = rate(step) - rate(step - 1)
              if (step <= warmup ? change <= 0 : change > 1e-12) expect.fail(`changes by ${change} at step ${step}`)
              if (rate(step) < 0 || rate(step) > 1 + 1e-12) expect.fail(`is ${rate(step)} at step ${step}`)
            }
          }
        },
      ),
      { numRuns: 30 },
    )
  })

  it('refuse bad options', () => {
    expect(() => noam({ dModel: 0 })).toThrow('[noam] dModel must be a number from 1, is 0')
    expect(() => noam({ dModel: 512, warmup: 0 })).toThrow('[noam] warmup must be a number from 1, is 0')
    expect(() => cosine({ warmup: 10, total: 5 })).toThrow('[cosine] total must be a number from 10, is 5')
    expect(() => linear({ total: Number.NaN })).toThrow('[linear] total must be a number from 0, is NaN')
    expect(() => cosine({ total: 5, minimum: 2 })).toThrow('[cosine] minimum must be from 0 to 1')
    expect(() => constant({ lr: -1 })).toThrow('[constant] lr must be a number from 0, is -1')
    expect(() => inverseSqrt({ warmup: 0 })).toThrow('[inverseSqrt] warmup must be a number from 1, is 0')
  })
})

describe('Schedule', () => {
  it('counts from 1, and goes on where a run stopped', () => {
    const rate = constant({ lr: 1, warmup: 4 })
    const optimizer = { lr: 0 }
    const schedule = new Schedule(optimizer, rate)
    expect([schedule.advance(), schedule.advance()]).toEqual([0.25, 0.5])
    expect(optimizer.lr).toBe(0.5)
    expect(new Schedule(optimizer, rate, { step: schedule.step }).advance()).toBe(0.75)
    expect(() => new Schedule(optimizer, rate, { step: -1 })).toThrow('[Schedule] step must be a non-negative integer, is -1')
  })
})
