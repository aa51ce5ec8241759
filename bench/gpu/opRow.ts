/** Rows of single ops: forward, backward alone, or both. */
import { noGrad, scope, Tensor } from '../../lib/index.ts'
import { aliasView, type Shape } from '../../lib/tensor.ts'
import { activation, goBack, packed } from '../gradients.ts'
import { type Bench, digest } from './bench.ts'
import type { GpuRow, Side, Tensors } from './row.ts'

/** What counts: forward without the tape, backward alone, or forward on the tape and backward. */
export type Part = 'forward' | 'backward' | 'both'

export interface GpuOp extends Omit<GpuRow, 'prepare'> {
  readonly part: Part
  /** Shapes of bf16 tensors: those that get a gradient as activations do, and the parameters, whose deviation is 1 / √(last dimension). */
  readonly inputs: readonly Shape[]
  readonly parameters?: readonly Shape[]
  /** Which of inputs and parameters get gradients. Default: all. */
  readonly wanted?: { readonly inputs?: boolean; readonly parameters?: boolean }
  /** Whether the gradients of the results lie in one buffer, as what made them did. Default: a tensor each. */
  readonly packedGradients?: boolean
  /** Whether chance decides the results. */
  readonly random?: boolean
  make(bench: Bench): (inputs: Tensors, parameters: Tensors) => Tensor | Tensors
}

const listed = (results: Tensor | Tensors): Tensors => (results instanceof Tensor ? [results] : results)

export function opRow(op: GpuOp): GpuRow {
  const { part, wanted: { inputs: inputsWanted = true, parameters: parametersWanted = true } = {} } = op
  const { name, bound, work, twin, plot, quick } = op
  return {
    name,
    bound,
    work,
    twin: { ...twin, args: { ...twin.args, part } },
    ...(plot ? { plot } : {}),
    ...(quick === undefined ? {} : { quick }),
    prepare(bench): Side {
      const inputs = op.inputs.map(shape => bench.random(shape))
      const parameters = (op.parameters ?? []).map(shape => bench.random(shape, (shape.at(-1) as number) ** -0.5))
      const call = op.make(bench)
      const forward = () => noGrad(() => listed(call(inputs, parameters)))
      let gradients: Tensors = []
      if (part !== 'forward') {
        const shapes = scope(() => forward().map(output => output.shape))
        gradients = op.packedGradients ? packed(shapes, shape => bench.random(shape)) : shapes.map(shape => bench.random(shape))
        if (parametersWanted) for (const parameter of parameters) parameter.requireGrad()
      }
      const taped = (xs: Tensors) => listed(call(xs, parameters))
      const activations = () => (inputsWanted ? inputs.map(activation) : inputs)
      return {
        iterate(timed) {
          if (part === 'forward') timed(() => void forward())
          else if (part === 'both') timed(() => goBack(taped(activations()), gradients))
          else {
            const outputs = taped(activations())
            timed(() => goBack(outputs, gradients))
          }
        },
        ...(op.random
          ? {}
          : {
              async answers() {
                if (part === 'forward') return await scope(() => Promise.all(forward().map(digest)))
                return await scope(async () => {
                  const leaves = inputs.map(x => aliasView(x, x.shape, x.strides, x.offset))
                  if (inputsWanted) for (const leaf of leaves) leaf.requireGrad()
                  goBack(taped(leaves), gradients)
                  return Promise.all([...leaves, ...parameters].flatMap(x => (x.grad ? [digest(x.grad)] : [])))
                })
              },
            }),
      }
    },
  }
}
