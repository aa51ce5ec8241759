import { afterAll, describe, expect, it } from 'vitest'
import { type Batch, Batches } from '../../lib/data/batches.ts'
import { TrainingError } from '../../lib/errors.ts'
import { device, seed } from '../../lib/index.ts'
import { Transformer } from '../../lib/nn/index.ts'
import { AdamW, clipGradNorm } from '../../lib/optim/index.ts'
import { evaluateLoss } from '../../lib/train/loss.ts'
import { type EpochReport, type StepReport, train } from '../../lib/train/trainer.ts'

const cpu = device('cpu', { threads: 1 })
const pairs = Array.from({ length: 60 }, (_, i) => ({
  source: Array.from({ length: 1 + (i % 7) }, (_, t) => 3 + ((i * 5 + t) % 9)),
  target: Array.from({ length: 1 + (i % 5) }, (_, t) => 3 + ((i * 5 + t) % 9)),
}))
const limits = { maxTokens: 120, bos: 0, eos: 1 }
const models: Transformer[] = []
afterAll(() => {
  for (const model of models) model.dispose()
})

function newModel(dropout = 0.1): Transformer {
  seed(5)
  const size = { dModel: 16, numHeads: 2, numEncoderLayers: 1, numDecoderLayers: 1, dFeedForward: 32, dropout, norm: 'pre' as const }
  const model = new Transformer({ ...size, sourceVocab: 12, targetVocab: 12 }, { device: cpu })
  models.push(model)
  return model
}

function setUp(dropout?: number) {
  const model = newModel(dropout)
  const steps: StepReport[] = []
  const epochs: EpochReport[] = []
  const optimizer = new AdamW(model.parameters(), { lr: 1e-2 })
  const options = {
    batches: new Batches(pairs, { ...limits, seed: 3 }),
    optimizer,
    learningRate: (step: number) => 1e-2 / step,
    epochs: 3,
    onStep: (report: StepReport) => void steps.push(report),
    onEpoch: (report: EpochReport) => void epochs.push(report),
  }
  return { model, steps, epochs, optimizer, options }
}

