/** Batches of unequal lengths: ours takes packed rows, PyTorch padding and a mask, nested tensors, or its variable-length attention. */
import { attention, Mask, Sequences, type Shape, type Tensor } from '../../lib/index.ts'
import { TransformerEncoderLayer } from '../../lib/nn/index.ts'
import { moduleRow } from './moduleRow.ts'
import { opRow, type Part } from './opRow.ts'
import { type GpuRow, sized } from './row.ts'
import { zipfLengths } from './zipf.ts'

export const title = 'Ragged batches'
export const axis = ''

const lengthsOf = (small: boolean) => (small ? zipfLengths(3, 48, 120) : zipfLengths(16, 2048, 16384))
const full = lengthsOf(false)
const padding = 1 - full.reduce((sum, length) => sum + length, 0) / (full.length * Math.max(...full))
const batch = `${full.length} sequences of 16 to 2048, ${Math.round(100 * padding)} % padding`

function attentionRow(heads: number, dim: number, causal: boolean, part: 'forward' | 'backward', small: boolean): GpuRow {
  const lengths = lengthsOf(small)
  const h = sized(small)(heads, 2)
  const total = lengths.reduce((sum, length) => sum + length, 0)
  const squares = lengths.reduce((sum, length) => sum + length ** 2, 0)
  const name = `attention, ${heads} heads of ${dim}, ${causal ? 'causal' : 'full'}`
  return opRow({
    name: `${name}, ${batch}, ${part}`,
    part,
    bound: 'matrix',
    work: { flops: ((part === 'forward' ? 4 : 10) * h * dim * squares) / (causal ? 2 : 1), tokens: total },
    quick: !causal && part === 'forward',
    plot: { panel: 'attention', x: `${name}, ${part}` },
    twin: { name: 'ragged.attention', args: { lengths, heads: h, dim, causal } },
    inputs: [
      [total, h, dim],
      [total, h, dim],
      [total, h, dim],
    ],
    make(bench) {
      const rows = bench.own(Sequences.of(lengths, bench.device))
      return inputs => {
        const [q, k, v] = inputs as [Tensor, Tensor, Tensor]
        return attention(q, k, v, { sequences: { q: rows, k: rows }, ...(causal ? { mask: Mask.causal() } : {}) }).output
      }
    },
  })
}

function layerRow(part: Part, small: boolean): GpuRow {
  const lengths = lengthsOf(small)
  const total = lengths.reduce((sum, length) => sum + length, 0)
  const [width, heads, hidden] = sized(small)([768, 12, 3072] as const, [64, 2, 96] as const)
  const squares = lengths.reduce((sum, length) => sum + length ** 2, 0)
  const products = 2 * total * (4 * width ** 2 + 2 * width * hidden) + 4 * width * squares
  const name = `BERT-base layer, ${part === 'both' ? 'training' : 'inference'}`
  return moduleRow({
    name: `${name}, ${batch}`,
    part,
    bound: 'matrix',
    work: { flops: products * (part === 'both' ? 3 : 1), tokens: total },
    plot: { panel: 'layer', x: name },
    twin: { name: 'ragged.encoder_layer', args: { lengths, width, heads, hidden }, compiles: true },
    inputs: [[total, width]],
    make(bench) {
      const layer = new TransformerEncoderLayer(
        { dModel: width, numHeads: heads, dFeedForward: hidden, activation: 'gelu', dropout: part === 'both' && !small ? 0.1 : 0 },
        { device: bench.device },
      )
      const sequences = bench.own(Sequences.of(lengths, bench.device))
      return { module: layer, forward: ([x]) => layer.forward<Shape>(x as never, { sequences }) as Tensor }
    },
  })
}

export function rows(small: boolean): GpuRow[] {
  const parts = ['forward', 'backward'] as const
  return [
    ...parts.flatMap(part => [attentionRow(12, 64, false, part, small), attentionRow(16, 128, true, part, small)]),
    layerRow('forward', small),
    layerRow('both', small),
  ]
}
