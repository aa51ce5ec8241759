import { ArgumentError } from '../errors.ts'
import { expectCount, expectProbability } from './check.ts'

export interface MultiheadAttentionOptions<E extends number = number, K extends number = E, V extends number = E> {
  /** Width of queries and of the output. */
  embedDim: E
  numHeads: number
  /** Dropout on the attention weights (after the softmax), while training. Default 0. */
  dropout?: number
  /** Whether the projections have biases. Default true. */
  bias?: boolean
  /** Append a trained key and value to each sequence. Default false. */
  addBiasKV?: boolean
  /** Append a key and a value of zeros to each sequence. Default false. */
  addZeroAttn?: boolean
  /** Width of the keys. Default `embedDim`. */
  kdim?: K
  /** Width of the values. Default `embedDim`. */
  vdim?: V
  /** Heads of keys and values, each shared by numHeads / numKVHeads query heads. Default `numHeads`; 1 is multi-query attention. */
  numKVHeads?: number
  /** Width of a head. Default embedDim / numHeads, which then must be whole. */
  headDim?: number
}

/** The options with everything filled in. */
export interface AttentionSizes {
  readonly embedDim: number
  readonly numHeads: number
  readonly numKVHeads: number
  readonly headDim: number
  readonly kdim: number
  readonly vdim: number
  /** Rows of the query projection: numHeads · headDim. */
  readonly queryRows: number
  /** Rows of the key projection, and of the value projection: numKVHeads · headDim. */
  readonly keyRows: number
  /** One packed matrix for the three projections, because their inputs are equally wide. */
  readonly packed: boolean
  /** Keys that are appended to each sequence and that no mask hides. */
  readonly extraKeys: number
}

/** Checks the options of the constructor. Throws ArgumentError that names the option. */
export function resolveSizes(options: MultiheadAttentionOptions): AttentionSizes {
  const name = 'MultiheadAttention'
  const { embedDim, numHeads, dropout = 0, addBiasKV = false, addZeroAttn = false, kdim = embedDim, vdim = embedDim } = options
  const { numKVHeads = numHeads } = options
  for (const [option, value] of Object.entries({ embedDim, numHeads, kdim, vdim, numKVHeads })) expectCount(name, option, value)
  expectProbability(name, 'dropout', dropout)
  if (options.headDim === undefined && embedDim % numHeads !== 0)
    throw new ArgumentError(`[${name}] embedDim must be divisible by numHeads (or headDim be given), is ${embedDim} for ${numHeads} heads`)
  const { headDim = embedDim / numHeads } = options
  expectCount(name, 'headDim', headDim)
  if (numHeads % numKVHeads !== 0)
    throw new ArgumentError(`[${name}] numKVHeads must divide numHeads, is ${numKVHeads} for ${numHeads} heads`)
  return {
    embedDim,
    numHeads,
    numKVHeads,
    headDim,
    kdim,
    vdim,
    queryRows: numHeads * headDim,
    keyRows: numKVHeads * headDim,
    packed: kdim === embedDim && vdim === embedDim,
    extraKeys: (addBiasKV ? 1 : 0) + (addZeroAttn ? 1 : 0),
  }
}
