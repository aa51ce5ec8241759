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

/** What the rows are made of. Heads are 64 wide. */
interface Sizes {
  tokens: number
  width: number
  hidden: number
  vocabulary: number
  /** Target tokens of a batch. */
  targets: number
  /** Sequences and their lengths for attention: short and long ones. */
  short: readonly [batch: number, length: number]
  long: readonly [batch: number, length: number]
}

const FULL: Sizes = { tokens: 2048, width: 512, hidden: 2048, vocabulary: 6000, targets: 64 * 20, short: [32, 64], long: [8, 512] }
/** For the machine of fibers, which takes microseconds for an instruction: several tiles in every direction, no more. */
const SMALL: Sizes = { tokens: 256, width: 128, hidden: 384, vocabulary: 1000, targets: 5 * 20, short: [2, 64], long: [1, 256] }

const HEAD_DIM = 64

const first = (list: readonly Tensor[]) => list[0] as Tensor

function linearCase(n: number, c: number, f: number, options: { activation?: 'gelu'; residual?: boolean } = {}): OpCase {
  return {
    name: `linear ${n}×${c}→${f}${options.activation ? ' + GELU' : ''}${options.residual ? ' + residual' : ''}`,
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

function attentionCase(
  width: number,
  [batch, tokens]: readonly [number, number],
  options: { causal?: boolean; dropout?: number } = {},
): OpCase {
  const { causal = false, dropout = 0 } = options
  const input = [batch, tokens, width / HEAD_DIM, HEAD_DIM]
  return {
    name: `attention ${batch}×${tokens}${causal ? ' causal' : ''}${dropout > 0 ? ' dropout' : ''}`,
    twin: 'attention',
    args: { batch, tokens, heads: width / HEAD_DIM, head_dim: HEAD_DIM, causal, dropout },
    flops: (4 * batch * width * tokens * tokens) / (causal ? 2 : 1),
    inputs: [input, input, input],
    make: () => inputs => {
      const [q, k, v] = inputs as [Tensor, Tensor, Tensor]
      return attention(q, k, v, { dropout, ...(causal ? { mask: Mask.causal() } : {}) }).output
    },
  }
}

const cases = ({ tokens, width, hidden, vocabulary, targets, short, long }: Sizes): OpCase[] => [
  linearCase(tokens, width, hidden),
  linearCase(tokens, width, hidden, { activation: 'gelu' }),
  linearCase(tokens, hidden, width, { residual: true }),
  linearCase(targets, width, vocabulary),
  {
    name: `qkv ${tokens}×${width}→3×${width}`,
    twin: 'qkv',
    args: { n: tokens, c: width, heads: width / HEAD_DIM },
    flops: 2 * tokens * width * 3 * width,
    inputs: [[tokens, width]],
    parameters: [[3 * width, width], [3 * width]],
    packedGradients: true,
    make: () => (inputs, parameters) => {
      const head = [width / HEAD_DIM, HEAD_DIM] as const
      const { q, k, v } = qkv(first(inputs), first(parameters), parameters[1], { q: head, k: head, v: head })
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
  attentionCase(width, short),
  attentionCase(width, long),
  attentionCase(width, long, { causal: true }),
  attentionCase(width, long, { dropout: 0.1 }),
  ...(['relu', 'gelu'] as const).map(activation => ({
    name: `feed_forward ${tokens}×${width}→${hidden}→${width} ${activation}`,
    twin: 'feed_forward',
    args: { n: tokens, c: width, f: hidden, activation },
    flops: 4 * tokens * width * hidden,
    inputs: [[tokens, width]],
    parameters: [[hidden, width], [hidden], [width, hidden], [width]],
    make: () => (inputs: readonly Tensor[], parameters: readonly Tensor[]) => {
      const [weight1, bias1, weight2, bias2] = parameters as [Tensor, Tensor, Tensor, Tensor]
      return feedForward(first(inputs), weight1, bias1, weight2, bias2, { activation })
    },
  })),
  {
    name: `layer_norm ${tokens}×${width}`,
    twin: 'layer_norm',
    args: { n: tokens, c: width },
    inputs: [[tokens, width]],
    parameters: [[width], [width]],
    make: () => (inputs, parameters) => layerNorm(first(inputs), parameters[0], parameters[1]),
  },
  ...[0, 0.1].map(dropout => ({
    name: `layer_norm ${tokens}×${width} + residual${dropout > 0 ? ' + dropout' : ''}`,
    twin: 'layer_norm',
    args: { n: tokens, c: width, residual: true, dropout },
    inputs: [
      [tokens, width],
      [tokens, width],
    ],
    parameters: [[width], [width]],
    make: () => (inputs: readonly Tensor[], parameters: readonly Tensor[]) =>
      layerNorm(first(inputs), parameters[0], parameters[1], { residual: inputs[1], dropout }),
  })),
  {
    name: `rms_norm ${tokens}×${width}`,
    twin: 'rms_norm',
    args: { n: tokens, c: width },
    inputs: [[tokens, width]],
    parameters: [[width]],
    make: () => (inputs, parameters) => rmsNorm(first(inputs), parameters[0], { eps: 1e-6 }),
  },
  {
    name: `rms_norm ${tokens}×${width} + residual`,
    twin: 'rms_norm',
    args: { n: tokens, c: width, residual: true },
    inputs: [
      [tokens, width],
      [tokens, width],
    ],
    parameters: [[width]],
    make: () => (inputs, parameters) => rmsNorm(first(inputs), parameters[0], { eps: 1e-6, residual: inputs[1] }),
  },
  {
    name: `embedding ${targets} of ${vocabulary}×${width}`,
    twin: 'embedding',
    args: { n: targets, vocabulary: vocabulary, c: width, tokens: 20 },
    inputs: [],
    parameters: [
      [vocabulary, width],
      [20, width],
    ],
    // Positions are a table that is not trained: PyTorch's side has none that is.
    untrained: [1],
    make: device => {
      const ids = tensor(randomIds(targets, vocabulary), [targets / 20, 20], { device })
      return (_, parameters) => embedding(first(parameters), ids, { scale: width ** 0.5, positions: parameters[1] as Tensor })
    },
  },
  {
    name: `cross_entropy ${targets}×${vocabulary}`,
    twin: 'cross_entropy',
    args: { n: targets, vocabulary: vocabulary, label_smoothing: 0.1 },
    inputs: [[targets, vocabulary]],
    make: device => {
      const ids = tensor(randomIds(targets, vocabulary), [targets], { device })
      return inputs => crossEntropy(first(inputs), ids, { labelSmoothing: 0.1 })
    },
  },
  {
    name: `dropout ${tokens}×${hidden}`,
    twin: 'dropout',
    args: { n: tokens, c: hidden, p: 0.1 },
    inputs: [[tokens, hidden]],
    make: () => inputs => dropout(first(inputs), 0.1),
  },
  {
    name: `softmax ${2 * tokens}×${width}`,
    twin: 'softmax',
    args: { n: 2 * tokens, c: width },
    inputs: [[2 * tokens, width]],
    make: () => inputs => softmax(first(inputs)),
  },
  {
    name: `log_softmax ${targets}×${vocabulary}`,
    twin: 'log_softmax',
    args: { n: targets, c: vocabulary },
    inputs: [[targets, vocabulary]],
    make: () => inputs => logSoftmax(first(inputs)),
  },
]

export function rows(): Row[] {
  return cases(FULL).flatMap(rowsOf)
}

/** For counting on the machine of fibers. */
export function smallRows(): Row[] {
  return cases(SMALL).flatMap(rowsOf)
}
