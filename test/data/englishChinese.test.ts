import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { templates } from '../../lib/data/englishChineseTemplates.ts'
import {
  type Corpus,
  englishChinese,
  loadPairs,
  type Pair,
  trainCharTokenizer,
  trainWordTokenizer,
  writePairs,
} from '../../lib/data/index.ts'
import { DataError } from '../../lib/errors.ts'
import { PhiloxStream } from '../../lib/random.ts'

const all = ({ train, validation, test }: Corpus) => [...train, ...validation, ...test]
const corpus = englishChinese({ pairs: 24_000, validation: 400, test: 600, seed: 3 })

describe('englishChinese', () => {
  it('makes as many different pairs as asked, in three parts', () => {
    expect([corpus.train.length, corpus.validation.length, corpus.test.length]).toEqual([23_000, 400, 600])
    expect(new Set(all(corpus).map(pair => pair.source)).size).toBe(24_000)
  })

  it('can make 40,000', () => {
    expect(new Set(all(englishChinese({ pairs: 40_000, seed: 1 })).map(pair => pair.source)).size).toBe(40_000)
  })

  it('shares no sentence, on either side, between its parts', () => {
    for (const side of ['source', 'target'] as const) {
      const texts = (pairs: Pair[]) => new Set(pairs.map(pair => pair[side]))
      const [train, validation, test] = [texts(corpus.train), texts(corpus.validation), texts(corpus.test)]
      expect([...test].filter(text => train.has(text) || validation.has(text))).toEqual([])
      expect([...validation].filter(text => train.has(text))).toEqual([])
    }
  })

  it('gives a source one translation, over ten times as many sentences as a corpus has', () => {
    const random = new PhiloxStream(8)
    const targets = new Map<string, string>()
    const urn = templates.flatMap(({ template, weight }) => new Array<typeof template>(weight).fill(template))
    for (let i = 0; i < 300_000; i++) {
      const { en, zh } = random.pick(urn)(random)
      const known = targets.get(en)
      if (known !== undefined && known !== zh) expect.fail(`${en} is ${known} and ${zh}`)
      targets.set(en, zh)
    }
    expect(targets.size).toBeGreaterThan(150_000)
  })

  it('is the same for the same seed, and another for another', () => {
    const options = { pairs: 500, validation: 20, test: 20 }
    expect(englishChinese({ ...options, seed: 7 })).toEqual(englishChinese({ ...options, seed: 7 }))
    expect(englishChinese({ ...options, seed: 8 })).not.toEqual(englishChinese({ ...options, seed: 7 }))
  })

  it('makes well-formed sentences', () => {
    for (const { source, target } of all(corpus)) {
      if (!/^[A-Z][A-Za-z', -]*[.?]$/.test(source) || / {2}| [.,?]|undefined/.test(source)) expect.fail(source)
      if (!/^[\p{Script=Han}，]+[。？]$/u.test(target)) expect.fail(target)
      if (source.endsWith('?') !== target.endsWith('？')) expect.fail(`${source} ${target}`)
      if (/\ba [aeio]|\ban [^aeiou]/.test(source)) expect.fail(source)
      // 二 is never the number before a measure word, and 没 goes with 有 and 过, not with 了.
      if (/二[本只个张件辆]|没.*了。/.test(target)) expect.fail(target)
    }
  })

  it('uses every template and every kind of grammar', () => {
    const targets = corpus.train.map(pair => pair.target).join('')
    for (const mark of [
      '了',
      '正在',
      '会',
      '没有',
      '过',
      '很',
      '非常',
      '太',
      '吗？',
      '什么',
      '在哪里',
      '为什么',
      '怎么',
      '谁',
      '几',
      '不',
      '因为',
      '所以',
      '虽然',
      '但是',
      '如果',
      '比',
      '一样',
      '得多',
      '本',
      '只',
      '个',
      '张',
      '件',
      '辆',
      '两',
    ]) {
      expect(targets.split(mark).length, mark).toBeGreaterThan(50)
    }
    for (const { template } of templates) {
      const random = new PhiloxStream(1)
      expect(new Set(Array.from({ length: 500 }, () => template(random).en)).size, template.name).toBeGreaterThan(150)
    }
  })

  it('has a small vocabulary, all of it in training often enough to be learnt', async () => {
    const sides = [
      await trainWordTokenizer(
        corpus.train.map(pair => pair.source),
        { lowercase: true },
      ),
      await trainCharTokenizer(corpus.train.map(pair => pair.target)),
    ]
    for (const [i, tokenizer] of sides.entries()) {
      expect(tokenizer.vocabSize).toBeLessThan(600)
      for (const pair of [...corpus.validation, ...corpus.test])
        expect(tokenizer.encode(i === 0 ? pair.source : pair.target)).not.toContain(tokenizer.special.unk)
    }
  })

  it.each([
    [{ pairs: 1.5 }, 'pairs must be an integer from 0, is 1.5'],
    [{ test: -1 }, 'test must be an integer from 0, is -1'],
    [{ pairs: 1000 }, 'pairs must be more than validation and test together (1000), is 1000'],
  ])('names what makes no sense: %j', (options, message) => {
    expect(() => englishChinese(options)).toThrow(DataError)
    expect(() => englishChinese(options)).toThrow(message)
  })
})

describe('writePairs', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tilewise-corpus-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('writes what readPairs reads', async () => {
    const path = join(folder, 'pairs.tsv')
    await writePairs(path, corpus.train)
    expect(await loadPairs(path)).toEqual(corpus.train)
  })

  it('refuses a pair that would not be read again, and leaves the file as it was', async () => {
    const path = join(folder, 'kept.tsv')
    await writePairs(path, [{ source: 'a', target: 'b' }])
    const wrong = (pair: Pair) => writePairs(path, [{ source: 'c', target: 'd' }, pair])
    await expect(wrong({ source: 'x\ty', target: 'z' })).rejects.toThrow(`${path}: the source of pair 2 has a tab or a line end`)
    await expect(wrong({ source: 'x', target: 'y\nz' })).rejects.toThrow('the target of pair 2 has a tab or a line end')
    await expect(wrong({ source: 'x', target: ' ' })).rejects.toThrow('the target of pair 2 is empty')
    expect(await readFile(path, 'utf8')).toBe('a\tb\n')
    expect((await readdir(folder)).filter(name => name.endsWith('.tmp'))).toEqual([])
  })
})
