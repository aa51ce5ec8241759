import type { Pair } from '../data/pairs.ts'
import { ArgumentError } from '../errors.ts'
import { hostCounter, PhiloxStream } from '../random.ts'

/**
 * Takes about `fraction` of the pairs for validation, drawn by `seed`. Pairs with one source stay together, so that no validation source is trained on.
 * At least one pair goes to each part; the order of the pairs is kept.
 *
 * Throws ArgumentError for a fraction outside (0, 1), or pairs that have one source only.
 */
export function splitPairs(pairs: readonly Pair[], fraction: number, seed: number | bigint = 0): { train: Pair[]; validation: Pair[] } {
  if (!(fraction > 0 && fraction < 1)) throw new ArgumentError(`[splitPairs] fraction must be above 0 and below 1, is ${fraction}`)
  const sources = [...new Set(pairs.map(pair => pair.source))]
  if (sources.length < 2) throw new ArgumentError(`[splitPairs] pairs must have at least two different sources, have ${sources.length}`)
  const count = Math.min(Math.max(Math.round(sources.length * fraction), 1), sources.length - 1)
  const chosen = new Set(new PhiloxStream(seed, hostCounter('user')).shuffle(sources).slice(0, count))
  return { train: pairs.filter(pair => !chosen.has(pair.source)), validation: pairs.filter(pair => chosen.has(pair.source)) }
}
