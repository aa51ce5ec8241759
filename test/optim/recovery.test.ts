/** Out of memory in a training step: told, nothing half done, and the model as it was before. */
import { describe, expect, it } from 'vitest'
import { Batches } from '../../lib/data/batches.ts'
import { type Device, device, OutOfMemoryError, scope, seed, type Tensor, tensor } from '../../lib/index.ts'
import { FeedForward, Transformer } from '../../lib/nn/index.ts'
import { add, concat, matmul, normal, ones, zeros } from '../../lib/ops/index.ts'
import { AdamW, clipGradNorm } from '../../lib/optim/index.ts'
import { train } from '../../lib/train/trainer.ts'

const WIDTH = 32
const SMALL = 8
const BAD = 4096

/** Two blocks, matrices and vectors in groups of their own, as `makeOptimizer` has them. */
function setUp(on: Device) {
  seed(11)
  const blocks = [0, 1].map(
    () => new FeedForward({ dModel: WIDTH, dFeedForward: 4 * WIDTH, activation: 'gelu', dropout: 0 }, { device: on }),
  )
  const parameters = blocks.flatMap(block => block.parameters())
  const optimizer = new AdamW(
    [
      { parameters: parameters.filter(each => each.rank === 2), weightDecay: 0.1 },
      { parameters: parameters.filter(each => each.rank === 1), weightDecay: 0 },
    ],
    { lr: 1e-2 },
  )
  const forward = (rows: number, phase: number): Tensor => {
    const x = tensor(
      Float32Array.from({ length: rows * WIDTH }, (_, i) => Math.sin(i + phase)),
      [rows, WIDTH],
      { device: on },
    )
    const y = blocks.reduce((input, block) => block.forward(input), x as Tensor)
    return y.mul(y).mean()
  }
  /** One step as in the README; `clip` makes the gradients depend on each other. */
  const step = (rows: number, phase: number, { clip = false } = {}): Promise<number> =>
    scope(() => {
      const loss = forward(rows, phase)
      loss.backward()
      if (clip) clipGradNorm(parameters, 1)
      optimizer.step()
      return loss.item()
    })
  const values = () =>
    Promise.all([...parameters, ...optimizer.stateDict().param_groups.flatMap(stateTensors(optimizer))].map(p => p.read()))
  const dispose = () => {
    optimizer.dispose()
    for (const block of blocks) block.dispose()
  }
  return { blocks, parameters, optimizer, forward, step, values, dispose }
}

const stateTensors = (optimizer: AdamW) => (group: { params: number[] }) =>
  group.params.flatMap(index => Object.values(optimizer.stateDict().state[index]!) as Tensor[])

const outcome = (promise: Promise<unknown>) => promise.catch((error: unknown) => error)

/** Bytes that a bad step needs at its peak: for its forward pass alone, and with the backward pass. */
async function demand() {
  const on = device('cpu', { memoryLimit: 2 ** 30 })
  const { forward, dispose } = setUp(on)
  const peak = async (body: (loss: Tensor) => void) => {
    await on.synchronize()
    on.trim()
    on.resetPeak()
    await scope(async () => {
      body(forward(BAD, 0))
      await on.synchronize()
    })
    return on.memory().peak
  }
  const forwardPeak = await peak(() => {})
  const backwardPeak = await peak(loss => loss.backward())
  dispose()
  return { forwardPeak, backwardPeak }
}

const { forwardPeak, backwardPeak } = await demand()

