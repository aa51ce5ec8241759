/** Arithmetic for backward rules: nothing here is recorded on the tape. */
import type { DType } from '../dtype.ts'
import { affine, binary, copy, fill, reduce, schema, unary } from '../native.generated.ts'
import { aliasView, allocate, contiguousStrides, type Shape, type Tensor } from '../tensor.ts'

/** native/cpu/ops/binary.cc */
export const binaryKinds = {
  add: 0,
  sub: 1,
  mul: 2,
  div: 3,
  pow: 4,
  maximum: 5,
  minimum: 6,
  equal: 7,
  notEqual: 8,
  less: 9,
  lessEqual: 10,
  greater: 11,
  greaterEqual: 12,
} as const
/** native/cpu/ops/reduce.cc */
export const reduceKinds = { sum: 0, mean: 1, max: 2, min: 3 } as const

/** native/cpu/ops/unary.cc */
export const unaryKinds = {
  exp: 0,
  log: 1,
  sqrt: 2,
  rsqrt: 3,
  square: 4,
  abs: 5,
  sin: 6,
  cos: 7,
  erf: 8,
  tanh: 9,
  sigmoid: 10,
  relu: 11,
  gelu: 12,
  geluTanh: 13,
  silu: 14,
  relu2: 15,
} as const

/** `shape` is the broadcast of both. */
export function rawBinary(kind: keyof typeof binaryKinds, a: Tensor, b: Tensor, shape: Shape = a.shape): Tensor {
  const y = allocate(a.device, shape, binaryKinds[kind] >= binaryKinds.equal ? 'u8' : a.dtype, schema.binary.id)
  binary({ a, b, y, kind: binaryKinds[kind] })
  return y
}

export function rawUnary(kind: keyof typeof unaryKinds, x: Tensor): Tensor {
  const y = allocate(x.device, x.shape, x.dtype, schema.unary.id)
  unary({ x, y, kind: unaryKinds[kind] })
  return y
}

export function rawScale(x: Tensor, scale: number, shift = 0): Tensor {
  const y = allocate(x.device, x.shape, x.dtype, schema.affine.id)
  affine({ x, y, scale, shift })
  return y
}

export function rawCast(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype && x.isContiguous) return x
  const y = allocate(x.device, x.shape, dtype, schema.copy.id)
  copy({ x, y })
  return y
}

export function rawFull(like: Tensor, shape: Shape, value: number, dtype: DType = like.dtype): Tensor {
  const y = allocate(like.device, shape, dtype, schema.fill.id)
  fill({ y, value })
  return y
}

/** The sum over everything that broadcasting `shape` to x's shape has repeated. */
export function rawSumTo(x: Tensor, shape: Shape): Tensor {
  const missing = x.rank - shape.length
  let dims = 0
  const kept = x.shape.map((dimension, i) => {
    const repeated = i < missing || (shape[i - missing] === 1 && dimension !== 1)
    if (repeated) dims |= 1 << i
    return repeated ? 1 : dimension
  })
  let y = x
  if (dims !== 0) {
    y = allocate(x.device, kept, x.dtype, schema.reduce.id)
    reduce({ x, y, kind: reduceKinds.sum, dims })
  }
  if (missing === 0) return y
  const dense = rawCast(y, y.dtype)
  return aliasView(dense, shape, contiguousStrides(shape), dense.offset)
}
