import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ArgumentError } from '../../lib/errors.ts'
import { splitPairs } from '../../lib/train/split.ts'

const pairs = fc.array(fc.record({ source: fc.constantFrom(...'abcdefgh'), target: fc.string() }), { minLength: 2, maxLength: 40 })

it('puts every pair into one part, in order, and no source into both', () => {
  fc.assert(
    fc.property(pairs, fc.double({ min: 0.001, max: 0.999, noNaN: true }), fc.nat(), (all, fraction, seed) => {
      fc.pre(new Set(all.map(pair => pair.source)).size >= 2)
      const { train, validation } = splitPairs(all, fraction, seed)
      expect(train.length + validation.length).toBe(all.length)
      expect(train.length).toBeGreaterThan(0)
      expect(validation.length).toBeGreaterThan(0)
      expect(all.filter(pair => train.includes(pair))).toEqual(train)
      const held = new Set(validation.map(pair => pair.source))
      for (const { source } of train) expect(held.has(source)).toBe(false)
      expect(splitPairs(all, fraction, seed)).toEqual({ train, validation })
    }),
  )
})

it('takes about the fraction, and another part with another seed', () => {
  const all = Array.from({ length: 1000 }, (_, i) => ({ source: `s${i}`, target: 't' }))
  expect(splitPairs(all, 0.05).validation).toHaveLength(50)
  expect(splitPairs(all, 0.05, 1).validation).not.toEqual(splitPairs(all, 0.05, 2).validation)
})

it('refuses what cannot be split', () => {
  const one = [{ source: 'a', target: 'b' }]
  expect(() => splitPairs([...one, ...one], 0.5)).toThrow(ArgumentError)
  for (const fraction of [0, 1, -1, 2, Number.NaN]) expect(() => splitPairs([], fraction)).toThrow('fraction must be above 0 and below 1')
})
