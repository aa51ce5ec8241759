import { DataError } from '../errors.ts'
import { hostCounter, PhiloxStream } from '../random.ts'
import { templates } from './englishChineseTemplates.ts'
import type { Pair } from './pairs.ts'
import { writeTextFile } from './textFile.ts'

export interface CorpusOptions {
  /** Number of pairs altogether, all different. Default 24,000. */
  pairs?: number
  /** How many of them are for validation. Default 500. */
  validation?: number
  /** How many of them are for the test. Default 500. */
  test?: number
  /** Default 0. */
  seed?: number | bigint
}

export interface Corpus {
  train: Pair[]
  validation: Pair[]
  test: Pair[]
}

/**
 * An English–Chinese corpus of our own, made of templates and a lexicon: everyday sentences whose translations need words to move (time and place go before
 * the verb), words that English lacks (measure words, 了, 过, 吗, 很), and words that English has and Chinese lacks (articles, plurals, be, do).
 *
 * Each source occurs once and so has one translation. Several sources may share a translation (did not, didn't); all of these are in the same part, so that no
 * sentence of validation or test, on either side, occurs in another part. The same options give the same corpus on any machine.
 *
 * Throws `DataError` if the numbers make no sense or there are not so many different sentences.
 */
export function englishChinese(options: CorpusOptions = {}): Corpus {
  const { pairs: count = 24_000, validation = 500, test = 500, seed = 0 } = options
  for (const [name, value] of Object.entries({ pairs: count, validation, test })) {
    if (!Number.isSafeInteger(value) || value < 0) throw new DataError(`${name} must be an integer from 0, is ${value}`)
  }
  if (validation + test >= count)
    throw new DataError(`pairs must be more than validation and test together (${validation + test}), is ${count}`)

  const random = new PhiloxStream(seed, hostCounter('corpus'))
  const urn = templates.flatMap(({ template, weight }) => new Array<typeof template>(weight).fill(template))
  const targets = new Map<string, string>()
  const sources = new Map<string, string[]>()
  for (let attempts = 0; targets.size < count; attempts++) {
    if (attempts > 100 * count) throw new DataError(`pairs is ${count}, but only ${targets.size} different sentences were found`)
    const { en, zh } = random.pick(urn)(random)
    const known = targets.get(en)
    if (known === zh) continue
    if (known !== undefined) throw new DataError(`the templates translate ${JSON.stringify(en)} as ${known} and as ${zh}`)
    targets.set(en, zh)
    const same = sources.get(zh)
    if (same === undefined) sources.set(zh, [en])
    else same.push(en)
  }

  // Whole groups of one translation go to one part. A group that is too large for what a part still lacks goes to training.
  const corpus: Corpus = { train: [], validation: [], test: [] }
  for (const target of random.shuffle([...sources.keys()])) {
    const group = (sources.get(target) as string[]).map(source => ({ source, target }))
    if (corpus.test.length + group.length <= test) corpus.test.push(...group)
    else if (corpus.validation.length + group.length <= validation) corpus.validation.push(...group)
    else corpus.train.push(...group)
  }
  random.shuffle(corpus.train)
  return corpus
}

/** Writes `source TAB target` lines as `readPairs` reads them, replacing a file that is there only when the new one is complete. */
export async function writePairs(path: string, pairs: Iterable<Pair>): Promise<void> {
  function* lines() {
    let number = 0
    for (const { source, target } of pairs) {
      number++
      for (const [side, text] of Object.entries({ source, target })) {
        if (/[\t\n\r]/.test(text)) throw new DataError(`the ${side} of pair ${number} has a tab or a line end`, { file: path })
        if (text.trim() === '') throw new DataError(`the ${side} of pair ${number} is empty`, { file: path })
      }
      yield `${source}\t${target}\n`
    }
  }
  await writeTextFile(path, lines())
}
