/** What the compiler knows of each op: the result's shape where the arguments' are literal, and which arguments it refuses. */
import { assertType, describe, expectTypeOf, test } from 'vitest'
import * as tw from '../../lib/index.ts'
import { Mask, type Shape, type Tensor } from '../../lib/index.ts'

declare const x: Tensor<[8, 16, 512]>
declare const y: Tensor<[8, 16, 512]>
declare const narrow: Tensor<[8, 16, 256]>
declare const row: Tensor<[512]>
declare const short: Tensor<[256]>
declare const someLength: Tensor<[number, number, 512]>
declare const any: Tensor<Shape>
declare const ids: Tensor<[8, 16], 'i32'>

/** The shape of a tensor, of whatever dtype. */
const shapeOf = <S extends Shape>(_: Tensor<S>): S => [] as unknown as S

describe('element by element', () => {
  test('unary ops keep the shape', () => {
    for (const op of [tw.exp, tw.log, tw.sqrt, tw.rsqrt, tw.square, tw.abs, tw.sin, tw.cos, tw.erf, tw.tanh, tw.sigmoid] as const)
      expectTypeOf(shapeOf(op(x))).toEqualTypeOf<[8, 16, 512]>()
    for (const op of [tw.relu, tw.gelu, tw.geluTanh, tw.silu, tw.relu2] as const) expectTypeOf(shapeOf(op(x))).toEqualTypeOf<[8, 16, 512]>()
    expectTypeOf(tw.exp(any)).toEqualTypeOf<Tensor<Shape>>()
  })
  test('binary ops broadcast', () => {
    for (const op of [tw.add, tw.sub, tw.mul, tw.div, tw.pow, tw.maximum, tw.minimum] as const) {
      expectTypeOf(op(x, y)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
      expectTypeOf(op(x, row)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
      expectTypeOf(op(row, x)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
      expectTypeOf(op(x, 2)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
      expectTypeOf(op(x, any)).toEqualTypeOf<Tensor<Shape>>()
    }
    expectTypeOf(tw.sub(1, x)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(tw.add(tw.zeros([8, 1, 512]), tw.zeros([16, 1]))).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(tw.add(x, someLength)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    // A length that is not known may be 1.
    expectTypeOf(tw.add(someLength, tw.zeros([1, 1, 512]))).toEqualTypeOf<Tensor<[number, number, 512]>>()
  })
  test('comparisons give u8', () => {
    for (const op of [tw.equal, tw.notEqual, tw.less, tw.lessEqual, tw.greater, tw.greaterEqual] as const) {
      expectTypeOf(op(x, row)).toEqualTypeOf<Tensor<[8, 16, 512], 'u8'>>()
      // @ts-expect-error 256 is not 512
      op(x, short)
    }
  })
  test('what does not broadcast does not compile', () => {
    // @ts-expect-error 256 is not 512
    tw.add(x, narrow)
    // @ts-expect-error 256 is not 512
    tw.mul(x, short)
    // @ts-expect-error 256 is not 512
    tw.div(short, x)
    // @ts-expect-error 3 is not 8
    tw.maximum(x, tw.zeros([3, 16, 512]))
    // @ts-expect-error 256 is not 512
    x.add(narrow)
  })
  test('where, affine, dropout', () => {
    expectTypeOf(tw.where(ids, x.sum(), 0)).toEqualTypeOf<Tensor<[8, 16]>>()
    expectTypeOf(tw.where(tw.equal(x, y), x, y)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(tw.where(tw.equal(x, y), x, 0)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    // @ts-expect-error 256 is not 512
    tw.where(tw.equal(x, y), x, narrow)
    // @ts-expect-error 256 is not 512
    tw.where(tw.equal(x, y), narrow, 0)
    expectTypeOf(tw.dropout(x, 0.1)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    assertType<Tensor>(tw.affine(x, 2, 1))
  })
})

describe('products', () => {
  const weight = tw.zeros([2048, 512])
  const bias = tw.zeros([2048])
  test('matmul', () => {
    expectTypeOf(tw.matmul(x, tw.zeros([512, 64]))).toEqualTypeOf<Tensor<[8, 16, 64]>>()
    expectTypeOf(tw.matmul(tw.zeros([8, 1, 4, 16]), tw.zeros([3, 16, 5]))).toEqualTypeOf<Tensor<[8, 3, 4, 5]>>()
    expectTypeOf(tw.matmul(x, any)).toEqualTypeOf<Tensor<Shape>>()
    assertType<Tensor>(tw.matmul(any, x))
    assertType<Tensor>(tw.matmul(row, row))
    // @ts-expect-error 16 is not 512
    tw.matmul(x, y)
    // @ts-expect-error 7 is not 8
    tw.matmul(x, tw.zeros([7, 512, 64]))
  })
  test('linear', () => {
    expectTypeOf(tw.linear(x, weight, bias)).toEqualTypeOf<Tensor<[8, 16, 2048]>>()
    expectTypeOf(tw.linear(x, weight, undefined, { activation: 'gelu' })).toEqualTypeOf<Tensor<[8, 16, 2048]>>()
    expectTypeOf(tw.linear(someLength, weight)).toEqualTypeOf<Tensor<[number, number, 2048]>>()
    assertType<Tensor>(tw.linear(x, any, any))
    assertType<Tensor>(tw.linear(any, weight, bias))
    // @ts-expect-error 256 is not 512
    tw.linear(narrow, weight)
    // @ts-expect-error 512 is not 2048
    tw.linear(x, weight, row)
  })
  test('feedForward', () => {
    const back = tw.zeros([512, 2048])
    expectTypeOf(tw.feedForward(x, weight, bias, back, row)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(tw.feedForward(x, any, undefined, tw.zeros([64, 2048]), undefined)).toEqualTypeOf<Tensor<[8, 16, 64]>>()
    // @ts-expect-error 256 is not 512
    tw.feedForward(narrow, weight, bias, back, row)
    // @ts-expect-error 2048 is not 512
    tw.feedForward(x, weight, bias, back, bias)
    // @ts-expect-error 512 is not 2048
    tw.feedForward(x, weight, row, back, row)
  })
  test('qkv', () => {
    const packed = tw.zeros([1024, 512])
    const { q, k, v } = tw.qkv(x, packed, undefined, { q: [8, 64], k: [4, 64], v: [4, 64] })
    expectTypeOf(q).toEqualTypeOf<Tensor<[8, 16, 8, 64]>>()
    expectTypeOf(k).toEqualTypeOf<Tensor<[8, 16, 4, 64]>>()
    expectTypeOf(v).toEqualTypeOf<Tensor<[8, 16, 4, 64]>>()
    // @ts-expect-error q was not asked for
    tw.qkv(x, packed, undefined, { k: [8, 64], v: [8, 64] }).q
    // @ts-expect-error 256 is not 512
    tw.qkv(narrow, packed, undefined, { q: [16, 64] })
    // @ts-expect-error 512 is not 1024
    tw.qkv(x, packed, row, { q: [16, 64] })
    const { cosines, sines } = tw.rotaryTables({ dim: 64, length: 16 })
    const heads = { q: [8, 64], k: [4, 64], v: [4, 64] } as const
    expectTypeOf(tw.qkv(x, packed, undefined, heads, { rotary: { cosines, sines } }).k).toEqualTypeOf<Tensor<[8, 16, 4, 64]>>()
    const cache = { k: packed, v: packed, slots: packed }
    expectTypeOf(tw.qkv(x, packed, undefined, heads, { cache }).q).toEqualTypeOf<Tensor<[8, 16, 8, 64]>>()
    // @ts-expect-error k went to the cache
    tw.qkv(x, packed, undefined, heads, { cache }).k
  })
})

describe('attention', () => {
  const q = tw.zeros([2, 5, 8, 64])
  const k = tw.zeros([2, 7, 4, 64])
  const v = tw.zeros([2, 7, 4, 32])
  test('has the rows of q and the width of v', () => {
    const { output, logSumExp } = tw.attention(q, k, v, { mask: Mask.causal() })
    expectTypeOf(output).toEqualTypeOf<Tensor<[2, 5, 8, 32]>>()
    expectTypeOf(logSumExp).toEqualTypeOf<Tensor<[2, 5, 8], 'f32'>>()
    expectTypeOf(tw.attention(q, any, any).output).toEqualTypeOf<Tensor<[2, 5, 8, number]>>()
    assertType<Tensor>(tw.attentionWeights(q, k, logSumExp))
  })
  test('refuses keys of another width', () => {
    // @ts-expect-error 32 is not 64
    tw.attention(q, v, v)
    // @ts-expect-error 32 is not 64
    tw.attentionWeights(q, v, any)
  })
})

describe('norms and softmax', () => {
  test('keep the shape', () => {
    expectTypeOf(tw.layerNorm(x, row, row)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(tw.layerNormResidual(x, row).sum).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(tw.rmsNorm(x, row)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(tw.rmsNormResidual(x, any).y).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(tw.softmax(x)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(tw.logSoftmax(x, { dim: 1 })).toEqualTypeOf<Tensor<[8, 16, 512]>>()
  })
  test('refuse parameters of another width', () => {
    // @ts-expect-error 256 is not 512
    tw.layerNorm(x, short)
    // @ts-expect-error 256 is not 512
    tw.layerNorm(x, row, short)
    // @ts-expect-error 256 is not 512
    tw.layerNormResidual(x, short)
    // @ts-expect-error 256 is not 512
    tw.rmsNorm(x, short)
    // @ts-expect-error 256 is not 512
    tw.rmsNormResidual(x, short)
  })
})

describe('indices', () => {
  const table = tw.zeros([1000, 512])
  test('embedding, gatherRows, scatterRows', () => {
    expectTypeOf(tw.embedding(table, ids)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    assertType<Tensor>(tw.embedding(table, any))
    expectTypeOf(tw.gatherRows(table, ids)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(tw.gatherRows(x, tw.zeros([3], { dtype: 'i32' }))).toEqualTypeOf<Tensor<[3, 16, 512]>>()
    expectTypeOf(tw.scatterRows(x, ids, 1000)).toEqualTypeOf<Tensor<[1000, 512]>>()
  })
  test('argmax, topK', () => {
    expectTypeOf(tw.argmax(x)).toEqualTypeOf<Tensor<[8, 16], 'i32'>>()
    expectTypeOf(tw.argmax(x, { dim: 0 })).toEqualTypeOf<Tensor<Shape, 'i32'>>()
    expectTypeOf(tw.topK(x, 5).values).toEqualTypeOf<Tensor<[8, 16, 5]>>()
    expectTypeOf(tw.topK(x, 5).indices).toEqualTypeOf<Tensor<[8, 16, 5], 'i32'>>()
    expectTypeOf(tw.topK(x, 5, { dim: 0 }).values).toEqualTypeOf<Tensor<Shape>>()
  })
  test('crossEntropy', () => {
    expectTypeOf(tw.crossEntropy(x, ids)).toEqualTypeOf<Tensor<readonly [], 'f32'>>()
    expectTypeOf(tw.crossEntropy(x, ids, { labelSmoothing: 0.1 })).toEqualTypeOf<Tensor<readonly [], 'f32'>>()
    expectTypeOf(tw.crossEntropy(x, ids, { reduction: 'none' })).toEqualTypeOf<Tensor<[8, 16], 'f32'>>()
    assertType<Tensor>(tw.crossEntropy(any, any))
    // @ts-expect-error 16 targets a sequence, not 15
    tw.crossEntropy(x, tw.zeros([8, 15], { dtype: 'i32' }))
  })
})

describe('reductions and views', () => {
  test('reductions', () => {
    for (const op of [tw.sum, tw.mean, tw.max, tw.min] as const) {
      expectTypeOf(op(x)).toEqualTypeOf<Tensor<readonly []>>()
      expectTypeOf(op(x, { dims: [-1] })).toEqualTypeOf<Tensor<Shape>>()
    }
    expectTypeOf(x.mean()).toEqualTypeOf<Tensor<readonly []>>()
    expectTypeOf(x.mean({ dims: [0] })).toEqualTypeOf<Tensor<Shape>>()
  })
  test('reshape: -1 is a dimension that is not known', () => {
    expectTypeOf(tw.reshape(x, [128, 512])).toEqualTypeOf<Tensor<readonly [128, 512]>>()
    expectTypeOf(tw.reshape(x, [-1, 512])).toEqualTypeOf<Tensor<readonly [number, 512]>>()
    expectTypeOf(x.reshape([4, -1])).toEqualTypeOf<Tensor<readonly [4, number]>>()
  })
  test('transpose, permute', () => {
    expectTypeOf(tw.transpose(x)).toEqualTypeOf<Tensor<[8, 512, 16]>>()
    expectTypeOf(x.transpose()).toEqualTypeOf<Tensor<[8, 512, 16]>>()
    expectTypeOf(tw.transpose(x, 0, 1)).toEqualTypeOf<Tensor<Shape>>()
    expectTypeOf(tw.permute(x, [2, 0, 1])).toEqualTypeOf<Tensor<[512, 8, 16]>>()
    expectTypeOf(x.permute([-1, 0, 1])).toEqualTypeOf<Tensor<[number, 8, 16]>>()
  })
  test('broadcastTo, slice, concat, contiguous, clone, cast', () => {
    expectTypeOf(tw.broadcastTo(row, [8, 16, 512])).toEqualTypeOf<Tensor<readonly [8, 16, 512]>>()
    // @ts-expect-error 256 does not become 512
    tw.broadcastTo(short, [8, 16, 512])
    // @ts-expect-error a dimension is not taken away
    tw.broadcastTo(x, [512])
    expectTypeOf(tw.slice(x, 0, 1, 3)).toEqualTypeOf<Tensor<Shape>>()
    expectTypeOf(tw.concat([x, y])).toEqualTypeOf<Tensor<Shape>>()
    expectTypeOf(tw.contiguous(x)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(tw.clone(x)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(tw.cast(x, 'bf16')).toEqualTypeOf<Tensor<[8, 16, 512], 'bf16'>>()
    expectTypeOf(x.cast('i32')).toEqualTypeOf<Tensor<[8, 16, 512], 'i32'>>()
  })
})

describe('new tensors', () => {
  test('have the shape that was given', () => {
    expectTypeOf(tw.zeros([2, 3])).toEqualTypeOf<Tensor<readonly [2, 3], 'f32'>>()
    expectTypeOf(tw.ones([2, 3])).toEqualTypeOf<Tensor<readonly [2, 3], 'f32'>>()
    expectTypeOf(tw.normal([2, 3])).toEqualTypeOf<Tensor<readonly [2, 3], 'f32'>>()
    expectTypeOf(tw.truncatedNormal([2, 3])).toEqualTypeOf<Tensor<readonly [2, 3], 'f32'>>()
    expectTypeOf(tw.uniform([2, 3])).toEqualTypeOf<Tensor<readonly [2, 3], 'f32'>>()
    expectTypeOf(tw.rand([2, 3])).toEqualTypeOf<Tensor<readonly [2, 3], 'f32'>>()
    expectTypeOf(tw.randn([2, 3])).toEqualTypeOf<Tensor<readonly [2, 3], 'f32'>>()
    expectTypeOf(tw.empty([2, 3])).toEqualTypeOf<Tensor<readonly [2, 3], 'f32'>>()
    expectTypeOf(tw.full([2], 1, { dtype: 'bf16' })).toEqualTypeOf<Tensor<readonly [2], 'bf16'>>()
    expectTypeOf(tw.zeros([2, 3] as number[])).toEqualTypeOf<Tensor<number[], 'f32'>>()
  })
})
