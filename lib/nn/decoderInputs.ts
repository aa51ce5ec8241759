import { ArgumentError } from '../errors.ts'
import type { Mask } from '../mask.ts'
import { scope } from '../scope.ts'
import type { Sequences } from '../sequences.ts'
import type { Tensor } from '../tensor.ts'
import type { AttentionInputOptions } from './attentionInputs.ts'
import type { CrossAttentionCache, SelfAttentionCache } from './keyValueCache.ts'
import { isPacked, resolveRows } from './layerInputs.ts'

export interface TargetOptions {
  /** Which target tokens see which: a tensor mask is [Tq, Tq], [B · numHeads, Tq, Tq], or broadcasts to [B, numHeads, Tq, Tq]. */
  tgtMask?: Mask | undefined
  /** Which tokens of the memory each target token sees: likewise, with [Tq, Tk]. */
  memoryMask?: Mask | undefined
  /** Which target tokens are real. `Mask.keyLengths(lengths)` makes padding cost nothing; a tensor mask [B, Tq] is computed densely. */
  tgtKeyPaddingMask?: Mask | undefined
  /** Which tokens of the memory are real: likewise. */
  memoryKeyPaddingMask?: Mask | undefined
  /** Each target token sees itself and those before it. Default false. */
  tgtIsCausal?: boolean | undefined
  /** Causal attention to the memory, aligned at the ends. Default false. */
  memoryIsCausal?: boolean | undefined
  /** The sequences of packed target rows [N, dModel]. */
  tgtSequences?: Sequences | undefined
  /** The sequences of packed memory rows. */
  memorySequences?: Sequences | undefined
}

/** What one decoder layer keeps while decoding. */
export interface DecoderLayerCache {
  readonly self: SelfAttentionCache
  readonly cross: CrossAttentionCache
}

/** What a stack of decoder layers computes with. */
export interface DecoderContext {
  readonly self: AttentionInputOptions
  /** [B, Tk, C], or packed [Nk, C]. */
  readonly memory: Tensor
  readonly cross: AttentionInputOptions
}

/** Runs a stack on `tgt` and `memory` in the form that it computes with, and gives its result the form of `tgt`. */
export function withTarget(
  where: string,
  width: number,
  tgt: Tensor,
  memory: Tensor,
  options: TargetOptions,
  run: (x: Tensor, context: DecoderContext) => Tensor,
): Tensor {
  const { tgtKeyPaddingMask, memoryKeyPaddingMask, tgtSequences, memorySequences } = options
  return scope(() => {
    const packed = isPacked(tgtKeyPaddingMask, tgtSequences) || isPacked(memoryKeyPaddingMask, memorySequences)
    const target = resolveRows({ where, argument: 'tgt', width, x: tgt, padding: tgtKeyPaddingMask, sequences: tgtSequences, packed })
    const source = resolveRows({
      where,
      argument: 'memory',
      width,
      x: memory,
      padding: memoryKeyPaddingMask,
      sequences: memorySequences,
      packed,
    })
    const count = (rows: typeof target) => rows.sequences?.count ?? (rows.x.shape[0] as number)
    if (count(target) !== count(source))
      throw new ArgumentError(`[${where}] memory must hold ${count(target)} sequences as tgt does, holds ${count(source)}`)
    const queries = target.sequences?.maxLength
    const context = {
      self: {
        mask: options.tgtMask && target.fit(options.tgtMask),
        keyPaddingMask: target.padding,
        isCausal: options.tgtIsCausal,
        sequences: target.sequences,
      },
      memory: source.x,
      cross: {
        mask: options.memoryMask && source.fit(options.memoryMask, queries),
        keyPaddingMask: source.padding,
        isCausal: options.memoryIsCausal,
        sequences: target.sequences && source.sequences && { q: target.sequences, k: source.sequences },
      },
    }
    return target.restore(run(target.x, context))
  })
}
