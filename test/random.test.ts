import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hostCounter, PhiloxStream, philox4x32 } from '../lib/random.ts'

const hex = (words: readonly number[]) => words.map(word => word.toString(16).padStart(8, '0')).join(' ')

describe('philox4x32', () => {
  // The known-answer vectors of Random123 (tests/kat_vectors).
  it('matches the vectors of Random123', () => {
    const f = 0xffffffff
    expect(hex(philox4x32([0, 0], [0, 0, 0, 0]))).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8')
    expect(hex(philox4x32([f, f], [f, f, f, f]))).toBe('408f276d 41c83b0e a20bc7c6 6d5451fd')
    expect(hex(philox4x32([0xa4093822, 0x299f31d0], [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344]))).toBe(
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    )
  })
})

describe('PhiloxStream', () => {
  it('gives element i from block i >> 2, lane i & 3, with seed as key and counter in the upper words', () => {
    const seed = 0x299f31d0a4093822n
    const counter = 0x0370734413198a2en
    const stream = new PhiloxStream(seed, counter)
    for (let i = 0; i < 40; i++) {
      const block = philox4x32([0xa4093822, 0x299f31d0], [i >> 2, 0, 0x13198a2e, 0x03707344])
      expect(stream.next()).toBe(block[i & 3])
    }
  })

  it('repeats itself, and differs by seed and by counter', () => {
    const draw = (seed: number, counter: number) =>
      Array.from(
        { length: 8 },
        (
          stream => () =>
            stream.next()
        )(new PhiloxStream(seed, counter)),
      )
    expect(draw(1, 2)).toEqual(draw(1, 2))
    expect(draw(1, 2)).not.toEqual(draw(2, 2))
    expect(draw(1, 2)).not.toEqual(draw(1, 3))
  })

  it('draws uniform numbers in [0, 1) with the right mean and variance', () => {
    const stream = new PhiloxStream(7)
    let sum = 0
    let squares = 0
    const n = 100_000
    for (let i = 0; i < n; i++) {
      const value = stream.uniform()
      if (!(value >= 0 && value < 1)) expect.fail(`${value} is outside [0, 1)`)
      sum += value
      squares += value * value
    }
    expect(sum / n).toBeCloseTo(1 / 2, 2)
    expect(squares / n).toBeCloseTo(1 / 3, 2)
  })

  it('draws integers within the limit, each about equally often', () => {
    const stream = new PhiloxStream(11)
    const counts = new Array<number>(7).fill(0)
    for (let i = 0; i < 70_000; i++) counts[stream.int(7)]!++
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500)
  })

  it('shuffles to a permutation', () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), fc.nat(), (items, seed) => {
        const shuffled = new PhiloxStream(seed).shuffle([...items])
        expect(shuffled.sort((a, b) => a - b)).toEqual(items.sort((a, b) => a - b))
      }),
    )
  })

  it('shuffles every order of three equally often', () => {
    const stream = new PhiloxStream(5)
    const counts = new Map<string, number>()
    for (let i = 0; i < 12_000; i++) {
      const order = stream.shuffle(['a', 'b', 'c']).join('')
      counts.set(order, (counts.get(order) ?? 0) + 1)
    }
    expect(counts.size).toBe(6)
    for (const count of counts.values()) expect(Math.abs(count - 2000)).toBeLessThan(250)
  })

  it('names what is wrong with a seed, a limit or an index', () => {
    expect(() => new PhiloxStream(-1)).toThrow('seed must be an integer from 0')
    expect(() => new PhiloxStream(1.5)).toThrow('seed must be an integer from 0')
    expect(() => new PhiloxStream(1n << 64n)).toThrow('seed must be from 0 to 2^64 - 1')
    expect(() => new PhiloxStream(0).int(0)).toThrow('limit must be')
    expect(() => new PhiloxStream(0).pick([])).toThrow('must not be empty')
    expect(() => hostCounter('batches', 1n << 48n)).toThrow('index must be below 2^48')
  })
})

describe('hostCounter', () => {
  it('has the top bit set and differs by purpose and index', () => {
    const counters = [hostCounter('batches', 0), hostCounter('batches', 1), hostCounter('corpus', 0), hostCounter('user', 0)]
    expect(new Set(counters).size).toBe(4)
    for (const counter of counters) expect(counter >> 63n).toBe(1n)
  })
})
