import { describe, expect, it } from 'vitest'
import { ArgumentError, type Device, fill_, full, mul, ones, seed, type Tensor, tensor, uniform } from '../../lib/index.ts'
import { Adam, AdamW, type Optimizer, type OptimizerState, type ParameterState } from '../../lib/optim/index.ts'
import { testDevices } from '../devices.ts'
import { type FixtureTensor, loadFixture } from '../fixtures/fixture.ts'
import { toBf16 } from '../reference/float64.ts'

const fixture = loadFixture('optimizers')

interface Trajectory {
  name: string
  kind: string
  algorithm: 'AdamW' | 'Adam'
  options: { lr: number; betas: [number, number]; eps: number; weightDecay: number }
  shapes: number[][]
  steps: number
  kept: number[]
  gradientScale: number
  decayed: number[]
  learningRates?: number[]
}
const trajectories = fixture.cases.filter(test => test.kind === 'trajectory') as unknown as Trajectory[]

const largest = (values: ArrayLike<number>) => Array.from(values).reduce((most, x) => Math.max(most, Math.abs(x)), 0)
/** Within `tolerance` of the largest value of the tensor. */
function expectClose(what: string, actual: ArrayLike<number>, expected: FixtureTensor, tolerance: number) {
  expect(actual.length, what).toBe(expected.data.length)
  const scale = Math.max(largest(expected.data), 1e-30)
  for (const [i, value] of expected.data.entries())
    expect(Math.abs((actual[i] as number) - value) / scale, `${what}[${i}]: ${actual[i]}, expected ${value}`).toBeLessThanOrEqual(tolerance)
}

function setGradient(parameter: Tensor, values: ArrayLike<number>): void {
  parameter.grad?.dispose()
  parameter.grad = tensor(Float32Array.from(values), parameter.shape, { device: parameter.device })
}
const gradientOf = (test: Trajectory, p: number, s: number, size: number) =>
  Float32Array.from({ length: size }, (_, i) => test.gradientScale * Math.cos(s + 10 * p + i))

for (const { name: deviceName, device } of testDevices) {
  describe(`against PyTorch on ${deviceName}`, () => {
    it.each(trajectories)('$name', async test => {
      const parameters = test.shapes.map((shape, p) =>
        tensor(fixture.tensor(test.name, `parameter${p}/step0`).data, shape, { device }).requireGrad(),
      )
      const inGroup = (decayed: boolean) => parameters.filter((_, p) => test.decayed.includes(p) === decayed)
      const groups = [{ parameters: inGroup(true) }, { parameters: inGroup(false), weightDecay: 0 }].filter(
        group => group.parameters.length > 0,
      )
      const optimizer = new (test.algorithm === 'AdamW' ? AdamW : Adam)(groups, test.options)
      for (let s = 1; s <= test.steps; s++) {
        for (const [p, parameter] of parameters.entries()) setGradient(parameter, gradientOf(test, p, s, parameter.size))
        if (test.learningRates) optimizer.lr = test.learningRates[s - 1] as number
        optimizer.step()
        if (!test.kept.includes(s)) continue
        for (const [p, parameter] of parameters.entries())
          expectClose(`parameter ${p} after step ${s}`, await parameter.read(), fixture.tensor(test.name, `parameter${p}/step${s}`), 2e-6)
      }
      const order = [...inGroup(true), ...inGroup(false)]
      const { state } = optimizer.stateDict()
      for (const [p, parameter] of parameters.entries()) {
        const known = state[order.indexOf(parameter)] as ParameterState
        expect(await known.step.read()).toEqual(Float32Array.of(test.steps))
        for (const moment of ['exp_avg', 'exp_avg_sq'] as const)
          expectClose(`${moment} ${p}`, await known[moment].read(), fixture.tensor(test.name, `parameter${p}/${moment}`), 2e-6)
        expect(await parameter.grad?.read()).toEqual(new Float32Array(parameter.size))
      }
      optimizer.dispose()
    })
  })
}

