import { describe, expect, it } from 'vitest'
import { ArgumentError, add, DisposedError, device, mul, noGrad, scope, slice, sum, type Tensor, tensor, transpose } from '../lib/index.ts'

const cpu = device('cpu')
const leaf = (data: number[]) => tensor(Float32Array.from(data), [data.length], { device: cpu }).requireGrad()
const gradient = async (t: Tensor) => Array.from(await (t.grad as Tensor).read())
const live = async () => {
  await cpu.synchronize()
  return cpu.memory().live
}

describe('backward', () => {
  it('adds up over every path, in place only where nobody else looks', async () => {
    const x = leaf([1, 2, 3])
    const y = mul(x, x) // 2x
    const z = add(add(y, y), add(y, x)) // 3 · 2x + 1
    sum(z).backward()
    expect(await gradient(x)).toEqual([7, 13, 19])
  })
  it('does not change a gradient that two inputs share', async () => {
    const a = leaf([1, 1])
    const b = leaf([2, 2])
    const [left, right] = [mul(a, 1), mul(b, 1)]
    sum(add(add(left, right), mul(left, 5))).backward()
    expect(await gradient(a)).toEqual([6, 6])
    expect(await gradient(b)).toEqual([1, 1])
  })
  it('accumulates over calls', async () => {
    const x = leaf([1, 2])
    sum(mul(x, x)).backward()
    sum(mul(x, x)).backward()
    expect(await gradient(x)).toEqual([4, 8])
  })
  it('flows through views', async () => {
    const x = tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { device: cpu },
    ).requireGrad() // [2, 3]
    const middle = slice(transpose(x), 0, 1, 2) // [1, 2]: column 1
    sum(mul(middle, tensor([[10, 20]], { device: cpu }))).backward()
    expect(await gradient(x)).toEqual([0, 10, 0, 0, 20, 0])
  })
  it('adds slices of a leaf into its gradient, where they overlap too', async () => {
    const x = leaf([1, 2, 3, 4])
    const [first, second] = [slice(x, 0, 0, 3), slice(x, 0, 2, 4)]
    add(sum(mul(first, 10)), sum(second)).backward()
    expect(await gradient(x)).toEqual([10, 10, 11, 1])
  })
  it('keeps a given gradient alive', async () => {
    const x = leaf([1, 2])
    const upstream = tensor([3, 4], { device: cpu })
    mul(x, 2).backward(upstream)
    expect(await gradient(x)).toEqual([6, 8])
    expect(Array.from(await upstream.read())).toEqual([3, 4])
  })
  it('refuses a used graph, a wrong shape, a missing gradient, and what needs none', () => {
    const x = leaf([1, 2])
    const y = sum(mul(x, x))
    y.backward()
    expect(() => y.backward()).toThrow(DisposedError)
    expect(() => mul(x, 2).backward()).toThrow('[backward] gradient must be given for a tensor of shape [2]')
    expect(() => mul(x, 2).backward(tensor([1], { device: cpu }))).toThrow('[backward] gradient must be [2], is [1]')
    expect(() => noGrad(() => mul(x, 2)).backward(tensor([1, 1], { device: cpu }))).toThrow(ArgumentError)
  })
  it('takes graphs of 20,000 nodes', async () => {
    const x = leaf([1])
    await scope(async () => {
      let y: Tensor = x
      for (let i = 0; i < 20_000; i++) y = add(y, 0)
      y.backward()
      expect(await gradient(x)).toEqual([1])
    })
  })
})

describe('memory of the tape', () => {
  const big = 1 << 18 // 1 MiB of f32
  it('is given back as backward goes', async () => {
    const before = await live()
    const x = tensor(new Float32Array(big), [big], { device: cpu }).requireGrad()
    await scope(async () => {
      const loss = scope(() => {
        let y: Tensor = x
        for (let i = 0; i < 20; i++) y = mul(y, y)
        return sum(y)
      })
      expect((await live()) - before).toBeGreaterThan(20 * big * 4)
      cpu.resetPeak()
      loss.backward()
      await cpu.synchronize()
      expect(cpu.memory().live - before).toBeLessThan(4 * big * 4)
      // Never much more than the forward held: gradients are freed as they are used.
      expect(cpu.memory().peak - before).toBeLessThan(28 * big * 4)
    })
    x.dispose()
    expect(await live()).toBe(before)
  })
  it('is given back when a graph is dropped without backward', async () => {
    const before = await live()
    const x = tensor(new Float32Array(big), [big], { device: cpu }).requireGrad()
    let y: Tensor = x
    for (let i = 0; i < 10; i++) {
      const next = mul(y, y)
      if (y !== x) y.dispose()
      y = next
    }
    expect((await live()) - before).toBeGreaterThan(10 * big * 4)
    y.dispose()
    x.dispose()
    expect(await live()).toBe(before)
  })
  it('stays constant over 10,000 training steps', async () => {
    const w = leaf([0.5, -0.5, 1])
    const data = tensor([1, 2, 3], { device: cpu })
    const step = () =>
      scope(() => {
        sum(mul(add(mul(w, data), 1), data)).backward()
      })
    step()
    const after = await live()
    for (let i = 0; i < 10_000; i++) step()
    expect(await live()).toBe(after)
  })
})
