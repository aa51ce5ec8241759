/** Each fused op, forward and forward with backward, at the sizes of a 512-wide model with 8 heads: 2048 tokens are a batch of 32 × 64. */
import {
  attention,
  crossEntropy,
  dropout,
  embedding,
  feedForward,
  layerNorm,
  linear,
  logSoftmax,
  Mask,
  matmul,
  qkv,
  rmsNorm,
  softmax,
  type Tensor,
  tensor,
} from '../../lib/index.ts'
import { randomIds } from '../data.ts'
import { type OpCase, rowsOf } from '../opCase.ts'
import type { Row } from '../row.ts'

const TOKENS = 2048
const WIDTH = 512
const HIDDEN = 2048
const HEADS = 8
const HEAD = [HEADS, WIDTH / HEADS] as const
const VOCABULARY = 6000
/** Target tokens of a batch: 64 × 20. */
const TARGETS = 1280
const ROWS = [TOKENS, WIDTH] as const

const first = (list: readonly Tensor[]) => list[0] as Tensor

function linearCase(name: string, n: number, c: number, f: number, options: { activation?: 'gelu'; residual?: boolean } = {}): OpCase {
  return {
    name,
    twin: 'linear',
    args: { n, c, f, ...options },
    flops: 2 * n * c * f,
    inputs: options.residual
      ? [
          [n, c],
          [n, f],
        ]
      : [[n, c]],
    parameters: [[f, c], [f]],
    make: () => (inputs, parameters) =>
      linear(first(inputs), first(parameters), parameters[1], {
        ...(options.activation ? { activation: options.activation } : {}),
        ...(options.residual ? { residual: inputs[1] as Tensor } : {}),
      }),
  }
}

function attentionCase(shape: { name: string; batch: number; tokens: number; causal?: boolean; dropout?: number }): OpCase {
  const { name, batch, tokens, causal = false, dropout = 0 } = shape
  const input = [batch, tokens, ...HEAD]
  return {
    name,
    twin: 'attention',
    args: { batch, tokens, heads: HEADS, head_dim: WIDTH / HEADS, causal, dropout },
    flops: (4 * batch * WIDTH * tokens * tokens) / (causal ? 2 : 1),
    inputs: [input, input, input],
    make: () => inputs => {
      const [q, k, v] = inputs as [Tensor, Tensor, Tensor]
      return attention(q, k, v, { dropout, ...(causal ? { mask: Mask.causal() } : {}) }).output
    },
  }
}

