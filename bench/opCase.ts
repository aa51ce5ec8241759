/** Rows of single ops: forward, and forward with backward. */
import { type Device, type FloatDType, noGrad, scope, Tensor } from '../lib/index.ts'
import { randoms } from './data.ts'
import { activation, goBack, packed } from './gradients.ts'
import { type Row, type TwinArguments, timed } from './row.ts'

export interface OpCase {
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
  /** Parameters, by index, that get no gradient. */
  readonly untrained?: readonly number[]
  /** Whether the gradients of the results lie in one buffer, as what made them did. Default: a tensor each. */
  readonly packedGradients?: boolean
  /** The op. Made once per row, for what it needs beside float tensors. */
  make(device: Device, dtype: FloatDType): (inputs: readonly Tensor[], parameters: readonly Tensor[]) => Tensor | readonly Tensor[]
}

/** Two rows a dtype out of a case. */
export function rowsOf(op: OpCase): Row[] {
  return (op.dtypes ?? ['f32', 'bf16']).flatMap(dtype => [false, true].map(backward => row(op, dtype, backward)))
}

function row(op: OpCase, dtype: FloatDType, backward: boolean): Row {
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
      if (backward) for (const [i, parameter] of parameters.entries()) if (!op.untrained?.includes(i)) parameter.requireGrad()
      const call = op.make(device, dtype)
      const outputs = (results: Tensor | readonly Tensor[]) => (results instanceof Tensor ? [results] : results)
      const gradients = scope(() => {
        const shapes = outputs(noGrad(() => call(inputs, parameters))).map(output => output.shape)
        return op.packedGradients ? packed(shapes, random) : shapes.map(shape => random(shape))
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
