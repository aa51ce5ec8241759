import type { Tokenizer } from './tokenizer.ts'
import { type Cutting, trainWordLevel, type VocabularyOptions } from './wordLevel.ts'

// Patterns in the common part of Oniguruma's (Hugging Face's Rust library) and JavaScript's syntax.

/** Scripts written without spaces between words, where a "word" is one character. */
const unspaced = '\\p{Han}\\p{Hiragana}\\p{Katakana}\u30fc'
/** The same and their punctuation: these touch their neighbours. */
const touching = `${unspaced}\u3001-\u3003\u3008-\u3011\u3014-\u301b\u301d-\u301f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\u2026`

const letter = `(?![${unspaced}])[\\p{L}\\p{M}]`
/** Apostrophes and hyphens inside a word belong to it (don't, well-known), points and commas inside a number too (3.5, 1,000). */
const word = `(?:${letter})+(?:['\u2019-](?:${letter})+)*`
const number = '\\p{N}+(?:[.,]\\p{N}+)*'
const token = `[${unspaced}]\\p{M}*|${word}|${number}|[^\\s]`

const closing = ".,!?;:%\u2019'\\p{Pe}\\p{Pf}"
const opening = '$\u00a3\u00a5\u20ac#@\u00bf\u00a1\\p{Ps}\\p{Pi}'

const words: Cutting = {
  preTokenizer: { type: 'Split', pattern: { Regex: token }, behavior: 'Removed', invert: true },
  decoder: {
    type: 'Sequence',
    decoders: [
      // Joins by single spaces; no token starts with a space, so the prefix never applies.
      { type: 'WordPiece', prefix: ' ', cleanup: false },
      { type: 'Fuse' },
      { type: 'Replace', pattern: { Regex: ` (?=[${closing}])|(?<=[${opening}]) |(?<=[${touching}]) | (?=[${touching}])` }, content: '' },
    ],
  },
}

/**
 * Makes a word tokenizer: words, numbers and single punctuation marks; each Chinese or Japanese character by itself.
 *
 * Decoding puts one space between tokens, none before closing punctuation and after opening punctuation, none beside Chinese or Japanese characters.
 * Spaces around a mark that both opens and closes (`"`, `-`, `/`) cannot be known, and are always put.
 *
 * Throws `DataError` for empty training texts, special tokens given twice, and limits that leave no token.
 */
export function trainWordTokenizer(texts: Iterable<string> | AsyncIterable<string>, options: VocabularyOptions = {}): Promise<Tokenizer> {
  return trainWordLevel(texts, words, options)
}
