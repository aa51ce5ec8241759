import { DataError } from '../errors.ts'
import { hostCounter, PhiloxStream, u64 } from '../random.ts'

/** Sequences of different lengths, packed one after the other without padding. */
export interface RaggedIds {
  /** All ids, `[N]`. */
  ids: Int32Array
  /** Where each sequence starts, and last the end: sequence `i` is `ids[offsets[i]]` to before `ids[offsets[i + 1]]`, `[B + 1]`. */
  offsets: Int32Array
  /** Number of ids of each sequence, `[B]`. */
  lengths: Int32Array
}

/** A batch for teacher forcing. */
export interface Batch {
  /** Encoder input: the source ids (and EOS with `appendSourceEos`). */
  source: RaggedIds
  /** Decoder input: BOS and the target ids. */
  target: RaggedIds
  /** What the decoder shall say at each position of `target`: the target ids and EOS. The offsets are those of `target`. `[N]` */
  labels: Int32Array
  /** Which pairs these are, as indices into the pairs that were given, `[B]`. */
  pairs: Int32Array
  /** Source and target tokens together, as `maxTokens` counts them. */
  tokens: number
}

/** The ids of a sentence and its translation, without BOS and EOS. */
export interface TokenizedPair {
  source: ArrayLike<number>
  target: ArrayLike<number>
}

export interface BatchOptions {
  /** Most tokens in a batch: source and decoder input together, with the BOS and EOS that are added. */
  maxTokens: number
  /** Most pairs in a batch. Default no limit. */
  maxSentences?: number
  /** Ids from the target tokenizer. */
  bos: number
  eos: number
  /** Put the source tokenizer's EOS after each source. Its id, or false (the default) for none. */
  appendSourceEos?: number | false
  /** Seed of the order. Default 0. */
  seed?: number | bigint
  /** Shuffle pairs and batches anew each epoch. Default true; false keeps pairs of equal length in the order given, short ones first. */
  shuffle?: boolean
  /** Pairs whose lengths lie in the same bucket of so many tokens count as equally long. Default 8: batches even in length, but not the same each epoch. */
  bucketWidth?: number
  /** What to do with a pair of more than `maxTokens` tokens. Default `error`. */
  tooLong?: 'error' | 'drop'
}

/** The batches of one epoch: their number is known before the first one is made. */
export interface Epoch extends Iterable<Batch> {
  readonly length: number
  /** Batch `index`, from 0; so that training can go on in the middle of an epoch. */
  at(index: number): Batch
}

/** Ragged ids of sequences, each with `before` in front and `after` behind where given. */
export function packRagged(sequences: Iterable<ArrayLike<number>>, extra: { before?: number; after?: number } = {}): RaggedIds {
  const all = Array.from(sequences)
  const added = (extra.before === undefined ? 0 : 1) + (extra.after === undefined ? 0 : 1)
  const offsets = new Int32Array(all.length + 1)
  const lengths = new Int32Array(all.length)
  for (const [i, sequence] of all.entries()) {
    lengths[i] = sequence.length + added
    offsets[i + 1] = offsets[i]! + lengths[i]!
  }
  const ids = new Int32Array(offsets[all.length]!)
  for (const [i, sequence] of all.entries()) {
    let at = offsets[i]!
    if (extra.before !== undefined) ids[at++] = extra.before
    ids.set(sequence, at)
    if (extra.after !== undefined) ids[at + sequence.length] = extra.after
  }
  return { ids, offsets, lengths }
}

/**
 * Batches by token count. Each epoch shuffles the pairs (Philox by seed and epoch, so any epoch can be made by itself), sorts them by bucket of length,
 * fills batches up to `maxTokens` and `maxSentences` in this order, and shuffles the batches. Every pair occurs exactly once an epoch.
 *
 * Throws `DataError` for no pairs, for a pair longer than `maxTokens` (unless these are dropped; `dropped` counts them), and for options out of range.
 */
export class Batches {
  /** Number of pairs in each epoch. */
  readonly size: number
  /** Number of pairs left out because they are longer than `maxTokens`. */
  readonly dropped: number
  readonly #pairs: readonly TokenizedPair[]
  readonly #options: Required<BatchOptions>
  /** Indices of the pairs in use, and their token counts. */
  readonly #indices: Int32Array
  readonly #tokens: Int32Array

