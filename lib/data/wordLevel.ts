import { DataError } from '../errors.ts'
import { Tokenizer } from './tokenizer.ts'
import type { Component, TokenizerFile } from './tokenizerFile.ts'

/** Texts of the special tokens. Their ids are 0, 1, 2, 3 in this order, then those of `additional`. */
export interface SpecialTokens {
  /** Default `<pad>`. */
  pad?: string
  /** Default `<unk>`. */
  unk?: string
  /** Begin of sentence, default `<s>`. */
  bos?: string
  /** End of sentence, default `</s>`. */
  eos?: string
  /** More special tokens, default none. */
  additional?: readonly string[]
}

/** Options that every trained vocabulary has. */
export interface VocabularyOptions {
  /** Tokens seen less often are left out (and encode as unknown). Default 1. */
  minFrequency?: number
  /** Largest size of the vocabulary, special tokens included; the most frequent tokens stay. Default no limit. */
  maxVocab?: number
  specialTokens?: SpecialTokens
  /** Fold letters to lower case before anything else. Default false. */
  lowercase?: boolean
  /** Unicode normalization before anything else. Default `NFC`: characters that look the same are the same; full-width punctuation stays itself. */
  normalization?: 'NFC' | 'NFKC' | 'none'
}

/** How text is cut, and how tokens are joined again. */
export interface Cutting {
  preTokenizer: Component
  decoder: Component
}

/**
 * Counts the tokens of `texts` and makes a tokenizer with a vocabulary of whole tokens (Hugging Face's `WordLevel`). The cutting is done by the library
 * that will encode, so training and encoding cannot differ. Order of ids: special tokens, then by falling frequency, equal ones by code unit.
 */
export async function trainWordLevel(
  texts: Iterable<string> | AsyncIterable<string>,
  cutting: Cutting,
  options: VocabularyOptions = {},
): Promise<Tokenizer> {
  const { minFrequency = 1, maxVocab = Number.POSITIVE_INFINITY } = options
  if (!(Number.isInteger(minFrequency) && minFrequency >= 1))
    throw new DataError(`minFrequency must be an integer from 1, is ${minFrequency}`)
  const special = specialTokens(options.specialTokens)
  if (!(maxVocab === Number.POSITIVE_INFINITY || Number.isInteger(maxVocab)) || maxVocab <= special.all.length) {
    throw new DataError(`maxVocab must be an integer above the number of special tokens (${special.all.length}), is ${maxVocab}`)
  }

  const cutter = new Tokenizer(JSON.stringify(tokenizerFile(special, [], cutting, options)))
  const counts = new Map<string, number>()
  for await (const text of texts) {
    for (const token of cutter.tokenize(text)) counts.set(token, (counts.get(token) ?? 0) + 1)
  }
  for (const token of special.all) counts.delete(token)
  if (counts.size === 0) throw new DataError('the training texts are empty: there is nothing to make a vocabulary of')

  const tokens = [...counts].filter(([, count]) => count >= minFrequency).sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
  if (tokens.length === 0) throw new DataError(`no token of the training texts occurs ${minFrequency} times (minFrequency)`)
  const kept = tokens.slice(0, maxVocab - special.all.length).map(([token]) => token)
  return new Tokenizer(JSON.stringify(tokenizerFile(special, kept, cutting, options)))
}

interface CheckedSpecialTokens {
  pad: string
  unk: string
  bos: string
  eos: string
  all: string[]
}

function specialTokens(names: SpecialTokens = {}): CheckedSpecialTokens {
  const { pad = '<pad>', unk = '<unk>', bos = '<s>', eos = '</s>', additional = [] } = names
  const all = [pad, unk, bos, eos, ...additional]
  for (const [i, token] of all.entries()) {
    if (token === '') throw new DataError('a special token must not be empty')
    if (all.indexOf(token) !== i) throw new DataError(`the special token ${JSON.stringify(token)} is given twice`)
  }
  return { pad, unk, bos, eos, all }
}

function tokenizerFile(
  special: CheckedSpecialTokens,
  tokens: readonly string[],
  cutting: Cutting,
  options: VocabularyOptions,
): TokenizerFile {
  const { normalization = 'NFC', lowercase = false } = options
  const normalizers: Component[] = []
  if (normalization !== 'none') normalizers.push({ type: normalization })
  if (lowercase) normalizers.push({ type: 'Lowercase' })
  const all = [...special.all, ...tokens]
  const id = (token: string) => all.indexOf(token)
  const item = (token: string, typeId = 0) => ({ SpecialToken: { id: token, type_id: typeId } })
  const entry = (token: string) => ({ id: token, ids: [id(token)], tokens: [token] })
  return {
    version: '1.0',
    truncation: null,
    // Also says which token pads. Readers that pad do so in batches only, to the longest text.
    padding: {
      strategy: 'BatchLongest',
      direction: 'Right',
      pad_to_multiple_of: null,
      pad_id: id(special.pad),
      pad_type_id: 0,
      pad_token: special.pad,
    } as unknown as Component,
    added_tokens: special.all.map(content => ({
      id: id(content),
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: normalizers.length === 0 ? null : { type: 'Sequence', normalizers },
    pre_tokenizer: cutting.preTokenizer,
    post_processor: {
      type: 'TemplateProcessing',
      single: [item(special.bos), { Sequence: { id: 'A', type_id: 0 } }, item(special.eos)],
      pair: [
        item(special.bos),
        { Sequence: { id: 'A', type_id: 0 } },
        item(special.eos),
        { Sequence: { id: 'B', type_id: 1 } },
        item(special.eos, 1),
      ],
      special_tokens: Object.fromEntries([special.bos, special.eos].map(token => [token, entry(token)])),
    },
    decoder: cutting.decoder,
    // fromEntries makes own properties, also of a token called __proto__.
    model: { type: 'WordLevel', vocab: Object.fromEntries(all.map((token, i) => [token, i])), unk_token: special.unk },
  }
}
