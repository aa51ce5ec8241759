import { DataError } from '../errors.ts'

/** How text is cut into words before n-grams are counted, as sacrebleu names them. `zh` for Chinese targets. */
export type BleuTokenizer = '13a' | 'zh' | 'char' | 'none'
export type BleuSmoothing = 'exp' | 'none' | 'floor' | 'add-k'

export interface BleuOptions {
  /** Default `13a` (mteval-v13a, as WMT uses it). */
  tokenize?: BleuTokenizer
  /** Default `exp`. */
  smoothing?: BleuSmoothing
  /** Value of `floor` (default 0.1) and of `add-k` (default 1). */
  smoothingValue?: number
  /** Default false. */
  lowercase?: boolean
  /** Leave out orders of which the hypotheses have no n-gram; for single sentences. Default false. */
  effectiveOrder?: boolean
}

export interface BleuScore {
  /** 0 to 100. */
  score: number
  /** Matched and all n-grams of the hypotheses, and their ratio in percent, n = 1 to 4. */
  counts: number[]
  totals: number[]
  precisions: number[]
  brevityPenalty: number
  hypothesisLength: number
  referenceLength: number
  /** What was computed, in sacrebleu's notation, so that scores can be compared. */
  signature: string
}

const ORDER = 4

/**
 * Corpus BLEU (Papineni et al., 2002), equal to sacrebleu 2.6.0 with the same options.
 *
 * `references` has one text for each hypothesis, or several streams of references: `references[r][i]` is the r-th one of `hypotheses[i]`.
 * Throws `DataError` if the numbers of texts differ or there are none.
 */
export function corpusBleu(
  hypotheses: readonly string[],
  references: readonly string[] | readonly (readonly string[])[],
  options: BleuOptions = {},
): BleuScore {
  const { tokenize = '13a', smoothing = 'exp', lowercase = false, effectiveOrder = false } = options
  const streams = typeof references[0] === 'string' ? [references as readonly string[]] : (references as readonly (readonly string[])[])
  if (hypotheses.length === 0) throw new DataError('there are no hypotheses to score')
  if (streams.length === 0) throw new DataError('there are no references to score against')
  for (const [r, stream] of streams.entries()) {
    if (stream.length !== hypotheses.length)
      throw new DataError(`there are ${hypotheses.length} hypotheses, but ${stream.length} references (references[${r}])`)
  }
  const cut = tokenizers[tokenize]
  const words = (text: string) => split(cut((lowercase ? text.toLowerCase() : text).replace(trailing, '')))

  const counts = new Array<number>(ORDER).fill(0)
  const totals = new Array<number>(ORDER).fill(0)
  let hypothesisLength = 0
  let referenceLength = 0
  for (const [i, hypothesis] of hypotheses.entries()) {
    const found = words(hypothesis)
    const expected = streams.map(stream => words(stream[i] as string))
    hypothesisLength += found.length
    referenceLength += closest(found.length, expected)
    for (let n = 1; n <= ORDER; n++) {
      const limits = new Map<string, number>()
      for (const reference of expected) {
        for (const [gram, count] of grams(reference, n)) limits.set(gram, Math.max(limits.get(gram) ?? 0, count))
      }
      for (const [gram, count] of grams(found, n)) {
        totals[n - 1]! += count
        counts[n - 1]! += Math.min(count, limits.get(gram) ?? 0)
      }
    }
  }
  const defaults: Record<BleuSmoothing, number | undefined> = { exp: undefined, none: undefined, floor: 0.1, 'add-k': 1 }
  const value = options.smoothingValue ?? defaults[smoothing] ?? 0
  const smoothed = defaults[smoothing] === undefined ? smoothing : `${smoothing}[${value.toFixed(2)}]`
  const signature = `nrefs:${streams.length}|case:${lowercase ? 'lc' : 'mixed'}|eff:${effectiveOrder ? 'yes' : 'no'}|tok:${tokenize}|smooth:${smoothed}|version:tilewise`
  return {
    ...combine(counts, totals, hypothesisLength, referenceLength, smoothing, value, effectiveOrder),
    hypothesisLength,
    referenceLength,
    signature,
  }
}

function combine(
  matched: number[],
  all: number[],
  hypothesisLength: number,
  referenceLength: number,
  smoothing: BleuSmoothing,
  value: number,
  effectiveOrder: boolean,
) {
  const counts = [...matched]
  const totals = [...all]
  const precisions = new Array<number>(ORDER).fill(0)
  let brevityPenalty = 1
  if (hypothesisLength < referenceLength) brevityPenalty = hypothesisLength > 0 ? Math.exp(1 - referenceLength / hypothesisLength) : 0
  if (!counts.some(count => count > 0)) return { score: 0, counts, totals, precisions, brevityPenalty }
  let halving = 1
  let order = ORDER
  for (let n = 0; n < ORDER; n++) {
    if (smoothing === 'add-k' && n > 0) {
      counts[n]! += value
      totals[n]! += value
    }
    if (totals[n] === 0) break
    if (effectiveOrder) order = n + 1
    if (counts[n]! > 0) precisions[n] = (100 * counts[n]!) / totals[n]!
    else if (smoothing === 'exp') {
      halving *= 2
      precisions[n] = 100 / (halving * totals[n]!)
    } else if (smoothing === 'floor') precisions[n] = (100 * value) / totals[n]!
  }
  // A precision of 0 has logarithm -∞ and makes the score 0.
  const mean = precisions.slice(0, order).reduce((sum, precision) => sum + Math.log(precision), 0) / order
  return { score: brevityPenalty * Math.exp(mean), counts, totals, precisions, brevityPenalty }
}

