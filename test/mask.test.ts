import { describe, expect, it } from 'vitest'
import { ArgumentError, Mask, ones, Sequences, scope, type Tensor, tensor, zeros } from '../lib/index.ts'

const u8 = (...values: number[]) => tensor(Uint8Array.from(values), [values.length])

describe('Mask', () => {
  it('combines by what both allow', () =>
    scope(async () => {
      const mask = Mask.causal()
        .and(Mask.window(5, Number.POSITIVE_INFINITY))
        .and(Mask.window(3, 2))
        .and(Mask.keyLengths([4, 1]))
        .and(Mask.keyLengths(Int32Array.of(2, 7)))
        .and(Mask.keep(u8(1, 2, 0, 4)))
        .and(Mask.drop(u8(0, 0, 0, 9)))
      const { causal, left, right, keyLengths, keep, bias } = mask.parts
      expect({ causal, left, right, bias }).toEqual({ causal: true, left: 3, right: 2, bias: undefined })
      expect([...(keyLengths as Int32Array)]).toEqual([2, 1])
      expect([...(await (keep as Tensor).read())].map(Boolean)).toEqual([true, true, false, false])
    }))
  it('adds biases, and broadcasts what it joins', () =>
    scope(async () => {
      const mask = Mask.bias(tensor([[1], [2]])).and(Mask.bias(tensor([10, 20, 30])))
      expect(mask.parts.bias?.shape).toEqual([2, 3])
      expect([...(await (mask.parts.bias as Tensor).read())]).toEqual([11, 21, 31, 12, 22, 32])
      const keep = Mask.keep(tensor(Uint8Array.of(1, 0), [2, 1])).and(Mask.keep(u8(1, 1, 0)))
      expect([...(await (keep.parts.keep as Tensor).read())]).toEqual([1, 1, 0, 0, 0, 0])
    }))
  it('lets a gradient through joined and converted biases', () =>
    scope(async () => {
      const bias = tensor(Float32Array.of(1, 2), [2], { dtype: 'bf16' }).requireGrad()
      const joined = Mask.bias(bias).and(Mask.bias(ones([3, 2]))).parts.bias as Tensor
      expect(joined.dtype).toBe('f32')
      joined.sum().backward()
      expect([...(await (bias.grad as Tensor).read())]).toEqual([3, 3])
    }))
  it('leaves the parts as they were', () => {
    const causal = Mask.causal()
    causal.and(Mask.window(1, 1))
    expect(causal.parts.left).toBeUndefined()
  })

  const errors: [string, () => unknown][] = [
    ['[Mask.window] left must be an integer from 0, or Infinity, is -1', () => Mask.window(-1, 0)],
    ['[Mask.window] right must be an integer from 0, or Infinity, is 1.5', () => Mask.window(0, 1.5)],
    ['[Mask.window] right must be an integer from 0, or Infinity, is NaN', () => Mask.window(0, Number.NaN)],
    [
      '[Mask.keep] mask must have dtype u8 (1 for true), has f32: numbers that are added to scores are Mask.bias',
      () => Mask.keep(zeros([3])),
    ],
    ['[Mask.drop] mask must have dtype u8 (1 for true), has i32', () => Mask.drop(zeros([3], { dtype: 'i32' }))],
    ['[Mask.bias] mask must have a float dtype, has u8: truth values are Mask.keep or Mask.drop', () => Mask.bias(u8(1))],
    [
      '[Mask.keep] mask must have at most 4 dimensions [B, H, Tq, Tk], is [1, 1, 1, 1, 1]',
      () => Mask.keep(zeros([1, 1, 1, 1, 1], { dtype: 'u8' })),
    ],
    ['[Mask.bias] mask must be a Tensor, is null', () => Mask.bias(null as unknown as Tensor)],
    ['[Mask.keyLengths] lengths must be integers from 0, lengths[1] is -2', () => Mask.keyLengths([1, -2])],
    ['[Mask.keyLengths] lengths must be integers from 0, lengths[0] is 0.5', () => Mask.keyLengths([0.5])],
    ['[Mask.and] other must have key lengths for 2 sequences, has 1', () => Mask.keyLengths([1, 2]).and(Mask.keyLengths([1]))],
    ['[Mask.and] other must broadcast with this mask: [2] and [3] differ', () => Mask.keep(u8(1, 1, 1)).and(Mask.keep(u8(1, 1)))],
    ['[Mask.and] other must broadcast with this mask: [2] and [3] differ', () => Mask.bias(zeros([3])).and(Mask.bias(zeros([2])))],
  ]
  for (const [message, call] of errors)
    it(message, () =>
      scope(() => {
        expect(call).toThrow(ArgumentError)
        expect(call).toThrow(message)
      }),
    )
})

describe('Sequences', () => {
  it('counts rows', () =>
    scope(async () => {
      const sequences = Sequences.of([3, 0, 5])
      expect([sequences.count, sequences.total, sequences.maxLength]).toEqual([3, 8, 5])
      expect(sequences.lengths).toEqual([3, 0, 5])
      expect([...(await sequences.offsets.read())]).toEqual([0, 3, 3, 8])
      const none = Sequences.of([])
      expect([none.count, none.total, none.maxLength]).toEqual([0, 0, 0])
    }))
  it('is freed with its scope, unless it leaves it, or by hand', () => {
    let left: Sequences | undefined
    const kept = scope(() => {
      left = Sequences.of([1])
      return Sequences.of(Int32Array.of(2, 2))
    })
    expect(left?.offsets.disposed).toBe(true)
    expect(kept.offsets.disposed).toBe(false)
    kept.dispose()
    expect(kept.offsets.disposed).toBe(true)
  })
  const errors: [string, () => unknown][] = [
    ['[Sequences.of] lengths must be integers from 0, lengths[1] is -1', () => Sequences.of([2, -1])],
    ['[Sequences.of] lengths must be integers from 0, lengths[0] is 1.5', () => Sequences.of([1.5])],
    ['[Sequences.of] lengths must sum to at most 2^31 - 1', () => Sequences.of([0x7fffffff, 1])],
  ]
  for (const [message, call] of errors) it(message, () => expect(call).toThrow(message))
})
