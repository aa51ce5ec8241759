/** Ops that are bound by memory: norms, cross-entropy, embedding, the optimizer; held to the bandwidth of a copy. */
import { crossEntropy, embedding, layerNorm, layerNormResidual, rmsNorm, rmsNormResidual, type Tensor } from '../../lib/index.ts'
import { AdamW, clipGradNorm } from '../../lib/optim/index.ts'
import type { Bench } from './bench.ts'
import { opRow, type Part } from './opRow.ts'
import { type GpuRow, type Side, sized } from './row.ts'

export const title = 'Memory-bound ops'
export const axis = ''

const parts = ['forward', 'backward'] as const

function norm(kind: 'layer' | 'rms', tokens: number, width: number, residual: boolean, part: Part, small: boolean): GpuRow {
  const [n, c] = [sized(small)(tokens, 96), sized(small)(width, width / 8)]
  const name = `${kind === 'layer' ? 'LayerNorm' : 'RMSNorm'} ${tokens}×${width}${residual ? ' + residual' : ''}`
  return opRow({
    name: `${name}, ${part}`,
    part,
    bound: 'copy',
    // Forward x and y, with a residual also that and the sum; backward dy, the sum, dx, and the gradient of the sum where there is one.
    work: { bytes: 2 * n * c * ((part === 'forward' ? 2 : 3) + (residual ? (part === 'forward' ? 2 : 1) : 0)) },
    quick: width === 4096 && residual,
    plot: { panel: part, x: name },
    twin: { name: `memory.${kind}_norm`, args: { n, c, residual }, compiles: true },
    inputs: residual
      ? [
          [n, c],
          [n, c],
        ]
      : [[n, c]],
    parameters: kind === 'layer' ? [[c], [c]] : [[c]],
    make:
      () =>
      ([x, rest], [weight, bias]) => {
        if (!residual) return kind === 'layer' ? layerNorm(x as Tensor, weight, bias) : rmsNorm(x as Tensor, weight, { eps: 1e-6 })
        const options = { residual: rest as Tensor }
        const { y, sum } =
          kind === 'layer'
            ? layerNormResidual(x as Tensor, weight, bias, options)
            : rmsNormResidual(x as Tensor, weight, { ...options, eps: 1e-6 })
        return [y, sum]
      },
  })
}

function loss(tokens: number, vocabulary: number, part: Part, small: boolean): GpuRow {
  const [n, v] = [sized(small)(tokens, 32), sized(small)(vocabulary, 1000 + (vocabulary % 8))]
  const name = `cross-entropy ${tokens}×${vocabulary}`
  return opRow({
    name: `${name}, ${part}`,
    part,
    bound: 'copy',
    work: { bytes: 2 * n * v * (part === 'forward' ? 1 : 2) },
    quick: vocabulary === 50257,
    plot: { panel: part, x: name },
    twin: { name: 'memory.cross_entropy', args: { n, vocabulary: v }, compiles: true },
    inputs: [[n, v]],
    make(bench) {
      const targets = bench.ids([n], v)
      return ([logits]) => crossEntropy(logits as Tensor, targets)
    },
  })
}

function lookUp(tokens: number, vocabulary: number, width: number, part: Part, small: boolean): GpuRow {
  const [n, v, c] = [sized(small)(tokens, 64), sized(small)(vocabulary, 211), sized(small)(width, 96)]
  const name = `embedding ${tokens} of ${vocabulary}×${width}`
  return opRow({
    name: `${name}, ${part}`,
    part,
    bound: 'copy',
    // Backward: dy, and the rows of the table's gradient, which ours adds to in f32.
    work: { bytes: n * c * (part === 'forward' ? 4 : 2 + 8) },
    plot: { panel: part, x: name },
    twin: { name: 'memory.embedding', args: { n, vocabulary: v, c }, compiles: true },
    inputs: [],
    parameters: [[v, c]],
    make(bench) {
      const ids = bench.ids([n], v)
      return (_, [table]) => embedding(table as Tensor, ids)
    },
  })
}

/** GPT-2's 148 tensors, 124 million numbers. */
const gpt2 = (small: boolean): number[] => {
  const c = small ? 32 : 768
  const layer = [c, c, 3 * c * c, 3 * c, c * c, c, c, c, 4 * c * c, 4 * c, 4 * c * c, c]
  return [(small ? 211 : 50257) * c, (small ? 16 : 1024) * c, ...Array.from({ length: small ? 2 : 12 }, () => layer).flat(), c, c]
}

function optimizer(
  name: string,
  twin: string,
  bytes: number,
  small: boolean,
  make: (parameters: Tensor[]) => { body(): void; dispose(): void },
): GpuRow {
  const sizes = gpt2(small)
  const total = sizes.reduce((sum, size) => sum + size, 0)
  return {
    name: `${name}, 124 M parameters`,
    bound: 'copy',
    work: { bytes: bytes * total },
    quick: name === 'AdamW',
    plot: { panel: 'optimizer', x: name },
    twin: { name: `memory.${twin}`, args: { sizes }, compiles: twin === 'adamw' },
    prepare(bench: Bench): Side {
      const parameters = sizes.map(size => bench.random([size], 0.02, 'f32').requireGrad())
      for (const parameter of parameters) parameter.grad = bench.random([parameter.size], 1, 'f32')
      const { body, dispose } = make(parameters)
      return {
        iterate: timed => timed(body),
        dispose,
      }
    },
  }
}

export function rows(small: boolean): GpuRow[] {
  return [
    ...parts.flatMap(part => [
      norm('layer', 16384, 768, false, part, small),
      norm('layer', 16384, 768, true, part, small),
      norm('layer', 16384, 4096, false, part, small),
      norm('rms', 8192, 2048, true, part, small),
      norm('rms', 16384, 4096, false, part, small),
      norm('rms', 16384, 4096, true, part, small),
      loss(8192, 50257, part, small),
      loss(4096, 128256, part, small),
      lookUp(16384, 50257, 768, part, small),
      lookUp(16384, 128256, 2048, part, small),
    ]),
    // f32: parameter, gradient and two moments read; all but the gradient written, and ours zeroes that too, in the same pass.
    optimizer('AdamW', 'adamw', 28, small, parameters => {
      const adam = new AdamW(parameters, { lr: 1e-4 })
      return { body: () => adam.step(), dispose: () => adam.dispose() }
    }),
    // The norm is above 1 in the first iteration only: from then on ours reads, and PyTorch multiplies by 1 (read twice, written once).
    optimizer('clipGradNorm', 'clip_grad_norm', 4, small, parameters => ({
      body: () => void clipGradNorm(parameters, 1),
      dispose: () => {},
    })),
  ]
}
