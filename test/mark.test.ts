import { describe, expect, it } from 'vitest'
import { ArgumentError, add, DisposedError, device, matmul, mul, scope, type Tensor, tensor, zeros } from '../lib/index.ts'
import { testDevices } from './devices.ts'

describe.each(testDevices)('marks on $name', ({ device: own }) => {
  const live = async () => {
    await own.synchronize()
    return own.memory().live
  }

  it('time what lies between them: additive, longer for more work, never negative', async () => {
    const x = zeros([64, 64], { device: own })
    const product = () => scope(() => void matmul(x, x))
    product()
    // Another program may take the processor in the middle of either: the least of several rounds is the work's own time.
    const least = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY] as [number, number]
    for (let round = 0; round < 8; round++) {
      const marks = [own.mark()]
      for (const repeats of [1, 40]) {
        for (let i = 0; i < repeats; i++) product()
        marks.push(own.mark())
      }
      const [a, b, c] = marks as [(typeof marks)[0], (typeof marks)[0], (typeof marks)[0]]
      const [one, forty, all] = await Promise.all([b.since(a), c.since(b), c.since(a)])
      expect(one).toBeGreaterThan(0)
      expect(all).toBeCloseTo(one + forty, 2)
      expect(await a.since(b)).toBeCloseTo(-one, 2)
      expect(await a.since(a)).toBe(0)
      for (const mark of marks) mark.dispose()
      least[0] = Math.min(least[0], one)
      least[1] = Math.min(least[1], forty)
    }
    expect(least[1]).toBeGreaterThan(least[0])
    x.dispose()
  })
  it('are set without waiting, and answered when the device has come there', async () => {
    const x = zeros([64, 64], { device: own })
    using begin = own.mark()
    let y: Tensor = x
    for (let i = 0; i < 20; i++) y = add(y, 1)
    using end = own.mark()
    const elapsed = end.since(begin)
    const later = mul(y, 2)
    expect(await elapsed).toBeGreaterThan(0)
    expect((await later.read())[0]).toBe(40)
  })
  it('time the replays of a capture from outside, and are refused within', async () => {
    const x = tensor([1, 2, 3], { device: own })
    const capture = own.capture(() => mul(x, 2))
    for (let i = 0; i < 3; i++) capture.replay()
    using begin = own.mark()
    capture.replay()
    using end = own.mark()
    expect(await end.since(begin)).toBeGreaterThan(0)
    expect(() => own.capture(() => own.mark())).toThrow(ArgumentError)
    expect(() => own.capture(() => own.mark())).toThrow('[mark] no mark can be set while a capture records')
    expect(Array.from(await capture.result.read())).toEqual([2, 4, 6])
    capture.dispose()
  })
  it('belong to a scope, and are not to be used when they are gone', async () => {
    const before = await live()
    const [begin, end] = scope(() => [own.mark(), own.mark(), own.mark()].slice(0, 2)) as [
      ReturnType<typeof own.mark>,
      ReturnType<typeof own.mark>,
    ]
    const elapsed = end.since(begin)
    begin.dispose()
    begin.dispose()
    expect(await elapsed).toBeGreaterThanOrEqual(0)
    expect(() => end.since(begin)).toThrow(DisposedError)
    end.dispose()
    // Thousands at once: events of marks that are gone serve again.
    for (let i = 0; i < 3; i++) scope(() => Array.from({ length: 1000 }, () => own.mark()).length)
    expect(await live()).toBe(before)
  })
})

describe('marks', () => {
  it('of two devices have no time between them', () => {
    using here = device('cpu').mark()
    using there = device('simt').mark()
    expect(() => here.since(there)).toThrow('[Mark.since] earlier must be a mark of the same device, is one of simt')
  })
})