const cases = (): OpCase[] => [
  linearCase('linear 2048×512→2048', TOKENS, WIDTH, HIDDEN),
  linearCase('linear 2048×512→2048 + GELU', TOKENS, WIDTH, HIDDEN, { activation: 'gelu' }),
  linearCase('linear 2048×2048→512 + residual', TOKENS, HIDDEN, WIDTH, { residual: true }),
  linearCase('linear 1280×512→6000', TARGETS, WIDTH, VOCABULARY),
  {
    name: 'qkv 2048×512→3×512',
    twin: 'qkv',
    args: { n: TOKENS, c: WIDTH, heads: HEADS },
    flops: 2 * TOKENS * WIDTH * 3 * WIDTH,
    inputs: [[TOKENS, WIDTH]],
    parameters: [[3 * WIDTH, WIDTH], [3 * WIDTH]],
    packedGradients: true,
    make: () => (inputs, parameters) => {
      const { q, k, v } = qkv(first(inputs), first(parameters), parameters[1], { q: HEAD, k: HEAD, v: HEAD })
      return [q, k, v]
    },
  },
  {
    name: 'matmul 64×128×64×128',
    twin: 'matmul',
    args: { batch: 64, m: 128, k: 64, n: 128 },
    flops: 2 * 64 * 128 * 64 * 128,
    inputs: [
      [64, 128, 64],
      [64, 64, 128],
    ],
    make: () => inputs => matmul(first(inputs), inputs[1] as Tensor),
  },
  ...[
    { name: 'attention 32×64', batch: 32, tokens: 64 },
    { name: 'attention 8×512', batch: 8, tokens: 512 },
    { name: 'attention 8×512 causal', batch: 8, tokens: 512, causal: true },
    { name: 'attention 8×512 dropout', batch: 8, tokens: 512, dropout: 0.1 },
  ].map(attentionCase),
  ...(['relu', 'gelu'] as const).map(activation => ({
    name: `feed_forward 2048×512→2048→512 ${activation}`,
    twin: 'feed_forward',
    args: { n: TOKENS, c: WIDTH, f: HIDDEN, activation },
    flops: 4 * TOKENS * WIDTH * HIDDEN,
    inputs: [[TOKENS, WIDTH]],
    parameters: [[HIDDEN, WIDTH], [HIDDEN], [WIDTH, HIDDEN], [WIDTH]],
    make: () => (inputs: readonly Tensor[], parameters: readonly Tensor[]) => {
      const [weight1, bias1, weight2, bias2] = parameters as [Tensor, Tensor, Tensor, Tensor]
      return feedForward(first(inputs), weight1, bias1, weight2, bias2, { activation })
    },
  })),
  {
    name: 'layer_norm 2048×512',
    twin: 'layer_norm',
    args: { n: TOKENS, c: WIDTH },
    inputs: [ROWS],
    parameters: [[WIDTH], [WIDTH]],
    make: () => (inputs, parameters) => layerNorm(first(inputs), parameters[0], parameters[1]),
  },
  ...[0, 0.1].map(dropout => ({
    name: `layer_norm 2048×512 + residual${dropout > 0 ? ' + dropout' : ''}`,
    twin: 'layer_norm',
    args: { n: TOKENS, c: WIDTH, residual: true, dropout },
    inputs: [ROWS, ROWS],
    parameters: [[WIDTH], [WIDTH]],
    make: () => (inputs: readonly Tensor[], parameters: readonly Tensor[]) =>
      layerNorm(first(inputs), parameters[0], parameters[1], { residual: inputs[1], dropout }),
  })),
  {
    name: 'rms_norm 2048×512',
    twin: 'rms_norm',
    args: { n: TOKENS, c: WIDTH },
    inputs: [ROWS],
    parameters: [[WIDTH]],
    make: () => (inputs, parameters) => rmsNorm(first(inputs), parameters[0], { eps: 1e-6 }),
  },
  {
    name: 'rms_norm 2048×512 + residual',
    twin: 'rms_norm',
    args: { n: TOKENS, c: WIDTH, residual: true },
    inputs: [ROWS, ROWS],
    parameters: [[WIDTH]],
    make: () => (inputs, parameters) => rmsNorm(first(inputs), parameters[0], { eps: 1e-6, residual: inputs[1] }),
  },
  {
    name: 'embedding 1280 of 6000×512',
    twin: 'embedding',
    args: { n: TARGETS, vocabulary: VOCABULARY, c: WIDTH, tokens: 20 },
    inputs: [],
    parameters: [
      [VOCABULARY, WIDTH],
      [20, WIDTH],
    ],
    // Positions are a table that is not trained: PyTorch's side has none that is.
    untrained: [1],
    make: device => {
      const ids = tensor(randomIds(TARGETS, VOCABULARY), [TARGETS / 20, 20], { device })
      return (_, parameters) => embedding(first(parameters), ids, { scale: WIDTH ** 0.5, positions: parameters[1] as Tensor })
    },
  },
  {
    name: 'cross_entropy 1280×6000',
    twin: 'cross_entropy',
    args: { n: TARGETS, vocabulary: VOCABULARY, label_smoothing: 0.1 },
    inputs: [[TARGETS, VOCABULARY]],
    make: device => {
      const targets = tensor(randomIds(TARGETS, VOCABULARY), [TARGETS], { device })
      return inputs => crossEntropy(first(inputs), targets, { labelSmoothing: 0.1 })
    },
  },
  {
    name: 'dropout 2048×2048',
    twin: 'dropout',
    args: { n: TOKENS, c: HIDDEN, p: 0.1 },
    inputs: [[TOKENS, HIDDEN]],
    make: () => inputs => dropout(first(inputs), 0.1),
  },
  {
    name: 'softmax 4096×512',
    twin: 'softmax',
    args: { n: 4096, c: 512 },
    inputs: [[4096, 512]],
    make: () => inputs => softmax(first(inputs)),
  },
  {
    name: 'log_softmax 1280×6000',
    twin: 'log_softmax',
    args: { n: TARGETS, c: VOCABULARY },
    inputs: [[TARGETS, VOCABULARY]],
    make: () => inputs => logSoftmax(first(inputs)),
  },
]

export function rows(): Row[] {
  return cases().flatMap(rowsOf)
}
