/**
 * `tilewise/data`: from text files to batches of ids, and from translations to scores. Knows nothing of tensors or devices.
 *
 *     const pairs = await loadPairs('pairs.tsv')
 *     const source = await trainWordTokenizer(pairs.map(pair => pair.source), { lowercase: true })
 *     const target = await trainCharTokenizer(pairs.map(pair => pair.target))
 *     const ids = pairs.map(pair => ({ source: source.encode(pair.source), target: target.encode(pair.target) }))
 *     const batches = new Batches(ids, { maxTokens: 4096, bos: target.specialId('bos'), eos: target.specialId('eos'), seed: 42 })
 *     for (const batch of batches.epoch(0)) { … }
 */

export { DataError } from '../errors.ts'
export { type Batch, Batches, type BatchOptions, type Epoch, packRagged, type RaggedIds, type TokenizedPair } from './batches.ts'
export { type BleuOptions, type BleuScore, type BleuSmoothing, type BleuTokenizer, corpusBleu, exactMatch, formatBleu } from './bleu.ts'
export { trainCharTokenizer } from './charTokenizer.ts'
export { type Corpus, type CorpusOptions, englishChinese, writePairs } from './englishChinese.ts'
export { type Line, type LineOptions, loadPairs, type Pair, readLines, readPairs, readTextFile } from './pairs.ts'
export { type DecodeOptions, type EncodeOptions, type SpecialIds, Tokenizer } from './tokenizer.ts'
export type { SpecialTokens, VocabularyOptions } from './wordLevel.ts'
export { trainWordTokenizer } from './wordTokenizer.ts'