const device = testDevices[0]?.device as Device

/** Parameters of odd and large sizes, with gradients that depend on the parameters themselves. */
function model(dtype: 'f32' | 'bf16' = 'f32') {
  seed(1)
  const parameters: Tensor[] = [[3, 5], [40_000], [1]].map(shape => uniform(shape, { low: -1, high: 1, device, dtype }).requireGrad())
  const backward = () => {
    for (const parameter of parameters) mul(parameter, parameter).sum().backward()
  }
  return { parameters, backward }
}
const values = (parameters: readonly Tensor[]) => Promise.all(parameters.map(parameter => parameter.readRaw()))
/** A state of its own, as one from a file is. */
function copied({ state, param_groups }: OptimizerState): OptimizerState {
  const copies: OptimizerState['state'] = {}
  for (const [index, { step, exp_avg, exp_avg_sq, master }] of Object.entries(state))
    copies[Number(index)] = {
      step: step.mul(1),
      exp_avg: exp_avg.mul(1),
      exp_avg_sq: exp_avg_sq.mul(1),
      ...(master && { master: master.mul(1) }),
    }
  return { state: copies, param_groups: structuredClone(param_groups) }
}
/** All tensors of a state, by name. */
async function stateValues({ state }: OptimizerState): Promise<Record<string, unknown>> {
  const read: Record<string, unknown> = {}
  for (const [index, tensors] of Object.entries(state))
    for (const [name, t] of Object.entries(tensors)) read[`${index}.${name}`] = await (t as Tensor).read()
  return read
}

