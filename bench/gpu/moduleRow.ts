/** Rows of modules: a forward pass in evaluation mode, or a forward on the tape and a backward in training mode. */
import { noGrad, scope, type Tensor } from '../../lib/index.ts'
import type { Module } from '../../lib/nn/index.ts'
import type { Shape } from '../../lib/tensor.ts'
import { activation, goBack } from '../gradients.ts'
import { shareWeights } from '../weights.ts'
import { type Bench, digest } from './bench.ts'
import type { GpuRow, Side, Tensors } from './row.ts'

export interface GpuModule extends Omit<GpuRow, 'prepare'> {
  readonly part: 'forward' | 'both' | 'backward'
  readonly inputs: readonly Shape[]
  make(bench: Bench): { module: Module; forward(inputs: Tensors): Tensor }
}

export function moduleRow(row: GpuModule): GpuRow {
  const { part, inputs: shapes, make, ...rest } = row
  return {
    ...rest,
    twin: { ...rest.twin, args: { ...rest.twin.args, part } },
    async prepare(bench): Promise<Side> {
      const inputs = shapes.map(shape => bench.random(shape))
      const { module, forward } = make(bench)
      // Where results are compared PyTorch's side starts from these weights, and must come to the same results.
      const shared = bench.compared ? await shareWeights(module) : undefined
      module.to('bf16').train(part !== 'forward')
      const run = () => noGrad(() => forward(inputs))
      const output = scope(() => run().shape)
      const gradient = bench.random(output)
      return {
        iterate: timed => timed(part === 'forward' ? () => void run() : () => goBack([forward(inputs.map(activation))], [gradient])),
        answers: () => scope(async () => [await digest(run())]),
        ...(shared ? { shared: { weights: shared.weights } } : {}),
        dispose() {
          shared?.remove()
          module.dispose()
        },
      }
    },
  }
}
