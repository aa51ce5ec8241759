/**
 * What JavaScript spends to record one op: the part that runs on the thread of the user's server. Goal: at most 1 µs at the median without the
 * tape. A row's tensors are inputs and outputs together; the parameters require a gradient in every row, as those of a model do.
 */
import { type Device, Mask, noGrad, scope, type Tensor, zeros } from '../../lib/index.ts'
import { attention } from '../../lib/ops/attention.ts'
import { binary } from '../../lib/ops/binary.ts'
import { feedForward } from '../../lib/ops/feedForward.ts'
import { layerNorm } from '../../lib/ops/layerNorm.ts'
import { linear } from '../../lib/ops/linear.ts'
import { qkv } from '../../lib/ops/qkv.ts'
import type { Row } from '../row.ts'

/** Between two visits of the event loop, so that the queue to the device stays short. */
const OPS = 64

/** `shapes` are the inputs; those from `parameters` on require a gradient. */
function pair(name: string, tensors: number, shapes: number[][], parameters: number, record: (...inputs: Tensor[]) => unknown): Row[] {
  return [false, true].map(taped => ({
    name: `${name} (${tensors} tensors), ${taped ? 'on the tape' : 'no gradient'}`,
    dtype: 'f32',
    unit: 'µs',
    async prepare(device: Device) {
      const inputs = shapes.map((shape, i) => zeros(shape, { device, requiresGrad: i >= parameters }))
      const batch = () => {
        const start = performance.now()
        for (let i = 0; i < OPS; i++) record(...inputs)
        return performance.now() - start
      }
      return {
        async sample(iterations) {
          const times: number[] = []
          for (let done = 0; done < iterations; done += OPS) times.push(scope(() => (taped ? batch() : noGrad(batch))))
          await device.synchronize()
          // The median: a batch now and then pays for the garbage collector, which no op of its own causes.
          return ((times.sort((a, b) => a - b)[times.length >> 1] as number) / OPS) * 1000
        },
        dispose: () => {
          for (const input of inputs) input.dispose()
        },
      }
    },
  }))
}

export function rows(): Row[] {
  const causal = { mask: Mask.causal() }
  return [
    ...pair(
      'binary',
      3,
      [
        [4, 8],
        [4, 8],
      ],
      1,
      (a, b) => binary('add', a as Tensor, b as Tensor),
    ),
    // x, residual, weight, bias in; y, sum, mean, rstd out.
    ...pair('layerNorm with residual', 8, [[4, 8], [4, 8], [8], [8]], 2, (x, residual, weight, bias) =>
      layerNorm(x as Tensor, weight, bias, { residual }),
    ),
    // x, residual, weight, bias in; y out, and on the tape the preactivation.
    ...pair('linear with bias, GELU, residual', 5, [[4, 8], [4, 8], [8, 8], [8]], 2, (x, residual, weight, bias) =>
      linear(x as Tensor, weight as Tensor, bias, { activation: 'gelu', residual }),
    ),
    // x, weight, bias in; q, k, v out.
    ...pair('qkv', 6, [[4, 8], [24, 8], [24]], 1, (x, weight, bias) =>
      qkv(x as Tensor, weight as Tensor, bias, { q: [2, 4], k: [2, 4], v: [2, 4] }),
    ),
    // x, two weights, two biases in; y out, and on the tape the preactivation.
    ...pair('feedForward', 6, [[4, 8], [16, 8], [16], [8, 16], [8]], 1, (x, weight1, bias1, weight2, bias2) =>
      feedForward(x as Tensor, weight1 as Tensor, bias1, weight2 as Tensor, bias2, { activation: 'gelu' }),
    ),
    // q, k, v in; output, logSumExp out.
    ...pair(
      'attention, causal',
      5,
      [
        [2, 4, 2, 4],
        [2, 4, 2, 4],
        [2, 4, 2, 4],
      ],
      0,
      (q, k, v) => attention(q as Tensor, k as Tensor, v as Tensor, causal),
    ),
  ]
}
