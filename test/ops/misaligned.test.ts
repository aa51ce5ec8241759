/** Rows that start anywhere: kernels take 16 bytes at a time only where they may. */
import { describe, expect, it } from 'vitest'
import {
  crossEntropy,
  embedding,
  gatherRows,
  layerNorm,
  logSoftmax,
  rmsNorm,
  scope,
  softmax,
  sum,
  type Tensor,
  tensor,
} from '../../lib/index.ts'
import { testDevices } from '../devices.ts'

const [rows, columns] = [5, 72]
const values = Float32Array.from({ length: rows * columns + 1 }, (_, i) => Math.sin(i * i))

for (const { name: deviceName, device } of testDevices) {
  const index = tensor(Int32Array.from([4, 0, 2, 2, 1]), [rows], { device })
  const ops: Record<string, (x: Tensor) => Tensor> = {
    layerNorm: x => layerNorm(x),
    rmsNorm: x => rmsNorm(x),
    softmax: x => softmax(x),
    logSoftmax: x => logSoftmax(x),
    crossEntropy: x => crossEntropy(x, index, { reduction: 'none' }),
    gatherRows: x => gatherRows(x, index),
    embedding: x => embedding(x, index),
  }
  describe(`rows that start anywhere on ${deviceName}`, () => {
    for (const [name, op] of Object.entries(ops))
      for (const dtype of ['f32', 'bf16'] as const)
        it(`${name} in ${dtype}`, () =>
          scope(async () => {
            const flat = tensor(values, [values.length], { device, dtype, requiresGrad: true })
            const aligned = tensor(values.slice(1), [rows, columns], { device, dtype, requiresGrad: true })
            const y = op(flat.slice(0, 1, values.length).reshape([rows, columns]))
            const expected = op(aligned)
            sum(y.mul(y)).backward()
            sum(expected.mul(expected)).backward()
            const gradient = (await flat.grad!.read()).slice(1)
            const pairs = [
              [await y.read(), await expected.read()],
              [gradient, await aligned.grad!.read()],
            ] as const
            // Sums over a row are made in another order where it starts elsewhere: a rounding of their size, not of an element's.
            for (const [found, wanted] of pairs) {
              const size = Math.max(1, ...Array.from(wanted, Math.abs))
              for (const [i, value] of wanted.entries())
                expect(Math.abs((found[i] as number) - value)).toBeLessThan((dtype === 'f32' ? 4e-6 : 0.02) * size)
            }
          }))
  })
}
