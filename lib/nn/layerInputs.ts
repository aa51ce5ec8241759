/** Calls of layers and stacks: one form for dense, unbatched and packed inputs. */
import { ArgumentError } from '../errors.ts'
import type { Mask } from '../mask.ts'
import { formatShape } from '../ops/check.ts'
import { reshape } from '../ops/index.ts'
import { scope } from '../scope.ts'
import type { Sequences } from '../sequences.ts'
import type { Tensor } from '../tensor.ts'
import type { AttentionInputOptions } from './attentionInputs.ts'
import { fitMask, keyLengthsOf } from './attentionMask.ts'
import { pack } from './packing.ts'

export interface SourceOptions {
  /** Which tokens see which: a tensor mask is [T, T], [B · numHeads, T, T], or broadcasts to [B, numHeads, T, T]. */
  srcMask?: Mask | undefined
  /** Which tokens are real. `Mask.keyLengths(lengths)` makes padding cost nothing; a tensor mask [B, T] is computed densely. */
  srcKeyPaddingMask?: Mask | undefined
  /** Each token sees itself and those before it. Default false. */
  isCausal?: boolean | undefined
  /** The sequences of packed rows [N, dModel]. */
  sequences?: Sequences | undefined
}

/** Runs a stack on `src` in the form that it computes with, and gives its result the caller's form. */
export function withRows(
  where: string,
  width: number,
  src: Tensor,
  options: SourceOptions,
  run: (x: Tensor, context: AttentionInputOptions) => Tensor,
): Tensor {
  return scope(() => {
    const rows = resolveRows({ where, argument: 'src', width, x: src, padding: options.srcKeyPaddingMask, sequences: options.sequences })
    const context = {
      mask: options.srcMask && rows.fit(options.srcMask),
      keyPaddingMask: rows.padding,
      isCausal: options.isCausal,
      sequences: rows.sequences,
    }
    return rows.restore(run(rows.x, context))
  })
}

export interface RowsRequest {
  /** The module and the argument, for errors. */
  where: string
  argument: string
  width: number
  x: Tensor
  padding: Mask | undefined
  sequences: Sequences | undefined
  /** Pack it also when there is no padding, because what it meets is packed. */
  packed?: boolean
}

export interface Rows {
  /** [B, T, C], or packed [N, C]. */
  readonly x: Tensor
  /** The sequences of packed rows. */
  readonly sequences: Sequences | undefined
  /** The padding that packing has not removed. */
  readonly padding: Mask | undefined
  /** A mask over dense positions, for what is left of them: the first `queries` and, for this input's tokens as keys, the longest of its sequences. */
  fit(mask: Mask, queries?: number): Mask
  restore(y: Tensor): Tensor
}

/** Whether an input comes packed, or will be because its lengths are known. */
export const isPacked = (padding: Mask | undefined, sequences: Sequences | undefined): boolean =>
  sequences !== undefined || (padding !== undefined && keyLengthsOf(padding) !== undefined)

/** Checks an input of a layer. Key lengths make packed rows of dense ones. */
export function resolveRows({ where, argument, width, x, padding, sequences, packed = false }: RowsRequest): Rows {
  const fits = x.shape.at(-1) === width && (sequences ? x.rank === 2 && x.shape[0] === sequences.total : x.rank === 2 || x.rank === 3)
  if (!fits) {
    const expected = sequences ? `[${sequences.total}, ${width}]` : `[B, T, ${width}] or [T, ${width}]`
    throw new ArgumentError(`[${where}] ${argument} must be ${expected}, is ${formatShape(x.shape)}`)
  }
  if (sequences) {
    if (padding) throw new ArgumentError(`[${where}] ${argument}KeyPaddingMask must be left out: packed rows have no padding`)
    return { x, sequences, padding, fit: mask => mask, restore: y => y }
  }
  const unbatched = x.rank === 2
  const dense = unbatched ? reshape(x, [1, ...x.shape]) : x // [B, T, C]
  const back = (y: Tensor) => (unbatched ? reshape(y, y.shape.slice(1)) : y)
  const known = padding && keyLengthsOf(padding)
  if (known === undefined && !packed) return { x: dense, sequences: undefined, padding, fit: mask => mask, restore: back }
  const [batch, length] = dense.shape as [number, number, number]
  const result = pack(where, dense, known ?? new Array<number>(batch).fill(length))
  const { maxLength } = result.sequences
  return {
    x: result.rows,
    sequences: result.sequences,
    padding: known ? undefined : padding,
    fit: (mask, queries = maxLength) => fitMask(mask, queries, maxLength),
    restore: y => back(result.unpack(y)),
  }
}
