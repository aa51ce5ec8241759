/** Whole models: a training step of GPT-2's size, and a decode step of GPT-2's and of Llama-1B's. */
import { crossEntropy, embedding, linear, noGrad, type Shape, scope, type Tensor } from '../../lib/index.ts'
import { gaussian, Module, type Placement, parameter, TransformerEncoder } from '../../lib/nn/index.ts'
import { AdamW } from '../../lib/optim/index.ts'
import { shareWeights } from '../weights.ts'
import { digest } from './bench.ts'
import { type DecoderSizes, decoder, matrixParameters } from './decoder.ts'
import { type GpuRow, sized } from './row.ts'

export const title = 'Models'
export const axis = 'batch'

interface GptSizes {
  readonly vocabulary: number
  readonly length: number
  readonly width: number
  readonly heads: number
  readonly layers: number
}

const GPT2: GptSizes = { vocabulary: 50257, length: 1024, width: 768, heads: 12, layers: 12 }
const TINY: GptSizes = { vocabulary: 211, length: 24, width: 64, heads: 2, layers: 2 }

/** GPT-2: learned positions, norms before the blocks, tied output projection. No dropout, as pre-training runs have it today. */
class Gpt extends Module {
  readonly tokens: Tensor
  readonly positions: Tensor
  readonly stack: TransformerEncoder

  constructor({ vocabulary, length, width, heads, layers }: GptSizes, place: Placement) {
    super()
    this.tokens = parameter([vocabulary, width], gaussian(0.02), place)
    this.positions = parameter([length, width], gaussian(0.01), place)
    this.stack = new TransformerEncoder(
      { numLayers: layers, dModel: width, numHeads: heads, activation: 'geluTanh', norm: 'pre', dropout: 0 },
      place,
    )
  }

  /** ids [B, T] → logits [B, T, V] */
  forward(ids: Tensor): Tensor {
    const x = embedding(this.tokens, ids, { positions: this.positions }) // [B, T, C]
    return linear(this.stack.forward<Shape>(x as never, { isCausal: true }), this.tokens) as Tensor
  }
}

/**
 * Floating-point operations of a step, by the formula that model FLOPs utilization is stated with: 6 for each parameter and token, and 12 · layers ·
 * width · length for each token's attention, of which a causal mask needs half.
 */
function stepFlops({ vocabulary, length, width, layers }: GptSizes, batch: number): number {
  const parameters = (vocabulary + length) * width + layers * (12 * width ** 2 + 13 * width) + 2 * width
  return batch * length * (6 * parameters + 6 * layers * width * length)
}

function trainingStep(batch: number, captured: boolean, small: boolean): GpuRow {
  const sizes = sized(small)(GPT2, TINY)
  const b = sized(small)(batch, 2)
  const name = captured ? 'captured' : 'eager'
  return {
    name: `GPT-2 124M training step, ${batch}×1024 tokens, ours ${name}`,
    bound: 'matrix',
    work: { flops: stepFlops(sizes, b), tokens: b * sizes.length },
    quick: captured && batch === 16,
    plot: { panel: 'GPT-2 training step', x: `batch ${batch}, ours ${name}` },
    // Eager beside eager; what was recorded beside what was compiled and recorded.
    twin: { name: 'models.training_step', args: { batch: b, ...sizes, through_compile: captured }, compiles: captured },
    async prepare(bench) {
      const model = new Gpt(sizes, { device: bench.device })
      const shared = bench.compared ? await shareWeights(model) : undefined
      model.to('bf16').train()
      const [ids, targets] = [bench.ids([b, sizes.length], sizes.vocabulary), bench.ids([b, sizes.length], sizes.vocabulary)]
      const optimizer = new AdamW(model.parameters(), { lr: 1e-4, betas: [0.9, 0.95], weightDecay: 0.1 })
      const loss = () => crossEntropy(model.forward(ids), targets)
      const step = () =>
        scope(() => {
          loss().backward()
          optimizer.step()
        })
      let answers: number[][] = []
      if (bench.compared) answers = [await scope(() => noGrad(() => digest(loss())))]
      step() // makes the gradients, whose memory a capture must find
      const capture = captured ? bench.own(bench.device.capture(step)) : undefined
      return {
        iterate: timed => timed(() => (capture ? capture.replay() : step())),
        answers: async () => answers,
        ...(shared ? { shared: { weights: shared.weights } } : {}),
        dispose() {
          shared?.remove()
          optimizer.dispose()
          model.dispose()
        },
      }
    },
  }
}

const decoders: Readonly<Record<string, { sizes: DecoderSizes; tiny: DecoderSizes; length: number }>> = {
  'GPT-2 124M': {
    sizes: { layers: 12, width: 768, heads: 12, kvHeads: 12, headDim: 64, hidden: 3072, vocabulary: 50257, kind: 'gpt2' },
    tiny: { layers: 2, width: 64, heads: 1, kvHeads: 1, headDim: 64, hidden: 96, vocabulary: 211, kind: 'gpt2' },
    length: 1024,
  },
  'Llama-1B': {
    sizes: { layers: 16, width: 2048, heads: 32, kvHeads: 8, headDim: 64, hidden: 8192, vocabulary: 128256, kind: 'llama' },
    tiny: { layers: 2, width: 128, heads: 2, kvHeads: 1, headDim: 64, hidden: 96, vocabulary: 216, kind: 'llama' },
    length: 4096,
  },
}

function decodeStep(name: string, batch: number, small: boolean): GpuRow {
  const { sizes: full, tiny, length: fullLength } = decoders[name] as (typeof decoders)[string]
  const sizes = sized(small)(full, tiny)
  const [b, length] = [sized(small)(batch, Math.min(batch, 3)), sized(small)(fullLength, 24)]
  const { layers, width, heads, kvHeads, headDim, hidden, vocabulary, kind } = sizes
  return {
    name: `${name} decode step, batch ${batch}, ${fullLength} tokens in the cache, captured`,
    bound: 'copy',
    work: { bytes: 2 * (matrixParameters(sizes) + layers * 2 * b * length * kvHeads * headDim), tokens: b },
    quick: batch === 1,
    plot: { panel: `${name} decode step`, x: batch },
    twin: {
      name: 'models.decode_step',
      args: { batch: b, length, layers, width, heads, kv_heads: kvHeads, head_dim: headDim, hidden, vocabulary, kind },
      compiles: true,
    },
    prepare(bench) {
      const step = decoder(bench, sizes, b, length)
      const ids = bench.ids([b], vocabulary)
      const capture = bench.own(bench.device.capture(() => scope(() => noGrad(() => step(ids)))))
      bench.own(capture.result.ids)
      bench.own(capture.result.logits)
      // The first replay decodes the commands, the second records a graph: from then on a replay is one launch.
      for (let i = 0; i < 3; i++) capture.replay()
      return {
        iterate: timed => timed(() => capture.replay()),
        answers: async () => [await digest(capture.result.logits)],
      }
    },
  }
}

export function rows(small: boolean): GpuRow[] {
  return [
    trainingStep(16, true, small),
    trainingStep(16, false, small),
    trainingStep(4, true, small),
    ...Object.keys(decoders).flatMap(name => [1, 8, 64].map(batch => decodeStep(name, batch, small))),
  ]
}
