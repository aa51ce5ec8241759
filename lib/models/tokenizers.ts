import { trainCharTokenizer } from '../data/charTokenizer.ts'
import type { Pair } from '../data/pairs.ts'
import type { Tokenizer } from '../data/tokenizer.ts'
import type { VocabularyOptions } from '../data/wordLevel.ts'
import { trainWordTokenizer } from '../data/wordTokenizer.ts'
import { ArgumentError } from '../errors.ts'

/** `auto` takes characters for text written without spaces between words, words for other text. */
export type TokenizerKind = 'word' | 'char' | 'auto'

export interface TranslatorTokenizerOptions extends VocabularyOptions {
  /** Default `auto`. */
  source?: TokenizerKind
  /** Default `auto`. */
  target?: TokenizerKind
  /** One vocabulary for both sides. Default false. */
  shared?: boolean
}

const trainers = { word: trainWordTokenizer, char: trainCharTokenizer }
const unspaced = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/gu

/** Whether most letters of the texts belong to a script without spaces between words. Looks at the first texts only. */
export function isUnspaced(texts: readonly string[]): boolean {
  const text = texts.slice(0, 1000).join('')
  const letters = text.match(/\p{L}/gu)?.length ?? 0
  return (text.match(unspaced)?.length ?? 0) * 2 > letters
}

/** Trains the tokenizers of both sides; with `shared` it is one for both. Throws `DataError` for limits that leave no token. */
export async function trainTokenizers(
  pairs: readonly Pair[],
  options: TranslatorTokenizerOptions = {},
): Promise<{ source: Tokenizer; target: Tokenizer; kinds: { source: 'word' | 'char'; target: 'word' | 'char' } }> {
  const { source: sourceKind = 'auto', target: targetKind = 'auto', shared = false, ...vocabulary } = options
  const sources = pairs.map(pair => pair.source)
  const targets = pairs.map(pair => pair.target)
  const choose = (kind: TokenizerKind, texts: readonly string[]) => (kind !== 'auto' ? kind : isUnspaced(texts) ? 'char' : 'word')
  const kinds = { source: choose(sourceKind, sources), target: choose(targetKind, targets) }
  if (shared) {
    if (kinds.source !== kinds.target)
      throw new ArgumentError(
        `[trainTokenizers] a shared vocabulary needs one kind of tokenizer for both sides, is ${kinds.source} for the source and ${kinds.target} for the target`,
      )
    const both = await trainers[kinds.source]([...sources, ...targets], vocabulary)
    return { source: both, target: both, kinds }
  }
  return { source: await trainers[kinds.source](sources, vocabulary), target: await trainers[kinds.target](targets, vocabulary), kinds }
}
