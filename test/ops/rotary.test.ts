/** Tables of rotary positions, and heads that turn as those of Hugging Face's models do. */
import { describe, expect, it } from 'vitest'
import { add, mul, qkv, rotaryTables, scope, sum, type Tensor, tensor } from '../../lib/index.ts'
import { testDevices } from '../devices.ts'
import { loadFixture } from '../fixtures/fixture.ts'
import { expectClose } from './pytorch.ts'

describe('rotaryTables', () => {
  it('hold the cosines and sines of position / factor · base^(-2i/dim), rounded once', () =>
    scope(async () => {
      const { cosines, sines } = rotaryTables({ dim: 6, length: 4, base: 500, factor: 8 })
      expect([cosines.shape, sines.shape, cosines.dtype]).toEqual([[4, 3], [4, 3], 'f32'])
      const angles = Array.from({ length: 12 }, (_, at) => Math.floor(at / 3) / 8 / 500 ** ((at % 3) / 3))
      const close = (found: Float32Array, f: (angle: number) => number) => {
        for (const [at, angle] of angles.entries()) expect(Math.abs((found[at] as number) - f(angle))).toBeLessThan(2 ** -24)
      }
      close(await cosines.read(), Math.cos)
      close(await sines.read(), Math.sin)
    }))

  it('keep their precision far out', () =>
    scope(async () => {
      const { sines } = rotaryTables({ dim: 2, length: 100001 })
      expect((await sines.read())[100000]).toBe(Math.fround(Math.sin(100000)))
    }))

  for (const [message, options] of [
    ['dim must be a positive even integer, is 5', { dim: 5, length: 1 }],
    ['length must be a positive integer, is 0', { dim: 4, length: 0 }],
    ['base must be a positive number, is 0', { dim: 4, length: 1, base: 0 }],
    ['factor must be a positive number, is NaN', { dim: 4, length: 1, factor: Number.NaN }],
  ] as const)
    it(message, () => expect(() => rotaryTables(options)).toThrow(`[rotaryTables] ${message}`))
})

const fixture = loadFixture('rotary')
interface Options {
  model: 'llama' | 'gpt_neox' | 'gptj'
  heads: [number, number]
  headDim: number
  dim: number
  base: number
  factor: number
  length: number
}

for (const { name: deviceName, device } of testDevices)
  describe(`qkv with rotary positions on ${deviceName}`, () => {
    for (const test of fixture.cases)
      it(`agrees with transformers: ${test.name}`, () =>
        scope(async () => {
          const given = (name: string) => {
            const { data, shape } = fixture.tensor(test.name, name)
            return tensor(data, shape, { device })
          }
          const { model, heads, headDim, dim, base, factor, length } = test.options as unknown as Options
          const [x, weight, bias] = [given('x').requireGrad(), given('weight').requireGrad(), given('bias').requireGrad()]
          const sizes = { q: [heads[0], headDim], k: [heads[1], headDim], v: [heads[1], headDim] } as const
          const tables = rotaryTables({ dim, length, base, factor, device })
          const rotary = { ...tables, positionIds: given('position_ids'), interleaved: model === 'gptj' }
          const found: Record<'q' | 'k' | 'v', Tensor> = qkv(x, weight, bias, sizes, { rotary })
          let loss: Tensor | undefined
          for (const part of ['q', 'k', 'v'] as const) {
            const term = sum(mul(found[part], given(`grad_${part}`)))
            loss = loss === undefined ? term : add(loss, term)
            await expectClose(found[part], fixture, test, part)
          }
          loss?.backward()
          for (const [name, leaf] of Object.entries({ x, weight, bias })) await expectClose(leaf.grad, fixture, test, `grad_input/${name}`)
        }))
  })
