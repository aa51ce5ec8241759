/** Each fused op, forward and forward with backward, at the sizes of a 512-wide model with 8 heads: 2048 tokens are a batch of 32 × 64. */
import { attach, TapeNode } from '../../lib/autograd/tape.ts'
import { type Device, empty, type FloatDType, linear, logSoftmax, matmul, noGrad, qkv, scope, softmax, Tensor } from '../../lib/index.ts'
import { aliasView } from '../../lib/tensor.ts'
import { randoms } from '../data.ts'
import { type Row, type TwinArguments, timed } from '../row.ts'

const TOKENS = 2048
const WIDTH = 512
const HIDDEN = 2048
const HEADS = 8
const HEAD = [HEADS, WIDTH / HEADS] as const
const VOCABULARY = 6000
/** Target tokens of a batch: 64 × 20. */
const TARGETS = 1280

/**
 * `x` as an activation inside a model: its gradient arrives and is freed. A leaf would add it into an f32 tensor instead, which no model does and
 * PyTorch's side, where gradients are assigned, does not pay for.
 */
function activation(x: Tensor): Tensor {
  const y = aliasView(x, x.shape, x.strides, x.offset)
  attach(new TapeNode('activation', [], [], () => []), [y])
  return y
}

/** Backward from several outputs at once, each with its gradient. */
function goBack(outputs: readonly Tensor[], gradients: readonly Tensor[]): void {
  const [output] = outputs as [Tensor]
  if (outputs.length === 1) {
    output.backward(gradients[0])
    return
  }
  const end = empty([1], { device: output.device })
  attach(new TapeNode('outputs', outputs, [], () => gradients), [end])
  end.backward()
}

interface Case {
  readonly name: string
  readonly twin: string
  readonly args: TwinArguments
  /** Floating-point operations of a forward pass; a backward counts twice as many. */
  readonly flops?: number
  /** Default: both. */
  readonly dtypes?: readonly FloatDType[]
  /** Shapes of the inputs that get a gradient as activations do, and of the parameters. */
  readonly inputs: readonly (readonly number[])[]
  readonly parameters?: readonly (readonly number[])[]
  /** The op. Made once per row, for what it needs beside float tensors. */
  make(device: Device, dtype: FloatDType): (inputs: readonly Tensor[], parameters: readonly Tensor[]) => Tensor | readonly Tensor[]
}

/** Two rows a dtype out of a case. */
function rowsOf(op: Case): Row[] {
  return (op.dtypes ?? ['f32', 'bf16']).flatMap(dtype => [false, true].map(backward => row(op, dtype, backward)))
}

function row(op: Case, dtype: FloatDType, backward: boolean): Row {
  const work = op.flops === undefined ? {} : { work: { amount: (op.flops * (backward ? 3 : 1)) / 1e9, unit: 'GFLOP/s' } }
  return {
    name: `${op.name}, ${backward ? 'forward+backward' : 'forward'}`,
    dtype,
    unit: 'ms',
    ...work,
    twin: { name: `ops.${op.twin}`, args: { ...op.args, backward } },
    async prepare(device) {
      const random = randoms(device, dtype)
      const inputs = op.inputs.map(shape => random(shape))
      // Weights scaled as layers scale them, so that values stay in the range that trained models have.
      const parameters = (op.parameters ?? []).map(shape => random(shape, (shape[shape.length - 1] as number) ** -0.5))
      if (backward) for (const parameter of parameters) parameter.requireGrad()
      const call = op.make(device, dtype)
      const outputs = (results: Tensor | readonly Tensor[]) => (results instanceof Tensor ? [results] : results)
      const gradients = scope(() => {
        const shapes = outputs(noGrad(() => call(inputs, parameters))).map(output => output.shape)
        return shapes.map(shape => random(shape))
      })
      const forward = () => scope(() => void noGrad(() => call(inputs, parameters)))
      const both = () => scope(() => goBack(outputs(call(inputs.map(activation), parameters)), gradients))
      return timed(device, backward ? both : forward, {
        dispose: () => {
          for (const used of [...inputs, ...parameters, ...gradients]) used.dispose()
        },
      })
    },
  }
}

const first = (list: readonly Tensor[]) => list[0] as Tensor

function linearCase(name: string, n: number, c: number, f: number, options: { activation?: 'gelu'; residual?: boolean } = {}): Case {
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

const cases = (): Case[] => [
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
