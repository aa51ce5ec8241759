import { isFloat } from './dtype.ts'
import { ArgumentError } from './errors.ts'
import { add } from './ops/binary.ts'
import { formatShape } from './ops/check.ts'
import { cast } from './ops/copy.ts'
import { rawBinary, rawFull } from './ops/untaped.ts'
import { type Shape, Tensor } from './tensor.ts'

/** What a mask allows, as attention takes it. Absent parts allow everything. */
export interface MaskParts {
  readonly causal: boolean
  /** Keys before and after a query's own position; undefined is open. */
  readonly left: number | undefined
  readonly right: number | undefined
  readonly keyLengths: Int32Array | undefined
  readonly keep: Tensor | undefined
  readonly bias: Tensor | undefined
}

const open: MaskParts = { causal: false, left: undefined, right: undefined, keyLengths: undefined, keep: undefined, bias: undefined }

function expectMask(name: string, mask: unknown): asserts mask is Tensor {
  if (!(mask instanceof Tensor)) throw new ArgumentError(`[${name}] mask must be a Tensor, is ${mask === null ? 'null' : typeof mask}`)
  if (mask.rank > 4) throw new ArgumentError(`[${name}] mask must have at most 4 dimensions [B, H, Tq, Tk], is ${formatShape(mask.shape)}`)
}

function expectTruth(name: string, mask: unknown): asserts mask is Tensor {
  expectMask(name, mask)
  if (mask.dtype !== 'u8')
    throw new ArgumentError(
      `[${name}] mask must have dtype u8 (1 for true), has ${mask.dtype}${isFloat(mask.dtype) ? ': numbers that are added to scores are Mask.bias' : ''}`,
    )
}

function broadcast(a: Shape, b: Shape): number[] {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i, rank = Math.max(a.length, b.length)) => {
    const [x, y] = [a[a.length - rank + i] ?? 1, b[b.length - rank + i] ?? 1]
    if (x !== y && x !== 1 && y !== 1)
      throw new ArgumentError(`[Mask.and] other must broadcast with this mask: ${formatShape(b)} and ${formatShape(a)} differ`)
    return x === 1 ? y : x
  })
}

const smaller = (a: number | undefined, b: number | undefined) => (a === undefined ? b : b === undefined ? a : Math.min(a, b))

/**
 * Which keys a query may see. The polarity is in the name: `keep` marks what stays visible, `drop` what is hidden, `bias` is added to the scores
 * (-Infinity hides). Masks combine by `and`: a key is seen if every one of them allows it. A query that sees nothing gets zeros, never NaN.
 *
 * Tensors are [B, H, Tq, Tk] by broadcasting from the right; any dimension may be 1 or missing. With ragged sequences Tq and Tk are the longest
 * lengths, and positions count within each sequence. Causal and window are aligned bottom-right: the last query stands over the last key, as a
 * cache of earlier keys needs it; of a cache with `cacheLengths` that is the last key of those.
 *
 * A mask that holds tensors belongs to the scope that they were made in.
 */
export class Mask {
  private constructor(readonly parts: MaskParts) {}

  /** Query i of Tq sees keys up to i + Tk - Tq. */
  static causal(): Mask {
    return new Mask({ ...open, causal: true })
  }

  /** Query i of Tq sees keys from i + Tk - Tq - `left` to i + Tk - Tq + `right`; Infinity leaves a side open. */
  static window(left: number, right: number): Mask {
    for (const [name, side] of [
      ['left', left],
      ['right', right],
    ] as const) {
      if (side !== Number.POSITIVE_INFINITY && !(Number.isInteger(side) && side >= 0 && side <= 0x7fffffff))
        throw new ArgumentError(`[Mask.window] ${name} must be an integer from 0, or Infinity, is ${side}`)
    }
    const side = (size: number) => (size === Number.POSITIVE_INFINITY ? undefined : size)
    return new Mask({ ...open, left: side(left), right: side(right) })
  }

  /** u8: 1 where a key is seen. */
  static keep(mask: Tensor): Mask {
    expectTruth('Mask.keep', mask)
    return new Mask({ ...open, keep: mask })
  }

  /** u8: 1 where a key is hidden, as in PyTorch's `nn.MultiheadAttention`. */
  static drop(mask: Tensor): Mask {
    expectTruth('Mask.drop', mask)
    return new Mask({ ...open, keep: rawBinary('equal', mask, rawFull(mask, [], 0)) })
  }

  /** f32 or another float, added to the scores after scaling; a gradient flows into it. */
  static bias(mask: Tensor): Mask {
    expectMask('Mask.bias', mask)
    if (!isFloat(mask.dtype))
      throw new ArgumentError(`[Mask.bias] mask must have a float dtype, has ${mask.dtype}: truth values are Mask.keep or Mask.drop`)
    return new Mask({ ...open, bias: cast(mask, 'f32') })
  }

  /** Sequence b sees its first `lengths[b]` keys: padding is on the right. */
  static keyLengths(lengths: Int32Array | readonly number[]): Mask {
    for (let b = 0; b < lengths.length; b++) {
      const length = lengths[b] as number
      if (!Number.isInteger(length) || length < 0 || length > 0x7fffffff)
        throw new ArgumentError(`[Mask.keyLengths] lengths must be integers from 0, lengths[${b}] is ${length}`)
    }
    return new Mask({ ...open, keyLengths: Int32Array.from(lengths) })
  }

  /** What both allow; biases add up. */
  and(other: Mask): Mask {
    const [a, b] = [this.parts, other.parts]
    const both = <T>(x: T | undefined, y: T | undefined, join: (x: T, y: T) => T) =>
      x === undefined ? y : y === undefined ? x : join(x, y)
    return new Mask({
      causal: a.causal || b.causal,
      left: smaller(a.left, b.left),
      right: smaller(a.right, b.right),
      keyLengths: both(a.keyLengths, b.keyLengths, (x, y) => {
        if (x.length !== y.length)
          throw new ArgumentError(`[Mask.and] other must have key lengths for ${x.length} sequences, has ${y.length}`)
        return x.map((length, i) => Math.min(length, y[i] as number))
      }),
      // The smaller of two truth values is their conjunction, whatever numbers stand for true.
      keep: both(a.keep, b.keep, (x, y) => rawBinary('minimum', x, y, broadcast(x.shape, y.shape))),
      bias: both(a.bias, b.bias, (x, y) => {
        broadcast(x.shape, y.shape)
        return add(x, y)
      }),
    })
  }
}
