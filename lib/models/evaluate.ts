import { Batches } from '../data/batches.ts'
import { type BleuTokenizer, corpusBleu, exactMatch } from '../data/bleu.ts'
import type { Pair } from '../data/pairs.ts'
import { evaluateLoss } from '../train/loss.ts'
import { tokenizePairs } from './tokenizePairs.ts'
import { isUnspaced } from './tokenizers.ts'
import type { Translator } from './translator.ts'

export interface EvaluateOptions {
  /** How BLEU cuts text into words. Default `auto`: `zh` for scripts without spaces between words, else `13a`. */
  bleu?: BleuTokenizer | 'auto' | undefined
  /** Sentences translated together. Default 64. */
  batchSize?: number | undefined
  /** Most tokens of a batch for the loss. Default 4096. */
  maxTokens?: number | undefined
  signal?: AbortSignal | undefined
}

export interface Evaluation {
  pairs: number
  /** Target tokens that the loss is the mean over, EOS included. */
  tokens: number
  /** Pairs that the loss leaves out, because they have more tokens than the model or a batch takes. */
  dropped: number
  loss: number
  perplexity: number
  /** Of the whole corpus, 0 to 100, and how it was computed, in sacrebleu's notation. */
  bleu: number
  bleuSignature: string
  /** Share of translations that are equal to their reference, 0 to 1. */
  exact: number
  /** Of translating. */
  sentencesPerSecond: number
  seconds: number
  translations: string[]
}

/** Loss and greedy translations of `pairs`. Rejects with `DataError` if there are none, with the device's error, or with the signal's reason. */
export async function evaluateTranslator(
  translator: Translator,
  pairs: readonly Pair[],
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { bleu: cut = 'auto', batchSize, maxTokens = 4096, signal } = options
  const began = performance.now()
  const { tokenized, dropped } = tokenizePairs(translator, pairs)
  const batches = new Batches(tokenized, { ...translator.batchOptions, maxTokens, shuffle: false, tooLong: 'drop' })
  const { loss, perplexity, tokens } = await evaluateLoss(translator.model, batches, { signal })
  const translating = performance.now()
  const translations = await translator.translate(
    pairs.map(pair => pair.source),
    { batchSize, signal },
  )
  const ended = performance.now()
  const references = pairs.map(pair => pair.target)
  const tokenize = cut !== 'auto' ? cut : isUnspaced(references) ? 'zh' : '13a'
  const { score, signature } = corpusBleu(translations, references, { tokenize })
  return {
    pairs: pairs.length,
    tokens,
    dropped: dropped + batches.dropped,
    loss,
    perplexity,
    bleu: score,
    bleuSignature: signature,
    exact: exactMatch(translations, references),
    sentencesPerSecond: pairs.length / ((ended - translating) / 1000),
    seconds: (ended - began) / 1000,
    translations,
  }
}
