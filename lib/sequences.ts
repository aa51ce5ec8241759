import type { Device } from './device.ts'
import { ArgumentError } from './errors.ts'
import { Owned, persistent } from './scope.ts'
import { type Tensor, tensor } from './tensor.ts'

/**
 * Where the sequences of a ragged batch lie: rows [N, …] hold them one after the other, `offsets[b]` to `offsets[b + 1]` is sequence b. Everything
 * that works on single positions needs only the rows; attention needs this.
 */
export class Sequences extends Owned {
  private constructor(
    /** i32 [B + 1], on the device. */
    readonly offsets: Tensor,
    /** Rows of each sequence; 0 is allowed. */
    readonly lengths: readonly number[],
    /** Number of rows, N. */
    readonly total: number,
    readonly maxLength: number,
  ) {
    super()
  }

  /** Number of sequences, B. */
  get count(): number {
    return this.lengths.length
  }

  /** Sequences of these lengths. Throws ArgumentError if one is not an integer from 0, or the sum exceeds 2^31 - 1. */
  static of(lengths: ArrayLike<number>, device?: Device): Sequences {
    const offsets = new Int32Array(lengths.length + 1)
    let total = 0
    let maxLength = 0
    for (let b = 0; b < lengths.length; b++) {
      const length = lengths[b] as number
      if (!Number.isInteger(length) || length < 0)
        throw new ArgumentError(`[Sequences.of] lengths must be integers from 0, lengths[${b}] is ${length}`)
      total += length
      if (total > 0x7fffffff) throw new ArgumentError('[Sequences.of] lengths must sum to at most 2^31 - 1')
      maxLength = Math.max(maxLength, length)
      offsets[b + 1] = total
    }
    // The offsets belong to these sequences, which belong to the scope.
    const onDevice = persistent(() => tensor(offsets, [offsets.length], device ? { device } : {}))
    return new Sequences(onDevice, Array.from(lengths), total, maxLength)
  }

  override dispose(): void {
    this.offsets.dispose()
  }
}
