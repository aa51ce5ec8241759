/** What cases cannot say of cross entropy: PyTorch's numbers, targets that are no class, rows without a possible class, accumulation, errors. */
import { describe, expect, it } from 'vitest'
import { ArgumentError, crossEntropy, mul, scope, sum, type Tensor, tensor } from '../../lib/index.ts'
import type { CrossEntropyOptions } from '../../lib/ops/crossEntropy.ts'
import { PhiloxStream } from '../../lib/random.ts'
import { testDevices } from '../devices.ts'
import { loadFixture } from '../fixtures/fixture.ts'
import { expectClose } from './pytorch.ts'

const { NEGATIVE_INFINITY: NONE, POSITIVE_INFINITY } = Number
const fixture = loadFixture('cross_entropy')

for (const { name: deviceName, device } of testDevices) {
  describe(`cross entropy on ${deviceName}`, () => {
    const logitsOf = (rows: number[][]) =>
      tensor(Float32Array.from(rows.flat()), [rows.length, rows[0]!.length], { device, requiresGrad: true })
    const targetsOf = (values: number[]) => tensor(Int32Array.from(values), [values.length], { device })

    for (const test of fixture.cases) {
      it(`agrees with PyTorch: ${test.name}`, () =>
        scope(async () => {
          const given = (name: string): Tensor => {
            const { data, shape } = fixture.tensor(test.name, name)
            return tensor(data, shape, { device })
          }
          const { classWeights, ...options } = test.options as unknown as CrossEntropyOptions & { classWeights: boolean }
          const logits = given('logits').requireGrad()
          const loss = crossEntropy(logits, given('target'), classWeights ? { ...options, classWeight: given('weight') } : options)
          sum(mul(loss, given('grad_output'))).backward()
          await expectClose(loss, fixture, test, 'output')
          await expectClose(logits.grad, fixture, test, 'grad_input/logits')
        }))
    }

    it('fails on a target that is no class, naming row and value, and poisons what depends on it', () =>
      scope(async () => {
        const logits = logitsOf([
          [1, 2, 3],
          [1, 2, 3],
          [1, 2, 3],
        ])
        for (const [bad, text] of [
          [3, 'is 3'],
          [-1, 'is -1'],
          [2147483647, 'is 2147483647'],
        ] as const) {
          const loss = crossEntropy(logits, targetsOf([0, bad, bad]))
          const doubled = mul(loss, 2)
          const message = new RegExp(`the target of row 1 must be from 0 to 2 or the ignored index -100, ${text}`)
          await expect(loss.read()).rejects.toThrow(message)
          await expect(doubled.read()).rejects.toThrow(ArgumentError)
        }
        const fine = crossEntropy(logits, targetsOf([0, -100, 2]))
        expect(Number.isFinite((await fine.read())[0])).toBe(true)
      }))

    it('gives the loss +inf where the target or every class is impossible, and a finite gradient', () =>
      scope(async () => {
        const logits = logitsOf([
          [NONE, NONE, NONE],
          [NONE, 0, 0],
          [0, NONE, 0],
        ])
        const loss = crossEntropy(logits, targetsOf([1, 0, 0]), { reduction: 'none' })
        sum(loss).backward()
        const losses = await loss.read()
        expect([...losses.slice(0, 2)]).toEqual([POSITIVE_INFINITY, POSITIVE_INFINITY])
        expect(losses[2]).toBeCloseTo(Math.LN2, 6)
        expect([...(await logits.grad!.read())]).toEqual([0, 0, 0, -1, 0.5, 0.5, -0.5, 0, 0.5])
      }))

    it('does not hide a NaN', () =>
      scope(async () => {
        const loss = crossEntropy(logitsOf([[1, Number.NaN, NONE]]), targetsOf([0]))
        expect((await loss.read())[0]).toBeNaN()
      }))

    it('adds up small batches to one large one by the normalizer', () =>
      scope(async () => {
        const stream = new PhiloxStream(3)
        const rows = Array.from({ length: 12 }, () => Array.from({ length: 17 }, () => stream.uniform() * 6 - 3))
        const classes = rows.map((_, i) => (i % 4 === 1 ? -100 : (i * 5) % 17))
        const whole = logitsOf(rows)
        const loss = crossEntropy(whole, targetsOf(classes), { labelSmoothing: 0.1 })
        loss.backward()
        const gradient: number[] = []
        let total = 0
        for (const [begin, end] of [
          [0, 5],
          [5, 6],
          [6, 12],
        ] as const) {
          const part = logitsOf(rows.slice(begin, end))
          const partial = crossEntropy(part, targetsOf(classes.slice(begin, end)), { labelSmoothing: 0.1, normalizer: 9 })
          partial.backward()
          total += (await partial.read())[0] as number
          gradient.push(...(await part.grad!.read()))
        }
        expect(total).toBeCloseTo((await loss.read())[0] as number, 5)
        const expected = [...(await whole.grad!.read())]
        // A GPU adds a row's exponentials in an order that depends on where the row starts.
        if (device.kind === 'cpu') expect(gradient).toEqual(expected)
        for (const [i, value] of expected.entries()) expect(gradient[i]).toBeCloseTo(value, 7)
      }))
  })
}

describe('cross entropy', () => {
  it('refuses what does not fit', () =>
    scope(() => {
      const logits = tensor([
        [1, 2, 3],
        [4, 5, 6],
      ])
      const targets = tensor([0, 1], { dtype: 'i32' })
      const refused = (call: () => unknown, message: string) => expect(call).toThrow(new ArgumentError(`[crossEntropy] ${message}`))
      refused(() => crossEntropy(logits, tensor([0, 1])), 'targets must have dtype i32, is f32')
      refused(() => crossEntropy(logits, tensor([0], { dtype: 'i32' })), 'targets must be [2], is [1]')
      refused(() => crossEntropy(targets, targets), 'logits must have a float dtype, is i32')
      refused(() => crossEntropy(logits, targets, { labelSmoothing: 1.1 }), 'labelSmoothing must be from 0 to 1, is 1.1')
      refused(() => crossEntropy(logits, targets, { ignoreIndex: 0.5 }), 'ignoreIndex must be a 32-bit integer, is 0.5')
      refused(() => crossEntropy(logits, targets, { reduction: 'average' as 'mean' }), 'reduction must be none, mean or sum, is average')
      refused(() => crossEntropy(logits, targets, { normalizer: 0 }), 'normalizer must be a positive number, is 0')
      refused(
        () => crossEntropy(logits, targets, { normalizer: 2, reduction: 'sum' }),
        'normalizer must be left out with reduction sum, is 2',
      )
      refused(() => crossEntropy(logits, targets, { classWeight: tensor([1, 2]) }), 'classWeight must be [3], is [2]')
      refused(
        () => crossEntropy(logits, targets, { classWeight: tensor([1, 2, 3], { requiresGrad: true }) }),
        'classWeight must not require a gradient: it has none',
      )
    }))
})