  constructor(pairs: readonly TokenizedPair[], options: BatchOptions) {
    const all = {
      maxSentences: Number.POSITIVE_INFINITY,
      appendSourceEos: false as const,
      seed: 0,
      shuffle: true,
      bucketWidth: 8,
      tooLong: 'error' as const,
      ...options,
    }
    const { maxTokens, maxSentences, bos, eos, appendSourceEos, bucketWidth } = all
    integer('maxTokens', maxTokens, 1)
    if (maxSentences !== Number.POSITIVE_INFINITY) integer('maxSentences', maxSentences, 1)
    integer('bos', bos, 0)
    integer('eos', eos, 0)
    if (appendSourceEos !== false) integer('appendSourceEos', appendSourceEos, 0)
    integer('bucketWidth', bucketWidth, 1)
    u64(all.seed, 'seed')
    if (pairs.length === 0) throw new DataError('there are no pairs to make batches of')

    const indices: number[] = []
    const tokens = new Int32Array(pairs.length)
    const added = appendSourceEos === false ? 1 : 2
    for (const [i, pair] of pairs.entries()) {
      tokens[i] = pair.source.length + pair.target.length + added
      if (tokens[i]! <= maxTokens) indices.push(i)
      else if (all.tooLong === 'error') {
        throw new DataError(`pair ${i} has ${tokens[i]} tokens (source and target together), maxTokens is ${maxTokens}`)
      }
    }
    if (indices.length === 0) throw new DataError(`all ${pairs.length} pairs have more than ${maxTokens} tokens (maxTokens)`)
    this.size = indices.length
    this.dropped = pairs.length - indices.length
    this.#pairs = pairs
    this.#options = all
    this.#indices = Int32Array.from(indices)
    this.#tokens = tokens
  }

  /** The batches of epoch `number` (from 0). The same number gives the same batches. */
  epoch(number: number): Epoch {
    const plan = this.#plan(number)
    const at = (index: number) => {
      const indices = plan[index]
      if (indices === undefined) throw new DataError(`index must be a batch from 0 to ${plan.length - 1}, is ${index}`)
      return this.#batch(indices)
    }
    return {
      length: plan.length,
      at,
      *[Symbol.iterator]() {
        for (let i = 0; i < plan.length; i++) yield at(i)
      },
    }
  }

  /** Indices of the pairs of each batch. */
  #plan(epoch: number): Int32Array[] {
    const { maxTokens, maxSentences, seed, shuffle, bucketWidth } = this.#options
    const stream = new PhiloxStream(seed, hostCounter('batches', epoch))
    const order = this.#indices.slice()
    if (shuffle) stream.shuffle(order)
    const bucket = (index: number) => Math.floor(this.#tokens[index]! / bucketWidth)
    // The sort is stable: inside a bucket the order stays random.
    const sorted = Int32Array.from(Array.from(order).sort((a, b) => bucket(a) - bucket(b)))
    const plan: Int32Array[] = []
    let start = 0
    let tokens = 0
    for (const [i, index] of sorted.entries()) {
      const more = this.#tokens[index]!
      if (i > start && (tokens + more > maxTokens || i - start === maxSentences)) {
        plan.push(sorted.subarray(start, i))
        start = i
        tokens = 0
      }
      tokens += more
    }
    plan.push(sorted.subarray(start))
    return shuffle ? stream.shuffle(plan) : plan
  }

  #batch(indices: Int32Array): Batch {
    const { bos, eos, appendSourceEos } = this.#options
    const pairs = Array.from(indices, index => this.#pairs[index] as TokenizedPair)
    const sources = pairs.map(pair => pair.source)
    const targets = pairs.map(pair => pair.target)
    const source = packRagged(sources, appendSourceEos === false ? {} : { after: appendSourceEos })
    const target = packRagged(targets, { before: bos })
    const labels = packRagged(targets, { after: eos }).ids
    return { source, target, labels, pairs: indices.slice(), tokens: source.ids.length + target.ids.length }
  }
}

function integer(name: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) throw new DataError(`${name} must be an integer from ${least}, is ${value}`)
}
