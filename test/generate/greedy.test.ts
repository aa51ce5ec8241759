import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { packRagged } from '../../lib/data/batches.ts'
import { ArgumentError } from '../../lib/errors.ts'
import { greedy } from '../../lib/generate/greedy.ts'
import { device, seed } from '../../lib/index.ts'
import { Transformer, type TransformerOptions } from '../../lib/nn/index.ts'

const cpu = device('cpu', { threads: 1 })
const BOS = 0
const EOS = 1
const made: Transformer[] = []
afterAll(() => {
  for (const model of made) model.dispose()
})

/** An untrained model: what it says is nonsense, but depends on all that it reads. */
function newModel(options: Partial<TransformerOptions> = {}): Transformer {
  seed(11)
  const size = { dModel: 32, numHeads: 4, numEncoderLayers: 2, numDecoderLayers: 2, dFeedForward: 64, dropout: 0.1 }
  const model = new Transformer({ ...size, sourceVocab: 20, targetVocab: 9, ...options }, { device: cpu }).eval() as Transformer
  made.push(model)
  return model
}

const sentences = fc.array(fc.array(fc.integer({ min: 2, max: 19 }), { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 9 })

describe('greedy', () => {
  it.each([
    ['post-norm', newModel()],
    ['pre-norm, tied', newModel({ norm: 'pre', tieEmbeddings: 'target-output' })],
    ['learned positions, one key head for all', newModel({ positions: 'learned', maxLength: 40, numKVHeads: 1 })],
    ['no positions, RMSNorm, gated', newModel({ positions: 'none', normKind: 'rms', gated: true, activation: 'silu' })],
  ])('gives the same tokens with the cache as without (%s)', async (_, model) => {
    await fc.assert(
      fc.asyncProperty(sentences, fc.integer({ min: 1, max: 25 }), async (sources, maxLengths) => {
        const options = { bos: BOS, eos: EOS, maxLengths }
        const cached = await greedy(model, packRagged(sources), options)
        expect(cached).toEqual(await greedy(model, packRagged(sources), { ...options, cache: false }))
        for (const output of cached) {
          expect(output).not.toContain(EOS)
          expect(output.length).toBeLessThanOrEqual(maxLengths)
        }
      }),
      { numRuns: 12 },
    )
  })

  it('does not depend on which sentences are decoded together', async () => {
    const model = newModel()
    const sources = fc.sample(sentences, { numRuns: 6, seed: 4 }).flat()
    const options = { bos: BOS, eos: EOS, maxLengths: 20 }
    const together = await greedy(model, packRagged(sources), options)
    for (const [i, source] of sources.entries()) expect(await greedy(model, packRagged([source]), options)).toEqual([together[i]])
    expect(new Set(together.map(String)).size).toBeGreaterThan(1)
  })

  it('ends each sentence at its own length', async () => {
    const model = newModel()
    const maxLengths = [3, 0, 7, 1, 20, 2]
    const source = packRagged(maxLengths.map((_, i) => [2 + i, 3 + i]))
    // An end that no id is: every sentence runs to its length.
    const outputs = await greedy(model, source, { bos: BOS, eos: -1, maxLengths })
    expect(outputs.map(output => output.length)).toEqual(maxLengths)
    const longest = await greedy(model, source, { bos: BOS, eos: -1, maxLengths: 20 })
    for (const [i, output] of outputs.entries()) expect(longest[i]!.slice(0, output.length)).toEqual(output)
  })

  it('stops before the end-of-sentence token', async () => {
    const model = newModel()
    const source = packRagged([[2, 3, 4], [5], [6, 7, 8, 9]])
    const free = await greedy(model, source, { bos: BOS, eos: -1, maxLengths: 20 })
    // Whatever the first sentence says third is the end now.
    const eos = free[0]![2]!
    const outputs = await greedy(model, source, { bos: BOS, eos, maxLengths: 20 })
    for (const [i, output] of outputs.entries()) {
      const end = free[i]!.indexOf(eos)
      expect(output).toEqual(end < 0 ? free[i] : free[i]!.slice(0, end))
    }
  })

  it('frees what it makes', async () => {
    const model = newModel()
    const source = packRagged([[2, 3], [4]])
    for (const cache of [true, false]) {
      await greedy(model, source, { bos: BOS, eos: EOS, maxLengths: 9, cache })
      await cpu.synchronize()
      const before = cpu.memory().live
      for (let i = 0; i < 3; i++) await greedy(model, source, { bos: BOS, eos: EOS, maxLengths: 9, cache })
      await expect(greedy(model, source, { bos: BOS, eos: EOS, maxLengths: 9, cache, signal: AbortSignal.abort() })).rejects.toThrow(
        'abort',
      )
      await cpu.synchronize()
      expect(cpu.memory().live).toBe(before)
    }
  })

  it('takes no sentences, and refuses what makes no sense', async () => {
    const model = newModel()
    expect(await greedy(model, packRagged([]), { bos: BOS, eos: EOS, maxLengths: 5 })).toEqual([])
    expect(await greedy(model, packRagged([[2]]), { bos: BOS, eos: EOS, maxLengths: 0 })).toEqual([[]])
    for (const maxLengths of [[1, 2], -1, 1.5])
      await expect(greedy(model, packRagged([[2]]), { bos: BOS, eos: EOS, maxLengths })).rejects.toThrow(ArgumentError)
  })
})
