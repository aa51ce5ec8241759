import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { type BleuOptions, corpusBleu, exactMatch, formatBleu } from '../../lib/data/bleu.ts'
import { DataError } from '../../lib/errors.ts'

interface Row {
  corpus: string
  options: BleuOptions
  score: number
  counts: number[]
  totals: number[]
  precisions: number[]
  brevityPenalty: number
  hypothesisLength: number
  referenceLength: number
  line: string
  signature: string
}

/** Made by scripts/fixtures/bleu.py. */
const golden = JSON.parse(readFileSync(new URL('../fixtures/bleu.json', import.meta.url), 'utf8')) as {
  sacrebleu: string
  corpora: Record<string, { hypotheses: string[]; references: string[][] }>
  rows: Row[]
}

describe(`corpusBleu against sacrebleu ${golden.sacrebleu}`, () => {
  it.each(Object.keys(golden.corpora))('%s', corpus => {
    const { hypotheses, references } = golden.corpora[corpus]!
    const rows = golden.rows.filter(row => row.corpus === corpus)
    expect(rows.length).toBe(48)
    for (const { options, line, signature, ...row } of rows) {
      const bleu = corpusBleu(hypotheses, references, options)
      const context = JSON.stringify(options)
      expect(bleu.counts, context).toEqual(row.counts)
      expect(bleu.totals, context).toEqual(row.totals)
      expect(bleu.hypothesisLength, context).toBe(row.hypothesisLength)
      expect(bleu.referenceLength, context).toBe(row.referenceLength)
      expect(bleu.brevityPenalty, context).toBeCloseTo(row.brevityPenalty, 12)
      expect(bleu.score, context).toBeCloseTo(row.score, 10)
      for (const [n, precision] of row.precisions.entries()) expect(bleu.precisions[n], context).toBeCloseTo(precision, 10)
      expect(formatBleu(bleu), context).toBe(line)
      expect(bleu.signature, context).toBe(signature.replace(/version:.*/, 'version:tilewise'))
    }
  })
})

describe('corpusBleu', () => {
  it('takes one text for each hypothesis as a single stream of references', () => {
    expect(corpusBleu(['a b c d e'], ['a b c d e']).score).toBeCloseTo(100, 10)
    expect(corpusBleu(['a b c d e'], ['a b c d e'])).toEqual(corpusBleu(['a b c d e'], [['a b c d e']]))
  })

  it('says what is missing', () => {
    expect(() => corpusBleu([], [])).toThrow(DataError)
    expect(() => corpusBleu(['a'], [])).toThrow('there are no references')
    expect(() => corpusBleu(['a', 'b'], ['a'])).toThrow('there are 2 hypotheses, but 1 references (references[0])')
    expect(() => corpusBleu(['a'], [['a'], []])).toThrow('but 0 references (references[1])')
  })
})

describe('exactMatch', () => {
  it('counts equal texts', () => {
    expect(exactMatch(['a', 'b ', 'c', 'D'], ['a', ' b', 'x', 'd'])).toBe(0.5)
    expect(() => exactMatch([], [])).toThrow('there are no hypotheses')
    expect(() => exactMatch(['a'], [])).toThrow('there are 1 hypotheses, but 0 references')
  })
})
