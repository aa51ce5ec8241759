import { ArgumentError } from '../errors.ts'
import { persistent } from '../scope.ts'
import { Sequences } from '../sequences.ts'
import { type Tensor, tensor } from '../tensor.ts'
import type { DecoderLayerCache } from './decoderInputs.ts'
import { CrossAttentionCache, gatherPersistent, SelfAttentionCache, selectSequences } from './keyValueCache.ts'

/** What the encoder has made of a batch. */
export interface Memory {
  /** Packed [N, dModel]. */
  readonly rows: Tensor
  readonly sequences: Sequences
}

/** What decoding a batch keeps between its steps: the memory, and each layer's keys and values. Belongs to no scope: dispose it. */
export class DecodeCache {
  readonly layers: readonly DecoderLayerCache[]
  readonly maxLength: number
  #memory: Memory
  #steps: Sequences | undefined

  /** Takes over `memory`, which must belong to no scope. */
  constructor(numLayers: number, memory: Memory, maxLength: number) {
    this.layers = Array.from({ length: numLayers }, () => ({ self: new SelfAttentionCache(maxLength), cross: new CrossAttentionCache() }))
    this.maxLength = maxLength
    this.#memory = memory
  }

  get memory(): Memory {
    return this.#memory
  }
  /** Number of sequences. */
  get count(): number {
    return this.#memory.sequences.count
  }
  /** Tokens of each sequence so far. */
  get length(): number {
    return this.layers[0]?.self.length ?? 0
  }

  /** The sequences of a step of `tokens` tokens each. */
  steps(tokens: number): Sequences {
    if (this.#steps?.count !== this.count || this.#steps.maxLength !== tokens) {
      this.#steps?.dispose()
      this.#steps = persistent(() => Sequences.of(new Array<number>(this.count).fill(tokens), this.#memory.rows.device))
    }
    return this.#steps
  }

  /** Keeps the sequences named by `indices`, in this order: finished ones are left out, those of a beam are repeated. */
  select(indices: readonly number[]): void {
    for (const index of indices)
      if (!(Number.isInteger(index) && index >= 0 && index < this.count))
        throw new ArgumentError(`[DecodeCache] indices must be integers from 0 to ${this.count - 1}, one is ${index}`)
    const { rows, sequences } = this.#memory
    const chosen = selectSequences(sequences, indices)
    persistent(() => {
      using places = tensor(chosen.rows, [chosen.rows.length], { device: rows.device })
      this.#memory = { rows: gatherPersistent(rows, places), sequences: Sequences.of(chosen.lengths, rows.device) }
      for (const { self, cross } of this.layers) {
        self.select(indices)
        cross.selectRows(places)
      }
    })
    sequences.dispose()
  }

  dispose(): void {
    for (const { self, cross } of this.layers) {
      self.dispose()
      cross.dispose()
    }
    this.#memory.rows.dispose()
    this.#memory.sequences.dispose()
    this.#steps?.dispose()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}
