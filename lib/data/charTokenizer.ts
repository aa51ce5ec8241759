import type { Tokenizer } from './tokenizer.ts'
import { type Cutting, trainWordLevel, type VocabularyOptions } from './wordLevel.ts'

/** Every code point is a token, spaces and line ends too (`.` leaves out the line feed only); decoding joins them as they are. */
const characters: Cutting = {
  preTokenizer: { type: 'Split', pattern: { Regex: '.|\\n' }, behavior: 'Isolated', invert: false },
  decoder: { type: 'Fuse' },
}

/**
 * Makes a character tokenizer: one token a code point. Text whose characters are all in the vocabulary comes back from `decode(encode(text))` as it was
 * (after normalization). Suits Chinese, and small vocabularies of any language.
 *
 * Throws `DataError` for empty training texts, special tokens given twice, and limits that leave no token.
 */
export function trainCharTokenizer(texts: Iterable<string> | AsyncIterable<string>, options: VocabularyOptions = {}): Promise<Tokenizer> {
  return trainWordLevel(texts, characters, options)
}
