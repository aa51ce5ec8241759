import { ArgumentError } from '../errors.ts'
import { expectCount, expectOneOf } from './check.ts'
import type { TransformerLayerOptions } from './layerOptions.ts'
import type { SinusoidLayout } from './sinusoidalPositions.ts'
import type { TransformerStackOptions } from './transformerEncoder.ts'

export interface TransformerOptions<C extends number = number> extends Partial<TransformerLayerOptions<C>> {
  /** Default 512. */
  dModel?: C
  /** Default 8. */
  numHeads?: number
  /** Default 6. */
  numEncoderLayers?: number
  /** Default 6. */
  numDecoderLayers?: number
  /** A norm after each stack. Default true, as nn.Transformer always has; the paper's post-norm model has none. */
  finalNorm?: boolean
  /** Number of source ids; given together with `targetVocab`. */
  sourceVocab?: number
  targetVocab?: number
  /** What is added to the embeddings: 'sinusoidal' (default), 'learned', 'none'. */
  positions?: 'sinusoidal' | 'learned' | 'none'
  /** Default 'interleaved', the paper's. */
  sinusoidLayout?: SinusoidLayout
  /** Rows of learned positions: no sequence may be longer. Default 1024. */
  maxLength?: number
  /** 'none' (default); 'target-output': the output projection is the target embedding; 'all': the source embedding too, for a joint vocabulary. */
  tieEmbeddings?: 'none' | 'target-output' | 'all'
  /** Whether the output projection has a bias. Default: unless it is tied. */
  outputBias?: boolean
}

/** Options of what turns ids into rows and rows into logits. */
export interface VocabularyOptions {
  readonly dModel: number
  readonly sourceVocab: number
  readonly targetVocab: number
  readonly positions: 'sinusoidal' | 'learned' | 'none'
  readonly sinusoidLayout: SinusoidLayout
  readonly maxLength: number
  readonly tieEmbeddings: 'none' | 'target-output' | 'all'
  readonly outputBias: boolean
}

/** Fills in the defaults and checks what the layers do not check. Throws ArgumentError that names the option. */
export function resolveTransformer<C extends number>(options: TransformerOptions<C>) {
  const name = 'Transformer'
  const { dModel = 512 as C, numHeads = 8, numEncoderLayers = 6, numDecoderLayers = 6, finalNorm = true, ...rest } = options
  const { sourceVocab, targetVocab, positions = 'sinusoidal', sinusoidLayout = 'interleaved', maxLength = 1024 } = options
  const { tieEmbeddings = 'none', outputBias = tieEmbeddings === 'none' } = options
  expectCount(name, 'dModel', dModel)
  expectOneOf(name, 'positions', positions, ['sinusoidal', 'learned', 'none'])
  expectOneOf(name, 'tieEmbeddings', tieEmbeddings, ['none', 'target-output', 'all'])
  const stack: Omit<TransformerStackOptions<C>, 'numLayers'> = { ...rest, dModel, numHeads, finalNorm }
  if (sourceVocab === undefined && targetVocab === undefined) {
    for (const option of ['positions', 'sinusoidLayout', 'maxLength', 'tieEmbeddings', 'outputBias'] as const)
      if (options[option] !== undefined) throw new ArgumentError(`[${name}] ${option} must be left out without sourceVocab and targetVocab`)
    return { stack, numEncoderLayers, numDecoderLayers, vocabulary: undefined }
  }
  for (const [option, value] of Object.entries({ sourceVocab, targetVocab, maxLength })) expectCount(name, option, value)
  if (tieEmbeddings === 'all' && sourceVocab !== targetVocab)
    throw new ArgumentError(`[${name}] sourceVocab must equal targetVocab (${targetVocab}) for tieEmbeddings 'all', is ${sourceVocab}`)
  const vocabulary = {
    dModel,
    sourceVocab,
    targetVocab,
    positions,
    sinusoidLayout,
    maxLength,
    tieEmbeddings,
    outputBias,
  } as VocabularyOptions
  return { stack, numEncoderLayers, numDecoderLayers, vocabulary }
}
