import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Batch, Batches, type BatchOptions, packRagged, type RaggedIds, type TokenizedPair } from '../../lib/data/batches.ts'
import { DataError } from '../../lib/errors.ts'

const BOS = 2
const EOS = 3

/** The sequences of ragged ids, one by one. */
function unpack({ ids, offsets, lengths }: RaggedIds): number[][] {
  expect(offsets[0]).toBe(0)
  expect(offsets.at(-1)).toBe(ids.length)
  return Array.from(lengths, (length, i) => {
    expect(offsets[i + 1]! - offsets[i]!).toBe(length)
    return Array.from(ids.subarray(offsets[i], offsets[i + 1]))
  })
}

const ids = fc.array(fc.integer({ min: 4, max: 99 }), { maxLength: 12 })
const pairLists = fc.array(fc.record({ source: ids, target: ids }), { minLength: 1, maxLength: 60 })
const optionLists = fc.record(
  {
    maxTokens: fc.integer({ min: 26, max: 100 }),
    maxSentences: fc.integer({ min: 1, max: 9 }),
    seed: fc.oneof(fc.nat(), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })),
    shuffle: fc.boolean(),
    bucketWidth: fc.integer({ min: 1, max: 20 }),
    appendSourceEos: fc.constantFrom<number | false>(false, 1),
  },
  { requiredKeys: ['maxTokens'] },
)

const plan = (batches: Batches, epoch: number) => Array.from(batches.epoch(epoch), batch => Array.from(batch.pairs))
const randomPairs = (count: number): TokenizedPair[] =>
  Array.from({ length: count }, (_, i) => ({
    source: new Array<number>(1 + ((i * 7) % 30)).fill(5),
    target: new Array<number>(1 + ((i * 11) % 25)).fill(6),
  }))