describe('train', () => {
  it('reports every step and epoch, in order, with what they were computed from', async () => {
    const { model, steps, epochs, options } = setUp()
    const validation = new Batches(pairs.slice(0, 10), { ...limits, shuffle: false })
    await train(model, { ...options, validation, clip: parameters => clipGradNorm(parameters, 1), labelSmoothing: 0.1 })
    const perEpoch = [0, 1, 2].map(epoch => options.batches.epoch(epoch).length)
    expect(steps.map(report => report.step)).toEqual(Array.from({ length: perEpoch.reduce((a, b) => a + b) }, (_, i) => i + 1))
    for (const [e, report] of epochs.entries()) {
      const own = steps.filter(step => step.epoch === e + 1)
      expect(own.map(step => step.batch)).toEqual(Array.from({ length: perEpoch[e]! }, (_, i) => i + 1))
      const tokens = own.reduce((sum, step) => sum + step.targetTokens, 0)
      expect(tokens).toBe(pairs.reduce((sum, pair) => sum + pair.target.length + 1, 0))
      expect(report.loss).toBeCloseTo(own.reduce((sum, step) => sum + step.loss * step.targetTokens, 0) / tokens, 10)
      expect(report).toMatchObject({ epoch: e + 1, step: own.at(-1)!.step, tokens: own.reduce((sum, step) => sum + step.tokens, 0) })
      expect(report.validation!.perplexity).toBeCloseTo(Math.exp(report.validation!.loss), 10)
    }
    for (const { step, learningRate, gradientNorm } of steps) {
      expect(learningRate).toBe(1e-2 / step)
      expect(gradientNorm).toBeGreaterThan(0)
    }
    expect(epochs[2]!.loss).toBeLessThan(epochs[0]!.loss)
  })

  it('gives equal losses from equal seeds, dropout and order included', async () => {
    const one = setUp()
    await train(one.model, one.options)
    const two = setUp()
    await train(two.model, two.options)
    expect(two.steps.map(report => report.loss)).toEqual(one.steps.map(report => report.loss))
    expect(new Set(one.steps.map(report => report.loss)).size).toBe(one.steps.length)
  })

  it('keeps live memory constant', async () => {
    const { model, options } = setUp()
    const live: number[] = []
    const measure = async () => {
      await cpu.synchronize()
      live.push(cpu.memory().live)
    }
    await train(model, { ...options, epochs: 5, onEpoch: measure })
    expect(live).toEqual(new Array(5).fill(live[0]))
  })

  it('ends after maxSteps, in the middle of an epoch too', async () => {
    const { model, steps, epochs, options } = setUp()
    await train(model, { ...options, maxSteps: 4 })
    expect(steps).toHaveLength(4)
    expect(epochs).toHaveLength(1)
  })

  it('evaluates in evaluation mode and goes on in training mode', async () => {
    const { model, options } = setUp()
    const modes: boolean[] = []
    const watched = {
      parameters: () => model.parameters(),
      train: (on?: boolean) => model.train(on),
      eval: () => model.eval(),
      get training() {
        return model.training
      },
      loss(batch: Batch, given?: { labelSmoothing?: number }) {
        modes.push(model.training)
        expect(given?.labelSmoothing ?? 0).toBe(model.training ? 0.2 : 0)
        return model.loss(batch, given)
      },
    }
    const validation = new Batches(pairs, { ...limits, shuffle: false })
    await train(watched, { ...options, epochs: 2, labelSmoothing: 0.2, validation, onEpoch: () => expect(model.training).toBe(false) })
    const lengths = [
      options.batches.epoch(0).length,
      validation.epoch(0).length,
      options.batches.epoch(1).length,
      validation.epoch(0).length,
    ]
    expect(modes).toEqual(lengths.flatMap((length, i) => new Array<boolean>(length).fill(i % 2 === 0)))
  })

  it('stops after the step under way when aborted, and rejects with the reason', async () => {
    const { model, steps, options } = setUp()
    const controller = new AbortController()
    const reason = new Error('enough')
    const onStep = (report: StepReport) => {
      options.onStep(report)
      if (report.step === 2) controller.abort(reason)
    }
    await expect(train(model, { ...options, onStep, signal: controller.signal })).rejects.toBe(reason)
    // Steps that had been recorded by then are done and told, no others.
    expect(steps.length).toBeGreaterThanOrEqual(2)
    expect(steps.length).toBeLessThanOrEqual(8)
    for (const parameter of model.parameters()) expect((await parameter.read()).every(Number.isFinite)).toBe(true)
  })

  it('stops when the loss is not a number any more', async () => {
    const { model, options } = setUp()
    await expect(train(model, { ...options, epochs: 1000, learningRate: () => 1e30 })).rejects.toThrow(TrainingError)
    await expect(train(model, options)).rejects.toThrow(/the loss is NaN at step 1; a lower learning rate/)
  })

  it('passes on what a callback throws', async () => {
    const { model, options } = setUp()
    const onEpoch = () => Promise.reject(new Error('no disk'))
    await expect(train(model, { ...options, onEpoch })).rejects.toThrow('no disk')
  })
})

describe('evaluateLoss', () => {
  it('does not depend on how pairs are batched', async () => {
    const model = newModel()
    const losses = []
    for (const options of [{ maxTokens: 1000 }, { maxTokens: 30 }, { maxTokens: 1000, maxSentences: 1, shuffle: true }])
      losses.push(await evaluateLoss(model, new Batches(pairs, { ...limits, shuffle: false, ...options })))
    for (const report of losses) {
      expect(report.tokens).toBe(losses[0]!.tokens)
      expect(report.loss).toBeCloseTo(losses[0]!.loss, 5)
    }
    expect(model.training).toBe(true)
  })

  it('rejects when aborted, and leaves the mode as it was', async () => {
    const model = newModel()
    const signal = AbortSignal.abort(new Error('stop'))
    await expect(evaluateLoss(model, new Batches(pairs, limits), { signal })).rejects.toThrow('stop')
    expect(model.training).toBe(true)
  })
})
