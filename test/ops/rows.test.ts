/** What cases cannot say of the ops that take indices: errors found on the device, rows that get no gradient, the bits of repeated sums. */
import { describe, expect, it } from 'vitest'
import { ArgumentError, argmax, embedding, gatherRows, ones, scatterRows, seed, sum, tensor, topK, where } from '../../lib/index.ts'
import { testDevices } from '../devices.ts'

const i32 = (values: number[], shape: number[], device: (typeof testDevices)[0]['device']) =>
  tensor(Int32Array.from(values), shape, { device })

for (const { name, device } of testDevices) {
  describe(`rows by number on ${name}`, () => {
    const x = ones([10, 4], { device })

    it('name the place and the value of an id out of range, and let other work go on', async () => {
      const ids = i32([0, 9, 10, 3, -1, 2], [2, 3], device)
      const bad = [embedding(x, ids), gatherRows(x, ids), scatterRows(ones([2, 3, 4], { device }), ids, 10)]
      const good = x.mul(2)
      for (const [i, place] of [
        [0, 'ids'],
        [1, 'index'],
        [2, 'index'],
      ] as const) {
        const reading = (bad[i] as (typeof bad)[0]).read()
        await expect(reading).rejects.toThrow(ArgumentError)
        await expect(reading).rejects.toThrow(`${place}[0, 2] must be from 0 to 9, is 10`)
      }
      await expect(embedding(x, i32([1, -5], [2], device)).read()).rejects.toThrow('[embedding] ids[1] must be from 0 to 9, is -5')
      await expect(embedding(x, i32([1], [1], device), { positions: x, positionIds: i32([12], [1], device) }).read()).rejects.toThrow(
        'position_ids[0] must be from 0 to 9, is 12',
      )
      expect(await good.read()).toEqual(new Float32Array(40).fill(2))
    })

    it('stay in their table when the backward of a bad id runs', async () => {
      const table = ones([10, 4], { device }).requireGrad()
      sum(embedding(table, i32([3, 11], [2], device))).backward()
      await expect(table.grad?.read()).rejects.toThrow('ids[1] must be from 0 to 9, is 11')
    })

    it('get no gradient where they pad', async () => {
      const table = ones([5, 3], { device }).requireGrad()
      const positions = ones([4, 3], { device }).requireGrad()
      sum(embedding(table, i32([2, 1, 2, 4], [4], device), { paddingIndex: 2, scale: 3, positions })).backward()
      expect(await table.grad?.read()).toEqual(Float32Array.from([0, 0, 0, 3, 3, 3, 0, 0, 0, 0, 0, 0, 3, 3, 3]))
      expect(await positions.grad?.read()).toEqual(new Float32Array(12).fill(1))
    })

    it('add up in the order of the ids: as a loop over them does', async () => {
      seed(1)
      const tokens = 500
      const ids = Array.from({ length: tokens }, (_, n) => (n * n) % 7)
      const weights = Float32Array.from({ length: tokens * 130 }, (_, i) => Math.sin(i * 1.7) * 10 ** (i % 5))
      const table = ones([7, 130], { device }).requireGrad()
      embedding(table, i32(ids, [tokens], device)).backward(tensor(weights, [tokens, 130], { device }))
      const expected = new Float32Array(7 * 130)
      for (const [n, id] of ids.entries())
        for (let c = 0; c < 130; c++) expected[id * 130 + c] = (expected[id * 130 + c] as number) + (weights[n * 130 + c] as number)
      expect(await table.grad?.read()).toEqual(expected)
    })
  })
}

describe('arguments', () => {
  const device = testDevices[0]!.device
  const x = ones([3, 4], { device })
  const ids = i32([0, 1], [2], device)

  it('of embedding are checked', () => {
    expect(() => embedding(ones([3], { device }), ids)).toThrow('[embedding] table must be [*, *], is [3]')
    expect(() => embedding(x, x)).toThrow('[embedding] ids must have dtype i32, is f32')
    expect(() => embedding(x, ids, { paddingIndex: 3 })).toThrow('[embedding] paddingIndex must be an integer from 0 to 2, is 3')
    expect(() => embedding(x, ids, { dropout: 2 })).toThrow('[embedding] dropout must be from 0 to 1, is 2')
    expect(() => embedding(x, ids, { scale: Number.NaN })).toThrow('[embedding] scale must be finite, is NaN')
    expect(() => embedding(x, ids, { positions: ones([1, 4], { device }) })).toThrow('[embedding] positions must have at least 2 rows')
    expect(() => embedding(x, ids, { positions: ones([4, 5], { device }) })).toThrow('[embedding] positions must be [*, 4], is [4, 5]')
    expect(() => embedding(x, ids, { positionIds: ids })).toThrow('[embedding] positions must be given where positionIds are')
    expect(() => embedding(x, ids, { positions: x, positionIds: i32([1, 2, 3], [3], device) })).toThrow(
      '[embedding] positionIds must have the last dimensions of ids [2], is [3]',
    )
  })

  it('of gatherRows, scatterRows and where are checked', () => {
    expect(() => gatherRows(x, x)).toThrow('[gatherRows] index must have dtype i32, is f32')
    expect(() => gatherRows(ones([], { device }), ids)).toThrow('[gatherRows] x must have rows')
    expect(() => scatterRows(x, ids, 4)).toThrow('[scatterRows] x must begin with the dimensions of index [2], is [3, 4]')
    expect(() => scatterRows(ones([2], { device }), ids, -1)).toThrow('[scatterRows] rows must be a non-negative integer, is -1')
    expect(() => where(x, x, 0)).toThrow('[where] condition must have dtype u8, is f32')
    expect(() => where(x, 1, 0)).toThrow('[where] a or b must be a Tensor')
    expect(() => where(x.cast('u8'), x, ids)).toThrow('[where] b must have dtype f32 as a has, is i32')
  })

  it('of argmax and topK are checked', () => {
    expect(() => argmax(ones([2, 0], { device }))).toThrow('[argmax] x must have elements along the dimension searched, is [2, 0]')
    expect(() => argmax(x, { dim: 2 })).toThrow('[argmax] dim must be from -2 to 1')
    for (const k of [0, 5, 1.5]) expect(() => topK(x, k)).toThrow(`[topK] k must be an integer from 1 to 4, is ${k}`)
  })

  it('of topK may name another dimension', async () => {
    const { values, indices } = topK(
      tensor(
        [
          [1, 8],
          [5, 2],
          [3, 4],
        ],
        { device },
      ),
      2,
      { dim: 0 },
    )
    expect(await values.read()).toEqual(Float32Array.from([5, 8, 3, 4]))
    expect(await indices.read()).toEqual(Int32Array.from([1, 0, 2, 2]))
  })
})