describe('Batches', () => {
  it('holds every pair exactly once an epoch, whole, and within the limits', () => {
    fc.assert(
      fc.property(pairLists, optionLists, fc.nat(1000), (pairs, options, number) => {
        const batches = new Batches(pairs, { ...options, bos: BOS, eos: EOS })
        const epoch = batches.epoch(number)
        const seen: number[] = []
        const made: Batch[] = [...epoch]
        expect(made.length).toBe(epoch.length)
        for (const batch of made) {
          const sources = unpack(batch.source)
          const targets = unpack(batch.target)
          const labels = unpack({ ...batch.target, ids: batch.labels })
          expect(batch.pairs.length).toBeGreaterThan(0)
          expect(batch.pairs.length).toBeLessThanOrEqual(options.maxSentences ?? Number.POSITIVE_INFINITY)
          expect(batch.tokens).toBe(batch.source.ids.length + batch.target.ids.length)
          expect(batch.tokens).toBeLessThanOrEqual(options.maxTokens)
          for (const [i, index] of batch.pairs.entries()) {
            const pair = pairs[index]!
            const sourceEos = options.appendSourceEos ?? false
            expect(sources[i]).toEqual(sourceEos === false ? pair.source : [...pair.source, sourceEos])
            expect(targets[i]).toEqual([BOS, ...pair.target])
            expect(labels[i]).toEqual([...pair.target, EOS])
            seen.push(index)
          }
        }
        expect(seen.sort((a, b) => a - b)).toEqual(pairs.map((_, i) => i))
        expect(batches.size).toBe(pairs.length)
        expect(batches.dropped).toBe(0)
      }),
    )
  })

  it('makes the same epoch from the same seed and number, in any order of asking', () => {
    const options: BatchOptions = { maxTokens: 200, bos: BOS, eos: EOS, seed: 9 }
    const one = new Batches(randomPairs(300), options)
    const two = new Batches(randomPairs(300), options)
    const later = plan(one, 3)
    expect(plan(two, 0)).toEqual(plan(one, 0))
    expect(plan(two, 3)).toEqual(later)
    expect(plan(one, 0)).not.toEqual(later)
    expect(plan(new Batches(randomPairs(300), { ...options, seed: 10 }), 0)).not.toEqual(plan(one, 0))
    expect(Array.from(one.epoch(3).at(5).pairs)).toEqual(later[5])
  })

  it('keeps lengths within a batch close, and shuffles what is in a batch as well as the batches', () => {
    const pairs = randomPairs(2000)
    const length = (index: number) => pairs[index]!.source.length + pairs[index]!.target.length
    const batches = new Batches(pairs, { maxTokens: 400, bos: BOS, eos: EOS, bucketWidth: 4 })
    const [first, second] = [plan(batches, 0), plan(batches, 1)]
    for (const batch of first) {
      const lengths = batch.map(length)
      // A batch holds what is left of one bucket and, where that is little, a bucket or two after it.
      expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThan(12)
    }
    const means = first.map(batch => batch.reduce((sum, index) => sum + length(index), 0) / batch.length)
    const rises = means.filter((mean, i) => i > 0 && mean > means[i - 1]!).length
    expect(rises / means.length).toBeGreaterThan(0.3)
    expect(rises / means.length).toBeLessThan(0.7)
    const companions = (epochs: number[][]) => new Set(epochs.map(batch => [...batch].sort((a, b) => a - b).join()))
    const both = companions(first)
    for (const batch of companions(second)) both.delete(batch)
    expect(both.size).toBeGreaterThan(first.length * 0.9)
  })

  it('fills batches: two neighbours would not fit into one', () => {
    const batches = new Batches(randomPairs(500), { maxTokens: 300, bos: BOS, eos: EOS, shuffle: false })
    const sizes = Array.from(batches.epoch(0), batch => batch.tokens)
    for (let i = 1; i < sizes.length; i++) expect(sizes[i - 1]! + sizes[i]!).toBeGreaterThan(300)
  })

  it('goes from short to long, in the order given, without shuffling', () => {
    const pairs = [3, 1, 2, 1].map(length => ({ source: new Array<number>(length).fill(4), target: [] }))
    const batches = new Batches(pairs, { maxTokens: 5, maxSentences: 2, bucketWidth: 1, shuffle: false, bos: BOS, eos: EOS })
    expect(plan(batches, 0)).toEqual([[1, 3], [2], [0]])
    expect(plan(batches, 1)).toEqual([[1, 3], [2], [0]])
  })

  it('stops at a pair that is too long, or drops and counts it', () => {
    const pairs: TokenizedPair[] = [
      { source: [4], target: [5] },
      { source: new Int32Array(6), target: [5, 5] },
    ]
    const options: BatchOptions = { maxTokens: 8, bos: BOS, eos: EOS }
    expect(() => new Batches(pairs, options)).toThrow('pair 1 has 9 tokens (source and target together), maxTokens is 8')
    const batches = new Batches(pairs, { ...options, tooLong: 'drop' })
    expect(batches).toMatchObject({ size: 1, dropped: 1 })
    expect(plan(batches, 0)).toEqual([[0]])
    expect(() => new Batches(pairs.slice(1), { ...options, tooLong: 'drop' })).toThrow('all 1 pairs have more than 8 tokens')
    expect(new Batches(pairs, { ...options, maxTokens: 9 }).dropped).toBe(0)
    expect(() => new Batches(pairs, { ...options, maxTokens: 9, appendSourceEos: 1 })).toThrow('pair 1 has 10 tokens')
  })

  it.each([
    ['maxTokens', { maxTokens: 0 }],
    ['maxSentences', { maxSentences: 0.5 }],
    ['bos', { bos: -1 }],
    ['eos', { eos: Number.NaN }],
    ['appendSourceEos', { appendSourceEos: -2 }],
    ['bucketWidth', { bucketWidth: 0 }],
    ['seed', { seed: -1 }],
  ])('names an option out of range: %s', (name, wrong) => {
    expect(() => new Batches(randomPairs(2), { maxTokens: 100, bos: BOS, eos: EOS, ...wrong })).toThrow(`${name} must be`)
  })

  it('refuses an empty corpus, and a batch that is not there', () => {
    expect(() => new Batches([], { maxTokens: 10, bos: BOS, eos: EOS })).toThrow(DataError)
    const batches = new Batches(randomPairs(3), { maxTokens: 100, bos: BOS, eos: EOS })
    expect(() => batches.epoch(0).at(99)).toThrow('index must be a batch from 0 to')
    expect(() => batches.epoch(-1)).toThrow('index must be')
  })
})

describe('packRagged', () => {
  it('packs nothing, and empty sequences', () => {
    expect(packRagged([])).toEqual({ ids: new Int32Array(0), offsets: new Int32Array(1), lengths: new Int32Array(0) })
    expect(unpack(packRagged([[], [7], []]))).toEqual([[], [7], []])
    expect(unpack(packRagged([[], [7]], { before: 2, after: 3 }))).toEqual([
      [2, 3],
      [2, 7, 3],
    ])
  })
})
