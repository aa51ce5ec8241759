/** What JavaScript spends to record one op: the part that runs on the thread of the user's server. Goal: at most 1 µs at the median. */
import { type Device, noGrad, scope, type Tensor, zeros } from '../../lib/index.ts'
import { binary } from '../../lib/ops/binary.ts'
import { layerNorm } from '../../lib/ops/layerNorm.ts'
import type { Row } from '../row.ts'

/** Between two visits of the event loop, so that the queue to the device stays short. */
const OPS = 64

function row(name: string, make: (device: Device) => { record(): Tensor; inputs: Tensor[] }): Row {
  return {
    name,
    dtype: 'f32',
    unit: 'µs',
    async prepare(device) {
      const { record, inputs } = make(device)
      return {
        async sample(iterations) {
          const times: number[] = []
          for (let batch = 0; batch < Math.max(1, iterations / OPS); batch++) {
            scope(() => {
              const start = performance.now()
              for (let i = 0; i < OPS; i++) record()
              times.push(performance.now() - start)
            })
          }
          await device.synchronize()
          // The median: a batch now and then pays for the garbage collector, which no op of its own causes.
          return ((times.sort((a, b) => a - b)[times.length >> 1] as number) / OPS) * 1000
        },
        dispose: () => {
          for (const input of inputs) input.dispose()
        },
      }
    },
  }
}

export function rows(): Row[] {
  const inputs = (device: Device) =>
    [zeros([4, 8], { device }), zeros([4, 8], { device }), zeros([4, 8], { device, requiresGrad: true })] as const
  return [
    row('binary (3 tensors), no gradient', device => {
      const [a, b, trained] = inputs(device)
      return { record: () => noGrad(() => binary('add', a, b)), inputs: [a, b, trained] }
    }),
    row('binary (3 tensors), on the tape', device => {
      const [a, b, trained] = inputs(device)
      return { record: () => binary('add', a, trained), inputs: [a, b, trained] }
    }),
    // x, residual, weight, bias in; y, sum, mean, rstd out.
    ...[false, true].map(taped =>
      row(`layerNorm with residual (8 tensors), ${taped ? 'on the tape' : 'no gradient'}`, device => {
        const [a, b, trained] = inputs(device)
        const [weight, bias] = [zeros([8], { device }), zeros([8], { device })]
        const record = () => layerNorm(taped ? trained : a, weight, bias, { residual: b })
        return { record: taped ? record : () => noGrad(record), inputs: [a, b, trained, weight, bias] }
      }),
    ),
  ]
}
