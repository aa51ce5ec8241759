import type { TokenizedPair } from '../data/batches.ts'
import type { Pair } from '../data/pairs.ts'
import { DataError } from '../errors.ts'
import type { Translator } from './translator.ts'

/** Ids of all pairs but those of which a side has more tokens than the model takes. Throws `DataError` if that is every one. */
export function tokenizePairs(translator: Translator, pairs: readonly Pair[]): { tokenized: TokenizedPair[]; dropped: number } {
  const { maxLength, appendSourceEos } = translator.config
  const all = pairs.map(({ source, target }) => ({ source: translator.source.encode(source), target: translator.target.encode(target) }))
  const tokenized = all.filter(
    ({ source, target }) => source.length + Number(appendSourceEos) <= maxLength && target.length + 1 <= maxLength,
  )
  if (pairs.length > 0 && tokenized.length === 0)
    throw new DataError(`all ${pairs.length} pairs have a side with more tokens than the model takes (${maxLength})`)
  return { tokenized, dropped: all.length - tokenized.length }
}
