/** What cases cannot say of the norms: PyTorch's numbers, determinism over threads, errors, what the residual form shares. */
import { describe, expect, it } from 'vitest'
import {
  ArgumentError,
  device,
  layerNorm,
  layerNormResidual,
  mul,
  rmsNorm,
  rmsNormResidual,
  scope,
  seed,
  sum,
  type Tensor,
  tensor,
} from '../../lib/index.ts'
import { PhiloxStream } from '../../lib/random.ts'
import { testDevices } from '../devices.ts'
import { loadFixture } from '../fixtures/fixture.ts'
import { expectClose } from './pytorch.ts'

const fixture = loadFixture('functional')
const uniform = (count: number, counter: number) => {
  const stream = new PhiloxStream(5, counter)
  return Float32Array.from({ length: count }, () => stream.uniform() * 2 - 1)
}

for (const { name: deviceName, device } of testDevices) {
  describe(`norms on ${deviceName}`, () => {
    for (const test of fixture.cases.filter(({ op }) => op === 'layer_norm' || op === 'rms_norm')) {
      it(`agree with PyTorch: ${test.name}`, () =>
        scope(async () => {
          const leaf = (name: string) => {
            if (!test.inputs?.includes(name)) return undefined
            const { data, shape } = fixture.tensor(test.name, name)
            return tensor(data, shape, { device, requiresGrad: true })
          }
          const leaves = { x: leaf('x'), weight: leaf('weight'), bias: leaf('bias') }
          const eps = test.options.eps as number
          const y =
            test.op === 'layer_norm'
              ? layerNorm(leaves.x!, leaves.weight, leaves.bias, { eps })
              : rmsNorm(leaves.x!, leaves.weight, { eps })
          const { data, shape } = fixture.tensor(test.name, 'grad_output')
          sum(mul(y, tensor(data, shape, { device }))).backward()
          await expectClose(y, fixture, test, 'output')
          for (const [name, value] of Object.entries(leaves)) if (value) await expectClose(value.grad, fixture, test, `grad_input/${name}`)
        }))
    }

    it('drop the same elements in f32 and bf16, about as many as asked for', () =>
      scope(async () => {
        const x = new Float32Array(64 * 129).fill(1)
        const kept: boolean[][] = []
        for (const dtype of ['f32', 'bf16'] as const) {
          seed(3)
          const { sum } = layerNormResidual(tensor(x, [64, 129], { device, dtype }), undefined, undefined, { dropout: 0.25 })
          kept.push([...(await sum.read())].map(value => value !== 0))
        }
        expect(kept[1]).toEqual(kept[0])
        const share = kept[0]!.filter(Boolean).length / x.length
        expect(Math.abs(share - 0.75)).toBeLessThan(0.02)
      }))

    it('make 0 of a dropped infinity', () =>
      scope(async () => {
        const x = tensor(new Float32Array(256).fill(Number.POSITIVE_INFINITY), [2, 128], { device })
        const residual = tensor(new Float32Array(256).fill(3), [2, 128], { device })
        for (const given of [undefined, residual]) {
          const { sum } = layerNormResidual(x, undefined, undefined, { dropout: 0.5, ...(given ? { residual: given } : {}) })
          const base = given ? 3 : 0
          expect(new Set(await sum.read())).toEqual(new Set([base, Number.POSITIVE_INFINITY]))
        }
      }))

    it('drop nothing and draw nothing without dropout: the next draw is the same', () =>
      scope(async () => {
        const x = tensor(uniform(40, 0), [4, 10], { device })
        const draws: number[][] = []
        for (const norms of [0, 3]) {
          seed(9)
          for (let i = 0; i < norms; i++) layerNorm(x, undefined, undefined, { residual: x })
          draws.push([...(await rmsNorm(x, undefined, { dropout: 0.5 }).read())])
        }
        expect(draws[1]).toEqual(draws[0])
      }))

    it('let the gradient of the sum through when nothing else is used', () =>
      scope(async () => {
        const leaf = (counter: number) => tensor(uniform(60, counter), [4, 15], { device, requiresGrad: true })
        const forms = [
          (x: Tensor, weight: Tensor, residual: Tensor) => rmsNormResidual(x, weight, { residual }),
          (x: Tensor, weight: Tensor, residual: Tensor) => layerNormResidual(x, weight, undefined, { residual }),
        ]
        for (const form of forms) {
          const [x, residual, dsum] = [leaf(1), leaf(2), leaf(3)]
          const weight = tensor(new Float32Array(15).fill(1), [15], { device, requiresGrad: true })
          form(x, weight, residual).sum.backward(dsum)
          expect(await x.grad!.read()).toEqual(await dsum.read())
          expect(await residual.grad!.read()).toEqual(await dsum.read())
          expect(await weight.grad!.read()).toEqual(new Float32Array(15))
        }
      }))
  })
}

describe('norms', () => {
  it('give the same bits with any number of threads', () =>
    scope(async () => {
      const run = async (threads: number) => {
        const on = device('cpu', { threads })
        const leaf = (shape: number[], counter: number) =>
          tensor(
            uniform(
              shape.reduce((a, b) => a * b),
              counter,
            ),
            shape,
            { device: on, requiresGrad: true },
          )
        const [x, residual, weight, bias] = [leaf([333, 200], 0), leaf([333, 200], 1), leaf([200], 2), leaf([200], 3)]
        seed(1)
        const y = layerNorm(x, weight, bias, { residual, dropout: 0.2 })
        y.backward(tensor(uniform(333 * 200, 4), [333, 200], { device: on }))
        return Promise.all([y, ...[x, residual, weight, bias].map(t => t.grad!)].map(t => t.read()))
      }
      expect(await run(2)).toEqual(await run(1))
      expect(await run(3)).toEqual(await run(1))
    }))

  it('refuse what does not fit', () =>
    scope(() => {
      const x = tensor([[1, 2, 3]])
      const refused = (call: () => unknown, message: string) => expect(call).toThrow(new ArgumentError(message))
      refused(() => layerNorm(x, tensor([1, 2])), '[layerNorm] weight must be [3], is [2]')
      refused(() => layerNorm(x, undefined, tensor([[1, 2, 3]])), '[layerNorm] bias must be [3], is [1, 3]')
      refused(() => rmsNorm(x, tensor([1, 2, 3], { dtype: 'bf16' })), '[rmsNorm] weight must have dtype f32, is bf16')
      refused(() => rmsNorm(x, undefined, { residual: tensor([1, 2, 3]) }), '[rmsNorm] residual must be [1, 3], is [3]')
      refused(
        () => layerNorm(x, undefined, undefined, { residual: tensor([[1, 2, 3]], { dtype: 'bf16' }) }),
        '[layerNorm] residual must have dtype f32, is bf16',
      )
      refused(() => layerNorm(x, undefined, undefined, { dropout: 1.5 }), '[layerNorm] dropout must be from 0 to 1, is 1.5')
      refused(() => layerNorm(x, undefined, undefined, { eps: -1 }), '[layerNorm] eps must be from 0 to 1.7976931348623157e+308, is -1')
      refused(() => layerNorm(tensor([1], { dtype: 'i32' })), '[layerNorm] x must have a float dtype, is i32')
      refused(() => layerNorm(tensor(Float32Array.of(1), [])), '[layerNorm] x must have at least one dimension, has none')
    }))
})
