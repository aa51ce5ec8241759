import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  Batches,
  corpusBleu,
  englishChinese,
  exactMatch,
  loadPairs,
  Tokenizer,
  trainCharTokenizer,
  trainWordTokenizer,
  writePairs,
} from '../../lib/data/index.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tilewise-pipeline-'))
})
afterAll(() => rm(folder, { recursive: true }))

it('goes from a file through tokenizers and batches back to the texts, with nothing lost', async () => {
  const path = join(folder, 'pairs.tsv')
  await writePairs(path, englishChinese({ pairs: 3000, validation: 10, test: 10 }).train)
  const pairs = await loadPairs(path)
  await (await trainWordTokenizer(pairs.map(pair => pair.source))).save(join(folder, 'source.json'))
  await (await trainCharTokenizer(pairs.map(pair => pair.target))).save(join(folder, 'target.json'))
  const source = await Tokenizer.load(join(folder, 'source.json'))
  const target = await Tokenizer.load(join(folder, 'target.json'))
  const ids = pairs.map(pair => ({ source: source.encode(pair.source), target: target.encode(pair.target) }))
  const batches = new Batches(ids, {
    maxTokens: 1000,
    bos: target.specialId('bos'),
    eos: target.specialId('eos'),
    appendSourceEos: source.specialId('eos'),
  })

  const sources = new Array<string>(pairs.length)
  const targets = new Array<string>(pairs.length)
  for (const batch of batches.epoch(0)) {
    for (const [i, pair] of batch.pairs.entries()) {
      sources[pair] = source.decode(batch.source.ids.subarray(batch.source.offsets[i], batch.source.offsets[i + 1]))
      targets[pair] = target.decode(batch.labels.subarray(batch.target.offsets[i], batch.target.offsets[i + 1]))
    }
  }
  expect(sources).toEqual(pairs.map(pair => pair.source))
  const references = pairs.map(pair => pair.target)
  expect(exactMatch(targets, references)).toBe(1)
  expect(corpusBleu(targets, references, { tokenize: 'zh' }).score).toBeCloseTo(100, 10)
})
