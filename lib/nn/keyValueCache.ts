/** Keys and values that decoding keeps between its steps. Caches hold no gradients and belong to no scope: dispose them. */
import { ArgumentError } from '../errors.ts'
import { copy } from '../native.generated.ts'
import { expectDType, expectShape, formatShape } from '../ops/check.ts'
import { gatherRows, slice, zeros } from '../ops/index.ts'
import { noGrad, persistent, scope } from '../scope.ts'
import type { Sequences } from '../sequences.ts'
import { type Tensor, tensor } from '../tensor.ts'

/**
 * Self-attention: the keys and values of all tokens so far, in buffers [B, maxLength, Hkv, D] that the first tokens make. All sequences grow by the same
 * number of tokens; one that has fewer keys to look at says so in a mask (`Mask.keyLengths`).
 */
export class SelfAttentionCache {
  /** Tokens so far, of each sequence. */
  length = 0
  readonly maxLength: number
  #k: Tensor | undefined
  #v: Tensor | undefined

  constructor(maxLength: number) {
    this.maxLength = maxLength
  }

  /** Adds the keys and values [B, T, Hkv, D] of T more tokens. Gives those of all tokens, [B, length, Hkv, D]. */
  append(k: Tensor, v: Tensor): { k: Tensor; v: Tensor } {
    if (k.rank !== 4)
      throw new ArgumentError(
        `[SelfAttentionCache] k must be [B, T, Hkv, D], as many tokens of each sequence (packed sequences have no cache), is ${formatShape(k.shape)}`,
      )
    expectShape('SelfAttentionCache', 'v', v, [...k.shape.slice(0, 3), -1])
    const count = k.shape[1] as number
    const end = this.length + count
    if (end > this.maxLength)
      throw new ArgumentError(`[SelfAttentionCache] there must be at most ${this.maxLength} tokens (maxLength), are ${end}`)
    return noGrad(() => {
      this.#k ??= this.#buffer(k)
      this.#v ??= this.#buffer(v)
      const held = this.#k.shape[0]
      if (k.shape[0] !== held) throw new ArgumentError(`[SelfAttentionCache] k must be of ${held} sequences, is of ${k.shape[0]}`)
      for (const [name, more, all] of [
        ['k', k, this.#k],
        ['v', v, this.#v],
      ] as const) {
        expectShape('SelfAttentionCache', name, more, all.shape.toSpliced(1, 1, count))
        expectDType('SelfAttentionCache', name, more, all.dtype)
      }
      copy({ x: k, y: slice(this.#k, 1, this.length, end) })
      copy({ x: v, y: slice(this.#v, 1, this.length, end) })
      this.length = end
      return { k: slice(this.#k, 1, 0, end), v: slice(this.#v, 1, 0, end) }
    })
  }

  #buffer(like: Tensor): Tensor {
    const [batch, , heads, width] = like.shape as [number, number, number, number]
    return persistent(() => zeros([batch, this.maxLength, heads, width], { device: like.device, dtype: like.dtype }))
  }

  /** Keeps the sequences named by `indices`, in this order. */
  select(indices: readonly number[]): void {
    const { k, v } = { k: this.#k, v: this.#v }
    if (k === undefined || v === undefined) return
    using index = persistent(() => tensor(Int32Array.from(indices), [indices.length], { device: k.device }))
    this.#k = gatherPersistent(k, index)
    this.#v = gatherPersistent(v, index)
  }

  dispose(): void {
    this.#k?.dispose()
    this.#v?.dispose()
    this.#k = undefined
    this.#v = undefined
    this.length = 0
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Cross-attention: keys and values of the memory, projected once, at the first step. */
export class CrossAttentionCache {
  k: Tensor | undefined
  v: Tensor | undefined

  /** What is held, after `make` has made it the first time. */
  get(make: () => { k: Tensor; v: Tensor }): { k: Tensor; v: Tensor } {
    if (this.k === undefined || this.v === undefined) {
      const { k, v } = persistent(() => noGrad(() => scope(make)))
      this.k = k
      this.v = v
    }
    return { k: this.k, v: this.v }
  }

  /** Keeps the packed rows [N, Hkv, D] named by `rows` i32. */
  selectRows(rows: Tensor): void {
    if (this.k) this.k = gatherPersistent(this.k, rows)
    if (this.v) this.v = gatherPersistent(this.v, rows)
  }

  dispose(): void {
    this.k?.dispose()
    this.v?.dispose()
    this.k = undefined
    this.v = undefined
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Rows `index` i32 [N] of the first dimension, as a new tensor that no scope owns; `x` is freed. */
export function gatherPersistent(x: Tensor, index: Tensor): Tensor {
  const kept = persistent(() => noGrad(() => scope(() => gatherRows(x, index))))
  x.dispose()
  return kept
}

/** The packed rows of the sequences `indices`, and their lengths. */
export function selectSequences(sequences: Sequences, indices: readonly number[]): { rows: Int32Array; lengths: number[] } {
  const starts = [0]
  for (const length of sequences.lengths) starts.push((starts.at(-1) as number) + length)
  const lengths = indices.map(index => sequences.lengths[index] as number)
  const rows = new Int32Array(lengths.reduce((sum, length) => sum + length, 0))
  let n = 0
  for (const [i, index] of indices.entries()) for (let t = 0; t < (lengths[i] as number); t++) rows[n++] = (starts[index] as number) + t
  return { rows, lengths }
}
