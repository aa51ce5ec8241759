import { ArgumentError } from '../errors.ts'
import type { RaggedTokens } from '../nn/tokens.ts'
import type { Transformer } from '../nn/transformer.ts'
import { argmax, gatherRows } from '../ops/index.ts'
import { noGrad, persistent, scope } from '../scope.ts'
import { type Tensor, tensor } from '../tensor.ts'

export interface GreedyOptions {
  bos: number
  eos: number
  /** Most tokens of each output, EOS not counted: one number for all, or one for each source. */
  maxLengths: number | readonly number[]
  /** Keep keys and values of earlier tokens (default), or compute them again for every token. The tokens are the same. */
  cache?: boolean | undefined
  /** Looked at between tokens. */
  signal?: AbortSignal | undefined
}

/** Finished sequences leave the batch when they make up this part of it: leaving costs a copy of what the cache holds. */
const FINISHED_PART = 0.25

/**
 * The most likely token after the most likely token, for each source, until EOS or `maxLengths`: ids without BOS and EOS. The model should be in
 * evaluation mode. Rejects with the device's error, or with the signal's reason.
 */
export async function greedy(model: Transformer, source: RaggedTokens, options: GreedyOptions): Promise<number[][]> {
  const count = source.lengths.length
  const { maxLengths } = options
  const limits = typeof maxLengths === 'number' ? new Array<number>(count).fill(maxLengths) : maxLengths
  if (limits.length !== count) throw new ArgumentError(`[greedy] maxLengths must be one number or ${count}, are ${limits.length}`)
  for (const limit of limits)
    if (!Number.isSafeInteger(limit) || limit < 0) throw new ArgumentError(`[greedy] maxLengths must be integers from 0, one is ${limit}`)
  const outputs = new Outputs(limits, options.eos)
  if (outputs.open([...limits.keys()]).length > 0)
    await (options.cache === false ? withoutCache(model, source, outputs, options) : withCache(model, source, outputs, options))
  return outputs.ids
}

/** What has been said so far. */
class Outputs {
  readonly ids: number[][]
  readonly #limits: readonly number[]
  readonly #eos: number
  readonly #ended: boolean[]

  constructor(limits: readonly number[], eos: number) {
    this.ids = limits.map(() => [])
    this.#limits = limits
    this.#eos = eos
    this.#ended = limits.map(limit => limit === 0)
  }

  /** Adds the next token of the sequences in `rows`; those that have ended take no more. */
  add(rows: readonly number[], tokens: Int32Array): void {
    for (const [i, row] of rows.entries()) {
      const ids = this.ids[row] as number[]
      if (this.#ended[row]) continue
      if (tokens[i] !== this.#eos) ids.push(tokens[i] as number)
      this.#ended[row] = tokens[i] === this.#eos || ids.length === this.#limits[row]
    }
  }

  /** Those of `rows` that have not ended, as positions in it. */
  open(rows: readonly number[]): number[] {
    return [...rows.keys()].filter(i => !this.#ended[rows[i] as number])
  }

  get longest(): number {
    return Math.max(...this.#limits)
  }
}

async function withCache(model: Transformer, source: RaggedTokens, outputs: Outputs, { bos, signal }: GreedyOptions): Promise<void> {
  using cache = model.newCache(source, outputs.longest)
  const { device } = cache.memory.rows
  const upload = (ids: ArrayLike<number>) => persistent(() => tensor(Int32Array.from(ids), [ids.length], { device }))
  let rows = [...outputs.ids.keys()]
  let ids: Tensor = upload(rows.map(() => bos)) // [B]
  try {
    // One token is being read while the device computes the next one from it.
    let reading: Promise<Int32Array> | undefined
    for (let step = 0; step < outputs.longest; step++) {
      signal?.throwIfAborted()
      const next = persistent(() => noGrad(() => scope(() => argmax(model.decodeStep(ids as Tensor<number[], 'i32'>, cache))))) // [B]
      ids.dispose()
      ids = next
      const arrived = reading
      reading = next.read() as Promise<Int32Array>
      reading.catch(() => {})
      if (arrived === undefined) continue
      outputs.add(rows, await arrived)
      if (outputs.open(rows).length > rows.length * (1 - FINISHED_PART)) continue
      const tokens = await reading
      reading = undefined
      outputs.add(rows, tokens)
      const kept = outputs.open(rows)
      if (kept.length === 0) return
      cache.select(kept)
      rows = kept.map(i => rows[i] as number)
      ids.dispose()
      ids = upload(kept.map(i => tokens[i] as number))
    }
    if (reading) outputs.add(rows, await reading)
  } finally {
    ids.dispose()
  }
}

async function withoutCache(model: Transformer, source: RaggedTokens, outputs: Outputs, { bos, signal }: GreedyOptions): Promise<void> {
  const rows = [...outputs.ids.keys()]
  const memory = persistent(() => noGrad(() => model.encode(source)))
  try {
    while (outputs.open(rows).length > 0) {
      signal?.throwIfAborted()
      const lengths = outputs.ids.map(ids => ids.length + 1)
      const ends = Int32Array.from(lengths)
      for (let i = 1; i < ends.length; i++) ends[i]! += ends[i - 1] as number
      const reading = scope(() =>
        noGrad(() => {
          const logits = model.decode({ ids: Int32Array.from(outputs.ids.flatMap(ids => [bos, ...ids])), lengths }, memory) // [N, V]
          const last = tensor(
            ends.map(end => end - 1),
            [ends.length],
            { device: logits.device },
          )
          return { tokens: argmax(gatherRows(logits, last)).read() as Promise<Int32Array> } // [B]
        }),
      )
      outputs.add(rows, await reading.tokens)
    }
  } finally {
    memory.rows.dispose()
    memory.sequences.dispose()
  }
}
