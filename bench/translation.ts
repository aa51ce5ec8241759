/** The whole model that training and decoding measure, and its batches. */
import type { Device } from '../lib/index.ts'
import { Transformer } from '../lib/nn/index.ts'
import { randomIds } from './data.ts'

export const BATCH = 64
export const SOURCE_TOKENS = 16
export const TARGET_TOKENS = 20

export interface Size {
  readonly width: number
  readonly heads: number
  /** Of the encoder, and as many of the decoder. */
  readonly layers: number
}

export const sizes: readonly Size[] = [
  { width: 512, heads: 8, layers: 1 },
  { width: 256, heads: 8, layers: 2 },
]

export const sizeName = ({ width, heads, layers }: Size) => `${width}/${heads}/${layers}+${layers}`

const VOCABULARIES = { source: 1073, target: 6000 }

/** What the twin needs to build the same model. */
export function modelArguments({ width, heads, layers }: Size, dropout: number) {
  const { source: source_vocab, target: target_vocab } = VOCABULARIES
  return { source_vocab, target_vocab, width, heads, layers, hidden: 4 * width, dropout }
}

export function makeModel({ width, heads, layers }: Size, dropout: number, device: Device): Transformer {
  return new Transformer(
    {
      dModel: width,
      numHeads: heads,
      numEncoderLayers: layers,
      numDecoderLayers: layers,
      dFeedForward: 4 * width,
      dropout,
      sourceVocab: VOCABULARIES.source,
      targetVocab: VOCABULARIES.target,
    },
    { device },
  )
}

/** Sentences of one length, so that neither side has padding. */
export function sentences(kind: 'source' | 'target') {
  const length = kind === 'source' ? SOURCE_TOKENS : TARGET_TOKENS
  return { ids: randomIds(BATCH * length, VOCABULARIES[kind]), lengths: new Array<number>(BATCH).fill(length) }
}
