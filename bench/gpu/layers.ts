/** Whole layers: an encoder's, a language model's, and a decoder's with a memory. */
import type { Shape, Tensor } from '../../lib/index.ts'
import { TransformerDecoderLayer, TransformerEncoderLayer } from '../../lib/nn/index.ts'
import { moduleRow } from './moduleRow.ts'
import { type GpuRow, sized } from './row.ts'

export const title = 'Layers'
export const axis = ''

interface Layer {
  readonly name: string
  readonly kind: 'encoder' | 'decoder'
  readonly batch: number
  readonly tokens: number
  /** Of a decoder layer. */
  readonly memory?: number
  readonly causal: boolean
  readonly norm: 'pre' | 'post'
  readonly activation: 'gelu' | 'geluTanh' | 'relu'
  readonly width: number
  readonly heads: number
}

const layers: readonly Layer[] = [
  {
    name: 'BERT-base encoder layer',
    kind: 'encoder',
    batch: 32,
    tokens: 512,
    causal: false,
    norm: 'post',
    activation: 'gelu',
    width: 768,
    heads: 12,
  },
  {
    name: 'GPT-2 layer',
    kind: 'encoder',
    batch: 16,
    tokens: 1024,
    causal: true,
    norm: 'pre',
    activation: 'geluTanh',
    width: 768,
    heads: 12,
  },
  {
    name: 'Transformer-base decoder layer',
    kind: 'decoder',
    batch: 64,
    tokens: 128,
    memory: 128,
    causal: true,
    norm: 'post',
    activation: 'relu',
    width: 512,
    heads: 8,
  },
]

function row(layer: Layer, training: boolean, small: boolean): GpuRow {
  const { kind, causal, norm, activation } = layer
  const pick = sized(small)
  const [batch, tokens, memory] = [pick(layer.batch, 2), pick(layer.tokens, 40), layer.memory === undefined ? 0 : pick(layer.memory, 24)]
  const [width, heads, hidden] = [pick(layer.width, 64), pick(layer.heads, 2), pick(4 * layer.width, 96)]
  // Training with dropout as the models have it; the small form without, so that both sides compute the same.
  const dropout = training && !small ? 0.1 : 0
  const products = (4 + (kind === 'decoder' ? 2 : 0)) * width ** 2 + 2 * width * hidden
  const attended = 4 * batch * width * tokens * (tokens / (causal ? 2 : 1) + memory)
  const forward = 2 * batch * tokens * products + 4 * batch * memory * width ** 2 + attended
  const size = `${layer.batch}×${layer.tokens}${layer.memory ? `, memory ${layer.memory}` : ''}`
  const what = training ? 'training' : 'inference'
  return moduleRow({
    name: `${layer.name} ${size}, ${what}`,
    part: training ? 'both' : 'forward',
    bound: 'matrix',
    work: { flops: forward * (training ? 3 : 1), tokens: batch * tokens },
    quick: layer.name === 'GPT-2 layer',
    plot: { panel: what, x: layer.name },
    twin: {
      name: `layers.${kind}_layer`,
      args: { batch, tokens, memory, width, heads, hidden, dropout, causal, pre_norm: norm === 'pre', activation },
      compiles: true,
    },
    inputs:
      kind === 'decoder'
        ? [
            [batch, tokens, width],
            [batch, memory, width],
          ]
        : [[batch, tokens, width]],
    make(bench) {
      const options = { dModel: width, numHeads: heads, dFeedForward: hidden, activation, norm, dropout }
      const place = { device: bench.device }
      if (kind === 'encoder') {
        const module = new TransformerEncoderLayer(options, place)
        return { module, forward: ([x]) => module.forward<Shape>(x as never, { isCausal: causal }) as Tensor }
      }
      const module = new TransformerDecoderLayer(options, place)
      return {
        module,
        forward: ([x, rows]) => module.forward<Shape, Shape>(x as never, rows as never, { tgtIsCausal: causal }) as Tensor,
      }
    },
  })
}

export function rows(small: boolean): GpuRow[] {
  return layers.flatMap(layer => [false, true].map(training => row(layer, training, small)))
}
