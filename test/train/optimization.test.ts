import { expect, it } from 'vitest'
import { device, tensor } from '../../lib/index.ts'
import { Adam, AdamW } from '../../lib/optim/index.ts'
import { makeOptimizer, makeSchedule, type ScheduleName } from '../../lib/train/optimization.ts'

it.each(['noam', 'cosine', 'linear', 'constant'] as const)('%s rises to the rate at the end of the warm-up, and never above', name => {
  const rate = makeSchedule(name, { lr: 0.01, warmup: 20, steps: 100 })
  expect(rate(1)).toBeCloseTo(0.0005, 12)
  expect(rate(20)).toBeCloseTo(0.01, 12)
  const after = Array.from({ length: 100 }, (_, i) => rate(i + 1))
  expect(Math.max(...after)).toBeCloseTo(0.01, 12)
  const ends: Record<ScheduleName, number> = { noam: 0.01 * Math.sqrt(0.2), cosine: 0, linear: 0, constant: 0.01 }
  expect(rate(100)).toBeCloseTo(ends[name], 12)
})

it.each(['noam', 'cosine', 'linear', 'constant'] as const)('%s does without a warm-up, and with one longer than training', name => {
  expect(makeSchedule(name, { lr: 1, warmup: 0, steps: 10 })(1)).toBeGreaterThan(0.89)
  expect(makeSchedule(name, { lr: 1, warmup: 50, steps: 10 })(10)).toBeCloseTo(0.2, 12)
})

it('refuses unknown names', () => {
  expect(() => makeSchedule('step' as 'noam', { lr: 1, warmup: 1, steps: 1 })).toThrow("is 'step'")
  expect(() => makeOptimizer('sgd' as 'adam', [])).toThrow("is 'sgd'")
})

it('decays matrices only', () => {
  const options = { device: device('cpu'), requiresGrad: true } as const
  const parameters = [tensor([[1, 2]], options), tensor([1, 2], options), tensor([[3]], options)]
  const optimizer = makeOptimizer('adamw', parameters)
  expect(optimizer).toBeInstanceOf(AdamW)
  expect(optimizer.stateDict().param_groups).toMatchObject([
    { weight_decay: 0.01, params: [0, 1], betas: [0.9, 0.98], eps: 1e-9 },
    { weight_decay: 0, params: [2] },
  ])
  const adam = makeOptimizer('adam', [parameters[1]!])
  expect(adam).toBeInstanceOf(Adam)
  expect(adam.stateDict().param_groups).toMatchObject([{ weight_decay: 0, params: [0] }])
})
