import { DataError } from '../errors.ts'

export type TranslatorActivation = 'relu' | 'gelu' | 'geluTanh' | 'silu' | 'relu2'

/** What a translator is, apart from its weights and vocabularies: the content of a model folder's `config.json`. */
export interface TranslatorConfig {
  /** Width of the model. */
  dModel: number
  /** Attention heads; they divide `dModel`. */
  numHeads: number
  numEncoderLayers: number
  numDecoderLayers: number
  /** Width of the feed-forward layers. */
  dFeedForward: number
  dropout: number
  activation: TranslatorActivation
  /** Whether the feed-forward layers are act(gate) · up. */
  gated: boolean
  /** Where a layer normalizes: before each sub-layer, or after it as in the paper. */
  norm: 'pre' | 'post'
  normKind: 'layer' | 'rms'
  positions: 'sinusoidal' | 'learned' | 'none'
  /** Most tokens of a sentence on either side, BOS and EOS included. */
  maxLength: number
  /** Which tables are one: `target-output` shares the target embedding with the output layer, `all` the source embedding too. */
  tieEmbeddings: 'none' | 'target-output' | 'all'
  /** Whether a source sentence ends with EOS. */
  appendSourceEos: boolean
  /** Of weights and computation. */
  dtype: 'f32' | 'bf16'
  sourceVocab: number
  targetVocab: number
}

export const defaultConfig: Readonly<Omit<TranslatorConfig, 'sourceVocab' | 'targetVocab' | 'dFeedForward'>> = {
  dModel: 256,
  numHeads: 8,
  numEncoderLayers: 2,
  numDecoderLayers: 2,
  dropout: 0.1,
  activation: 'relu',
  gated: false,
  norm: 'pre',
  normKind: 'layer',
  positions: 'sinusoidal',
  maxLength: 512,
  tieEmbeddings: 'none',
  appendSourceEos: false,
  dtype: 'f32',
}

/** Sizes by name: width, heads, layers (of encoder and decoder each); the feed-forward layers are four times as wide. */
export const presets = {
  '256-8-2': { dModel: 256, numHeads: 8, numEncoderLayers: 2, numDecoderLayers: 2 },
  '256-4-1': { dModel: 256, numHeads: 4, numEncoderLayers: 1, numDecoderLayers: 1 },
  '512-8-1': { dModel: 512, numHeads: 8, numEncoderLayers: 1, numDecoderLayers: 1 },
} as const satisfies Record<string, Partial<TranslatorConfig>>

/** A field's kind: the limits keep a damaged file from asking for more memory than any machine has. */
type Kind = { integer: readonly [number, number] } | { number: readonly [number, number] } | { choice: readonly string[] } | 'boolean'

export const fields: Readonly<Record<keyof TranslatorConfig, Kind>> = {
  dModel: { integer: [1, 32_768] },
  numHeads: { integer: [1, 1024] },
  numEncoderLayers: { integer: [1, 512] },
  numDecoderLayers: { integer: [1, 512] },
  dFeedForward: { integer: [1, 262_144] },
  dropout: { number: [0, 0.99] },
  activation: { choice: ['relu', 'gelu', 'geluTanh', 'silu', 'relu2'] },
  gated: 'boolean',
  norm: { choice: ['pre', 'post'] },
  normKind: { choice: ['layer', 'rms'] },
  positions: { choice: ['sinusoidal', 'learned', 'none'] },
  maxLength: { integer: [2, 1_048_576] },
  tieEmbeddings: { choice: ['none', 'target-output', 'all'] },
  appendSourceEos: 'boolean',
  dtype: { choice: ['f32', 'bf16'] },
  sourceVocab: { integer: [1, 16_777_216] },
  targetVocab: { integer: [1, 16_777_216] },
}

/** What `value` must be but is not, or undefined if it fits. */
function mismatch(kind: Kind, value: unknown): string | undefined {
  if (kind === 'boolean') return typeof value === 'boolean' ? undefined : 'true or false'
  if ('choice' in kind) return typeof value === 'string' && kind.choice.includes(value) ? undefined : `one of ${kind.choice.join(', ')}`
  const [least, most] = 'integer' in kind ? kind.integer : kind.number
  const whole = 'integer' in kind
  const fits = typeof value === 'number' && value >= least && value <= most && (!whole || Number.isInteger(value))
  return fits ? undefined : `${whole ? 'an integer' : 'a number'} from ${least} to ${most}`
}

/** Checks every field and what the fields must be together. Throws `DataError` that names `file` and the field; unknown fields are an error too. */
export function checkConfig(value: unknown, file?: string): TranslatorConfig {
  const where = file === undefined ? {} : { file }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new DataError('the configuration must be an object', where)
  const given = value as Record<string, unknown>
  for (const [name, kind] of Object.entries(fields)) {
    if (!Object.hasOwn(given, name)) throw new DataError(`"${name}" is missing`, where)
    const expected = mismatch(kind, given[name])
    if (expected !== undefined) throw new DataError(`"${name}" must be ${expected}, is ${show(given[name])}`, where)
  }
  for (const name of Object.keys(given)) if (!Object.hasOwn(fields, name)) throw new DataError(`${show(name)} is not a known field`, where)
  const config = given as unknown as TranslatorConfig // Each field has just been checked.
  if (config.dModel % config.numHeads !== 0)
    throw new DataError(`"numHeads" must divide "dModel" (${config.dModel}), is ${config.numHeads}`, where)
  if (config.tieEmbeddings === 'all' && config.sourceVocab !== config.targetVocab)
    throw new DataError(
      `"tieEmbeddings" is "all", which needs one vocabulary for both sides, but "sourceVocab" is ${config.sourceVocab} and "targetVocab" ${config.targetVocab}`,
      where,
    )
  return config
}

const show = (value: unknown) => (JSON.stringify(value) ?? String(value)).slice(0, 60)

/** Fewest elements that the matrices of such a model have, so that a damaged configuration is noticed before memory is asked for. */
export function fewestElements(config: TranslatorConfig): number {
  const { dModel, dFeedForward, numEncoderLayers, numDecoderLayers, sourceVocab, targetVocab, tieEmbeddings } = config
  const layers = numEncoderLayers * (4 * dModel + 2 * dFeedForward) + numDecoderLayers * (8 * dModel + 2 * dFeedForward)
  const tables = { none: sourceVocab + 2 * targetVocab, 'target-output': sourceVocab + targetVocab, all: targetVocab }[tieEmbeddings]
  return dModel * (layers + tables)
}