describe('optimizers', () => {
  it.each(['f32', 'bf16'] as const)('resume with the same bits, %s', async dtype => {
    const whole = model(dtype)
    const optimizer = new AdamW(whole.parameters, { lr: 0.01 })
    const run = (steps: number, { backward }: ReturnType<typeof model>, with_: Optimizer) => {
      for (let s = 0; s < steps; s++) {
        backward()
        with_.step()
      }
    }
    run(3, whole, optimizer)
    const saved = copied(optimizer.stateDict())
    const resumed = model(dtype)
    for (const [i, parameter] of whole.parameters.entries())
      resumed.parameters[i] = tensor((await parameter.read()) as Float32Array, parameter.shape, { device, dtype }).requireGrad()
    const other = new AdamW(resumed.parameters, { lr: 1, betas: [0.5, 0.5], eps: 1, weightDecay: 1 })
    other.loadStateDict(saved)
    expect(other.lr).toBe(0.01)
    run(4, whole, optimizer)
    run(4, resumed, other)
    expect(await values(resumed.parameters)).toEqual(await values(whole.parameters))
    const [a, b] = [optimizer.stateDict(), other.stateDict()]
    expect(b.param_groups).toEqual(a.param_groups)
    expect(await stateValues(b)).toEqual(await stateValues(a))
  })

  it('keep f32 masters of bf16 parameters, so that small steps add up', async () => {
    const run = async (masterWeights: boolean) => {
      const parameter = full([100], 1, { device, dtype: 'bf16' }).requireGrad()
      const optimizer = new AdamW([parameter], { lr: 1e-4, weightDecay: 0, masterWeights })
      for (let s = 0; s < 100; s++) {
        setGradient(parameter, new Float32Array(100).fill(1))
        optimizer.step()
      }
      return { value: (await parameter.read())[7] as number, state: optimizer.stateDict().state[0] }
    }
    const kept = await run(true)
    expect(kept.value).toBe(toBf16((await kept.state?.master?.read())?.[7] as number))
    expect(Math.abs(kept.value - 0.99)).toBeLessThan(0.004)
    const lost = await run(false)
    expect(lost.value).toBe(1) // each step of 1e-4 rounds away
    expect(lost.state?.master).toBeUndefined()
  })

  it('mix precisions in one call', async () => {
    const parameters = [ones([5], { device }), ones([5], { device, dtype: 'bf16' }), ones([5], { device, dtype: 'f16' })]
    const optimizer = new AdamW(
      parameters.map(parameter => parameter.requireGrad()),
      { lr: 0.25, weightDecay: 0 },
    )
    for (const parameter of parameters) setGradient(parameter, [1, -1, 2, -2, 3])
    optimizer.step()
    for (const parameter of parameters) expect(Array.from(await parameter.read())).toEqual([0.75, 1.25, 0.75, 1.25, 0.75])
  })

  it.each(['f32', 'bf16', 'f16'] as const)('step many parameters as each alone, %s', async dtype => {
    // More than one table of a GPU device carries, sizes around its vectors and its pieces.
    const shapes = Array.from({ length: 130 }, (_, i) => [i === 60 ? 8193 : i === 129 ? 16384 : 1 + (i % 9)])
    const numbers = (size: number, phase: number) => Float32Array.from({ length: size }, (_, k) => Math.sin(phase + 3 * k))
    const make = () =>
      shapes.map((shape, i) => {
        const parameter = tensor(numbers(shape[0] as number, i), shape, { device, dtype }).requireGrad()
        setGradient(parameter, numbers(parameter.size, i + 1))
        return parameter
      })
    const [together, alone] = [make(), make()]
    const optimizer = new AdamW(together, { lr: 0.1 })
    optimizer.step()
    for (const parameter of alone) new AdamW([parameter], { lr: 0.1 }).step()
    expect(await values(together)).toEqual(await values(alone))
    expect(await values(together)).not.toEqual(await values(make()))
    for (const { grad } of together) expect((await grad!.read()).every(g => g === 0)).toBe(true)
  })

  it('take masters over from parameters that were written', async () => {
    const parameter = ones([4], { device, dtype: 'bf16' }).requireGrad()
    const optimizer = new AdamW([parameter])
    const { master } = optimizer.stateDict().state[0] as { master: Tensor }
    fill_(parameter, 3)
    optimizer.refreshMasters()
    expect(await master.read()).toEqual(new Float32Array(4).fill(3))
  })

  it('leave parameters without a gradient alone, and count their steps apart', async () => {
    const [a, b] = [ones([2], { device }).requireGrad(), ones([2], { device }).requireGrad()]
    const optimizer = new AdamW([a, b], { lr: 0.1 })
    setGradient(a, [1, 1])
    optimizer.step()
    expect(await b.read()).toEqual(Float32Array.of(1, 1))
    setGradient(b, [1, 1])
    optimizer.step()
    const { state } = optimizer.stateDict()
    expect([await state[0]?.step.item(), await state[1]?.step.item()]).toEqual([2, 1])
    // b's first step is bias-corrected as a first step: lr in size, after the decay.
    expect((await b.read())[0]).toBeCloseTo(1 - 0.1 * 0.01 - 0.1, 6)
  })

  it('follow the rate in a replayed step', async () => {
    const parameter = ones([3], { device }).requireGrad()
    setGradient(parameter, [0, 0, 0])
    const optimizer = new AdamW([parameter], { lr: 0.1, weightDecay: 0, betas: [0, 0], eps: 0 })
    const step = device.capture(() => {
      parameter.mul(2).sum().backward()
      optimizer.step()
    })
    step.replay()
    expect(await parameter.read()).toEqual(new Float32Array(3).fill(1 - Math.fround(0.1)))
    optimizer.lr = 0.5
    step.replay()
    step.replay()
    expect((await parameter.read())[0]).toBeCloseTo(-0.1, 6)
    expect(await optimizer.stateDict().state[0]?.step.item()).toBe(3)
    step.dispose()
  })

  it('let the moments of unused parameters fade to zero, not into subnormal numbers', async () => {
    const parameter = ones([3], { device }).requireGrad()
    const optimizer = new AdamW([parameter], { weightDecay: 0, betas: [0.5, 0.6], eps: 0 })
    setGradient(parameter, [1e-3, 0, 1e3])
    for (let s = 0; s < 300; s++) optimizer.step()
    const state = optimizer.stateDict().state[0]
    expect(Array.from((await state?.exp_avg.read()) ?? [])).toEqual([0, 0, 0])
    expect(Array.from((await state?.exp_avg_sq.read()) ?? [])).toEqual([0, 0, 0])
    const [a, b, c] = await parameter.read()
    expect(b).toBe(1)
    // The sum of the steps depends on the gradient's sign only, as eps is 0.
    expect(a).toBeCloseTo(c as number, 5)
    expect(a).toBeLessThan(1)
  })

  it('zero or free gradients on demand', async () => {
    const parameter = ones([3], { device }).requireGrad()
    const optimizer = new AdamW([parameter])
    parameter.sum().backward()
    optimizer.zeroGrad()
    expect(await parameter.grad?.read()).toEqual(new Float32Array(3))
    optimizer.zeroGrad({ free: true })
    expect(parameter.grad).toBeUndefined()
    optimizer.step()
    expect(await parameter.read()).toEqual(new Float32Array(3).fill(1))
  })

  it('give their memory back', async () => {
    await device.synchronize()
    const before = device.memory().live
    const parameter = ones([1000], { device, dtype: 'bf16' }).requireGrad()
    const optimizer = new AdamW([parameter])
    optimizer.dispose()
    parameter.dispose()
    await device.synchronize()
    expect(device.memory().live).toBe(before)
  })

  it('refuse bad arguments', () => {
    const p = ones([2], { device }).requireGrad()
    const refuses = (message: string, make: () => unknown) => {
      expect(make).toThrow(ArgumentError)
      expect(make).toThrow(message)
    }
    refuses('[AdamW] lr must be a finite number from 0, is -1', () => new AdamW([p], { lr: -1 }))
    refuses('[Adam] lr must be a finite number from 0, is NaN', () => new Adam([p], { lr: Number.NaN }))
    refuses('[AdamW] betas[1] must be from 0 to below 1, is 1', () => new AdamW([p], { betas: [0.9, 1] }))
    refuses('[AdamW] betas[0] must be from 0 to below 1, is -0.1', () => new AdamW([p], { betas: [-0.1, 0] }))
    refuses('[AdamW] eps must be a finite number from 0, is -1e-8', () => new AdamW([p], { eps: -1e-8 }))
    refuses('[AdamW] weightDecay must be a finite number from 0', () => new AdamW([p], { weightDecay: -1 }))
    refuses('[AdamW] groups[1].weightDecay must be', () => new AdamW([{ parameters: [p] }, { parameters: [], weightDecay: -1 }]))
    refuses('[AdamW] parameters must hold at least one tensor', () => new AdamW([]))
    refuses('[AdamW] parameter 1 must be given once', () => new AdamW([p, p]))
    refuses('[AdamW] parameter 0 must be a leaf', () => new AdamW([p.mul(2)]))
    refuses('[AdamW] parameter 0 must have a float dtype, is i32', () => new AdamW([tensor([1], { dtype: 'i32', device })]))
    refuses('[AdamW] parameter 0 must be contiguous', () => new AdamW([ones([2, 3], { device }).transpose()]))
    const optimizer = new AdamW([p])
    refuses('[AdamW] lr must be', () => {
      optimizer.lr = -1
    })
    const state = optimizer.stateDict()
    refuses('param_groups must be 1 groups, is 0', () => optimizer.loadStateDict({ state: {}, param_groups: [] }))
    refuses('state[0].exp_avg must be [2], is [3]', () =>
      optimizer.loadStateDict({ ...state, state: { 0: { ...state.state[0]!, exp_avg: ones([3], { device }) } } }),
    )
    const late = ones([2], { device })
    const lazy = new AdamW([late])
    setGradient(late, [1, 1])
    refuses("[AdamW] a parameter's first step must not be captured", () => device.capture(() => lazy.step()))
  })
})