describe('a step that runs out of memory', () => {
  it('needs more for backward than for forward in these tests', () => {
    expect(backwardPeak).toBeGreaterThan(forwardPeak * 1.05)
  })

  for (const clip of [false, true]) {
    const how = clip ? 'with clipping' : 'without clipping'
    it(`in backward: the next loss rejects, zeroGrad gives the batch up, and the rest is as if it had never been; ${how}`, async () => {
      const phases = [1, 2, 3, 4]
      const healthy = setUp(device('cpu'))
      const expectedLosses: number[] = []
      for (const phase of phases) expectedLosses.push(await healthy.step(SMALL, phase, { clip }))

      for (const before of [0, 2]) {
        const on = device('cpu', { memoryLimit: Math.round((forwardPeak + backwardPeak) / 2) })
        const own = setUp(on)
        const losses: number[] = []
        for (const phase of phases.slice(0, before)) losses.push(await own.step(SMALL, phase, { clip }))
        expect(await own.step(BAD, 9, { clip })).toBeGreaterThan(0) // the forward pass fits
        const told = await outcome(own.step(SMALL, 9, { clip }))
        expect(told).toBeInstanceOf(OutOfMemoryError)
        // And again, until somebody acts: no step is lost in silence.
        expect(await outcome(own.step(SMALL, 9, { clip }))).toBeInstanceOf(OutOfMemoryError)
        expect(await outcome(own.parameters[0]!.read())).toBeInstanceOf(OutOfMemoryError)
        own.optimizer.zeroGrad()
        for (const phase of phases.slice(before)) losses.push(await own.step(SMALL, phase, { clip }))
        expect(losses).toEqual(expectedLosses)
        expect(await own.values()).toEqual(await healthy.values())
        own.dispose()
        await on.synchronize()
        expect(on.memory().live).toBe(0)
      }
      healthy.dispose()
    })
  }

  it('in forward: that loss rejects, and zeroGrad gives the batch up', async () => {
    const on = device('cpu', { memoryLimit: Math.round(forwardPeak * 0.9) })
    const healthy = setUp(device('cpu'))
    const own = setUp(on)
    await Promise.all([healthy.step(SMALL, 1), own.step(SMALL, 1)])
    expect(await outcome(own.step(BAD, 9))).toBeInstanceOf(OutOfMemoryError)
    own.optimizer.zeroGrad({ free: true })
    const next = await Promise.all([healthy.step(SMALL, 2), own.step(SMALL, 2)])
    expect(next[1]).toBe(next[0])
    expect(await own.values()).toEqual(await healthy.values())
    healthy.dispose()
    own.dispose()
  })

  it('leaves a gradient unreadable that lacks a part, until it is cleared', async () => {
    const on = device('cpu', { memoryLimit: Math.round((forwardPeak + backwardPeak) / 2) })
    const own = setUp(on)
    scope(() => own.forward(SMALL, 1).backward())
    const whole = await Promise.all(own.parameters.map(parameter => parameter.grad!.read()))
    scope(() => own.forward(BAD, 2).backward())
    const after = await Promise.all(own.parameters.map(parameter => outcome(parameter.grad!.read())))
    expect(after.some(each => each instanceof OutOfMemoryError)).toBe(true)
    // The parameters are not concerned: no step was tried.
    await own.parameters[0]!.read()
    for (const block of own.blocks) block.zeroGrad()
    scope(() => own.forward(SMALL, 1).backward())
    expect(await Promise.all(own.parameters.map(parameter => parameter.grad!.read()))).toEqual(whole)
    own.dispose()
  })

  it('asks again for a gradient that could not be had at all', async () => {
    const on = device('cpu', { memoryLimit: 2_900_000 })
    const weight = normal([400, 400], { device: on, requiresGrad: true }) // 640 kB, moments twice that
    const optimizer = new AdamW([weight], { lr: 1e-2 })
    const before = await weight.read()
    const block = zeros([180_000], { device: on })
    const loss = () => scope(() => matmul(ones([1, 400], { device: on }), weight).mean())
    scope(() => loss().backward())
    optimizer.step()
    expect(await outcome(weight.grad!.read())).toBeInstanceOf(OutOfMemoryError)
    expect(await outcome(weight.read())).toBeInstanceOf(OutOfMemoryError)
    block.dispose()
    optimizer.zeroGrad()
    expect(await weight.read()).toEqual(before)
    expect((await weight.grad!.read()).every(x => x === 0)).toBe(true)
    optimizer.dispose()
    weight.dispose()
  })

  it('ends train() with the error, and leaves a model that can be saved and trained on', async () => {
    const size = {
      dModel: 32,
      numHeads: 2,
      numEncoderLayers: 1,
      numDecoderLayers: 1,
      dFeedForward: 256,
      dropout: 0,
      sourceVocab: 500,
      targetVocab: 500,
    }
    const pairs = (length: number) => [{ source: new Array<number>(length).fill(7), target: new Array<number>(length).fill(9) }]
    const batches = (length: number) => new Batches(pairs(length), { maxTokens: 10_000, bos: 0, eos: 1 })
    const run = async (on: Device, lengths: number[]) => {
      seed(4)
      const model = new Transformer(size, { device: on })
      const optimizer = new AdamW(model.parameters())
      const outcomes: unknown[] = []
      for (const length of lengths)
        outcomes.push(await outcome(train(model, { batches: batches(length), optimizer, learningRate: () => 1e-3, epochs: 1 })))
      const values = await Promise.all(model.parameters().map(parameter => parameter.read()))
      optimizer.dispose()
      model.dispose()
      return { outcomes, values }
    }
    const healthy = await run(device('cpu'), [5, 6])
    const own = await run(device('cpu', { memoryLimit: 2_000_000 }), [5, 400, 6])
    expect(own.outcomes[1]).toBeInstanceOf(OutOfMemoryError)
    expect([own.outcomes[0], own.outcomes[2]]).toEqual([undefined, undefined])
    expect(own.values).toEqual(healthy.values)
  })
})

describe('a failed op', () => {
  const on = device('cpu', { memoryLimit: 1 << 20 })
  const broken = () => add(zeros([300_000], { device: on }), 1)

  it('spoils the whole of a tensor that it was to write a part of', async () => {
    const joined = concat([ones([3], { device: on }), broken().slice(0, 0, 3)])
    expect(await outcome(joined.read())).toBeInstanceOf(OutOfMemoryError)
  })
})
