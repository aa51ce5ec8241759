/** What cases cannot say of softmax and log-softmax: other dimensions, gradients of rows of -inf, PyTorch's numbers, errors. */
import { describe, expect, it } from 'vitest'
import { ArgumentError, logSoftmax, mul, scope, softmax, sum, tensor } from '../../lib/index.ts'
import { testDevices } from '../devices.ts'
import { loadFixture } from '../fixtures/fixture.ts'
import { expectClose } from './pytorch.ts'

const { NEGATIVE_INFINITY, NaN: NAN } = Number
const fixture = loadFixture('functional')
const functions = { softmax, log_softmax: logSoftmax }

for (const { name: deviceName, device } of testDevices) {
  describe(`softmax on ${deviceName}`, () => {
    for (const test of fixture.cases.filter(({ op }) => typeof op === 'string' && op in functions)) {
      it(`agrees with PyTorch: ${test.name}`, () =>
        scope(async () => {
          const given = (name: string) => {
            const { data, shape } = fixture.tensor(test.name, name)
            return tensor(data, shape, { device })
          }
          const x = given('x').requireGrad()
          const y = functions[test.op as keyof typeof functions](x, { dim: test.options.dim as number })
          sum(mul(y, given('grad_output'))).backward()
          await expectClose(y, fixture, test, 'output')
          await expectClose(x.grad, fixture, test, 'grad_input/x')
        }))
    }

    it('gives a row of -inf the gradient 0, and others theirs', () =>
      scope(async () => {
        const values = [...new Array(3).fill(NEGATIVE_INFINITY), NEGATIVE_INFINITY, 0, 0]
        for (const f of [softmax, logSoftmax]) {
          const x = tensor(Float32Array.from(values), [2, 3], { device, requiresGrad: true })
          const dy = tensor(Float32Array.from([1, 2, 3, 4, 5, 7]), [2, 3], { device })
          f(x).backward(dy)
          expect([...(await x.grad!.read())]).toEqual(f === softmax ? [0, 0, 0, 0, -0.5, 0.5] : [0, 0, 0, 4, -3, -1])
        }
      }))

    it('does not hide a NaN, even beside -inf', () =>
      scope(async () => {
        const x = tensor(Float32Array.from([NAN, NEGATIVE_INFINITY, NEGATIVE_INFINITY, 0, NAN, 1]), [2, 3], { device })
        for (const f of [softmax, logSoftmax]) expect([...(await f(x).read())].every(Number.isNaN)).toBe(true)
      }))

    it('takes an upstream gradient that is a broadcast view', () =>
      scope(async () => {
        const x = tensor(Float32Array.from([1, 2, 3]), [1, 3], { device, requiresGrad: true })
        sum(softmax(x)).backward()
        for (const dx of await x.grad!.read()) expect(Math.abs(dx)).toBeLessThan(1e-6)
      }))
  })
}

describe('softmax', () => {
  it('refuses what it cannot do', () =>
    scope(() => {
      const x = tensor([[1, 2]])
      expect(() => softmax(x, { dim: 2 })).toThrow(new ArgumentError('[softmax] dim must be from -2 to 1 for 2 dimensions, is 2'))
      expect(() => softmax(x, { scale: Number.NaN })).toThrow(new ArgumentError('[softmax] scale must be a finite number, is NaN'))
      expect(() => logSoftmax(tensor([1], { dtype: 'i32' }))).toThrow(new ArgumentError('[logSoftmax] x must have a float dtype, is i32'))
      expect(() => softmax(tensor(Float32Array.of(1), []))).toThrow('[softmax] dim must be')
    }))
})