/** One line as sacrebleu prints it. */
export function formatBleu(bleu: BleuScore): string {
  const { score, precisions, brevityPenalty, hypothesisLength, referenceLength } = bleu
  const ratio = referenceLength === 0 ? 0 : hypothesisLength / referenceLength
  const orders = precisions.map(precision => fixed(precision, 1)).join('/')
  return `BLEU = ${fixed(score, 2)} ${orders} (BP = ${fixed(brevityPenalty, 3)} ratio = ${fixed(ratio, 3)} hyp_len = ${hypothesisLength} ref_len = ${referenceLength})`
}

/** Rounds as Python does: a value exactly between two goes to the even digit (6.25 to 6.2), where toFixed goes up. */
function fixed(value: number, digits: number): string {
  const exact = value.toFixed(digits + 60) // all the digits that a number of this size has
  const tie = /^50*$/.test(exact.slice(-60))
  const even = '02468'.includes(exact.at(-61) as string)
  return tie && even ? exact.slice(0, -60) : value.toFixed(digits)
}

/** Share of hypotheses that are equal to their reference, 0 to 1; spaces around are not looked at. Throws `DataError` if the numbers of texts differ or are 0. */
export function exactMatch(hypotheses: readonly string[], references: readonly string[]): number {
  if (hypotheses.length === 0) throw new DataError('there are no hypotheses to score')
  if (references.length !== hypotheses.length)
    throw new DataError(`there are ${hypotheses.length} hypotheses, but ${references.length} references`)
  return hypotheses.filter((text, i) => text.trim() === (references[i] as string).trim()).length / hypotheses.length
}

/** Length of the reference whose length is nearest, the shorter of two equally near. */
function closest(length: number, references: readonly string[][]): number {
  let best = -1
  for (const { length: other } of references) {
    const nearer = Math.abs(other - length) - Math.abs(best - length)
    if (best < 0 || nearer < 0 || (nearer === 0 && other < best)) best = other
  }
  return best
}

function grams(words: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>()
  for (let i = 0; i + n <= words.length; i++) {
    const gram = words.slice(i, i + n).join(' ')
    counts.set(gram, (counts.get(gram) ?? 0) + 1)
  }
  return counts
}

// What Python's str.split and str.rstrip take for space: unlike JavaScript's \s, the separators 1C to 1F and the next-line character, and not FEFF.
const space = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'
const trailing = new RegExp(`[${space}]+$`, 'u')
const leading = new RegExp(`^[${space}]+`, 'u')
const spaces = new RegExp(`[${space}]+`, 'u')
const split = (text: string) => text.split(spaces).filter(word => word !== '')

/** The rules that `13a` and `zh` share: punctuation stands apart, points and commas stay inside numbers. */
function separate(text: string): string {
  return text
    .replace(/([{-~[-` -&(-+:-@/])/gu, ' $1 ')
    .replace(/([^0-9])([.,])/gu, '$1 $2 ')
    .replace(/([.,])([^0-9])/gu, ' $1 $2')
    .replace(/([0-9])(-)/gu, '$1 $2 ')
}

// The ranges of sacrebleu's tokenizer_zh. Two of them are not what its comments say: '\u20000'–'\u2a6d6' and '\u2f800'–'\u2fa1d' are two-character texts in
// Python, so that single characters from 2001 to 2A6D and from 2F81 to 2FA1 fall between them, and the supplementary planes do not.
const ideograph =
  /[\u3400-\u4db5\u4e00-\u9fa5\u9fa6-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\u2001-\u2a6d\u2f81-\u2fa1\uff00-\uffef\u2e80-\u2eff\u3000-\u303f\u31c0-\u31ef\u2f00-\u2fdf\u2ff0-\u2fff\u3100-\u312f\u31a0-\u31bf\ufe10-\ufe1f\ufe30-\ufe4f\u2600-\u26ff\u2700-\u27bf\u3200-\u32ff\u3300-\u33ff]/gu

const tokenizers: Record<BleuTokenizer, (text: string) => string> = {
  none: text => text,
  char: text => Array.from(text).join(' '),
  '13a': text => {
    let line = text.replaceAll('<skipped>', '').replaceAll('-\n', '').replaceAll('\n', ' ')
    line = line.replaceAll('&quot;', '"').replaceAll('&amp;', '&').replaceAll('&lt;', '<').replaceAll('&gt;', '>')
    return separate(` ${line} `)
  },
  zh: text => separate(text.replace(trailing, '').replace(leading, '').replace(ideograph, ' $& ')),
}
