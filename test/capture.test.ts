import { describe, expect, it } from 'vitest'
import { add, fill_, mul, scope, seed, sum, tensor, zeros } from '../lib/index.ts'
import { TransformerEncoderLayer } from '../lib/nn/index.ts'
import { testDevices } from './devices.ts'

// On GPUs and on 'simt' the second replay records a graph and launches that from then on; the CPU decodes the list every time.
describe.each(testDevices)('capture on $name', ({ device: cpu }) => {
  const live = async () => {
    await cpu.synchronize()
    return cpu.memory().live
  }
  it('records without executing, and replays on what the inputs hold then', async () => {
    const x = tensor([1, 2, 3], { device: cpu })
    const total = zeros([1], { device: cpu })
    const capture = cpu.capture(() => {
      const y = mul(x, 2)
      add(y, 1)
      y.dispose()
      return sum(mul(x, x), { keepDims: true })
    })
    capture.replay()
    expect(await capture.result.item()).toBe(14)
    for (const value of [2, 3, 4]) {
      fill_(x, value)
      capture.replay()
      expect(await capture.result.item()).toBe(3 * value * value)
    }
    for (const held of [x, total, capture.result]) held.dispose()
    capture.dispose()
  })
  it('runs training steps: gradients add up in place', async () => {
    const w = tensor([1, 2], { device: cpu }).requireGrad()
    sum(mul(w, w)).backward() // makes the gradient before the capture records
    const capture = cpu.capture(() => scope(() => sum(mul(w, w)).backward()))
    for (let i = 0; i < 3; i++) capture.replay()
    expect(Array.from(await w.grad!.read())).toEqual([8, 16])
  })
  it('gives the bits of a step of a whole layer that is issued, each time it is replayed', async () => {
    seed(3)
    using layer = new TransformerEncoderLayer({ dModel: 32, numHeads: 2, dFeedForward: 64, dropout: 0 }, { device: cpu })
    const parameters = layer.parameters()
    const values = (phase: number) => Float32Array.from({ length: 2 * 5 * 32 }, (_, i) => Math.sin(i * i + phase))
    const [x, upstream] = [tensor(values(0), [2, 5, 32], { device: cpu }), tensor(values(1), [2, 5, 32], { device: cpu })]
    const step = () =>
      scope(() => {
        for (const { grad } of parameters) if (grad) fill_(grad, 0)
        layer.forward(x).backward(upstream)
      })
    const gradients = () => Promise.all(parameters.map(({ grad }) => grad!.read()))
    step()
    const expected = await gradients()
    expect(expected.some(gradient => gradient.some(g => g !== 0))).toBe(true)
    const capture = cpu.capture(step)
    for (let i = 0; i < 4; i++) {
      for (const { grad } of parameters) fill_(grad!, i)
      capture.replay()
      expect(await gradients()).toEqual(expected)
    }
    capture.dispose()
  })
  it('keeps memory constant over replays and gives it back', async () => {
    const before = await live()
    const x = zeros([1000], { device: cpu })
    const capture = cpu.capture(() => scope(() => mul(add(x, 1), 2)))
    capture.replay()
    const after = await live()
    for (let i = 0; i < 100; i++) capture.replay()
    expect(await live()).toBe(after)
    expect((await capture.result.read())[999]).toBe(2)
    capture.result.dispose()
    capture.dispose()
    x.dispose()
    expect(await live()).toBe(before)
  })
  it('does not let other tensors have the memory that a replay writes', async () => {
    const x = tensor([5], { device: cpu })
    const capture = cpu.capture(() => scope(() => add(mul(x, 2), 1)))
    const others = Array.from({ length: 8 }, (_, i) => tensor([i], { device: cpu }))
    capture.replay()
    expect(await Promise.all(others.map(other => other.item()))).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(await capture.result.item()).toBe(11)
    for (let i = 0; i < 3; i++) {
      others.push(...Array.from({ length: 8 }, (_, k) => tensor([others.length + k], { device: cpu })))
      fill_(x, i)
      capture.replay()
      expect(await Promise.all(others.map(other => other.item()))).toEqual(others.map((_, k) => k))
      expect(await capture.result.item()).toBe(2 * i + 1)
    }
  })
  it('keeps its slots from other tensors, also those of results that were disposed', async () => {
    const x = tensor([5], { device: cpu })
    const before = await live()
    const capture = cpu.capture(() => mul(x, 2))
    capture.replay()
    capture.result.dispose()
    const others = Array.from({ length: 4 }, (_, i) => tensor([i], { device: cpu }))
    for (let i = 0; i < 3; i++) capture.replay()
    expect(await Promise.all(others.map(other => other.item()))).toEqual([0, 1, 2, 3])
    for (const other of others) other.dispose()
    capture.dispose()
    expect(await live()).toBe(before)
    expect(await mul(x, 3).item()).toBe(15)
  })
  it('refuses what cannot be recorded, and recovers from a body that throws', async () => {
    const x = tensor([1], { device: cpu })
    expect(() => cpu.capture(() => tensor([1], { device: cpu }))).toThrow('[capture] data cannot be written while a capture records')
    expect(() => cpu.capture(() => cpu.capture(() => 0))).toThrow('[capture] a capture is being recorded already')
    expect(() => cpu.capture(async () => 0)).toThrow('[capture] body must not be async')
    const before = await live()
    expect(() =>
      cpu.capture(() => {
        add(x, 1)
        throw new Error('boom')
      }),
    ).toThrow('boom')
    expect(await add(x, 1).item()).toBe(2)
    expect((await live()) - before).toBeLessThanOrEqual(1024)
    const capture = cpu.capture(() => 0)
    capture.dispose()
    expect(() => capture.replay()).toThrow('[capture] the capture has been disposed')
  })
})
