import { defineOp } from '../autograd/defineOp.ts'
import { ArgumentError } from '../errors.ts'
import { fill, type GatherRowsArgs, gatherRows as nativeGather, scatterRows as nativeScatter, schema } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import type { After, Append } from '../types/shape.ts'
import { expectDType, expectFloat, expectTensor, formatShape, sameShape } from './check.ts'
import { cast, contiguous } from './copy.ts'
import { rawCast, rawFull } from './untaped.ts'

const gatherOp = defineOp('gatherRows', {
  native: nativeGather,
  infer(x: Tensor, index: Tensor): GatherRowsArgs & { xShape: Shape } {
    expectDType('gatherRows', 'index', index, 'i32')
    if (x.rank === 0) throw new ArgumentError('[gatherRows] x must have rows: at least one dimension, is []')
    const shape = [...index.shape, ...x.shape.slice(1)]
    if (shape.length > 6) throw new ArgumentError(`[gatherRows] the result must have at most 6 dimensions, would be ${formatShape(shape)}`)
    return { x, index, y: allocate(x.device, shape, x.dtype, schema.gatherRows.id), xShape: x.shape }
  },
  result: args => args.y,
  differentiable: ['y'],
  saves: ['index'],
  backward({ saved: { xShape, index }, gradient }) {
    const dy = gradient.y as Tensor
    // Repeated rows add up in f32, whatever the dtype.
    const dx = rawFull(dy, xShape, 0, 'f32')
    nativeScatter({ x: rawCast(dy, dy.dtype), index, y: dx })
    return { x: dx }
  },
  reference(F, { x, index }) {
    const rows = Array.from(F.values(index))
    return { y: F.reshape(F.gather(x, rows), [...F.shape(index), ...F.shape(x).slice(1)]) }
  },
})

/**
 * Rows of `x` [R, …] by `index` (i32, any shape): [...index, …]. Rows may repeat; their gradients add up, in the order of the index, so the
 * same call gives the same bits. An index outside [0, R) is found on the device: reading the result rejects with ArgumentError.
 */
export function gatherRows<S extends Shape, I extends Shape>(x: Tensor<S>, index: Tensor<I>): Tensor<Append<I, After<S, [number]>>> {
  expectTensor('gatherRows', 'x', x)
  expectTensor('gatherRows', 'index', index)
  return gatherOp(contiguous(x), contiguous(index)) as Tensor as Tensor<Append<I, After<S, [number]>>>
}

const scatterOp = defineOp('scatterRows', {
  native: nativeScatter,
  infer(x: Tensor, index: Tensor, rows: number) {
    expectFloat('scatterRows', 'x', x)
    expectDType('scatterRows', 'index', index, 'i32')
    if (!sameShape(x.shape.slice(0, index.rank), index.shape))
      throw new ArgumentError(
        `[scatterRows] x must begin with the dimensions of index ${formatShape(index.shape)}, is ${formatShape(x.shape)}`,
      )
    if (!Number.isInteger(rows) || rows < 0) throw new ArgumentError(`[scatterRows] rows must be a non-negative integer, is ${rows}`)
    const y = allocate(x.device, [rows, ...x.shape.slice(index.rank)], 'f32', schema.scatterRows.id)
    fill({ y, value: 0 })
    return { x, index, y, xShape: x.shape }
  },
  result: args => args.y,
  differentiable: ['y'],
  saves: ['index'],
  backward({ saved: { xShape, index }, gradient }) {
    const dy = gradient.y as Tensor
    const dx = allocate(dy.device, xShape, dy.dtype, schema.gatherRows.id)
    nativeGather({ x: rawCast(dy, dy.dtype), index, y: dx })
    return { x: dx }
  },
  reference(F, { x, index, y }) {
    const shape = F.shape(y)
    const count = F.values(index).length
    const oneHot = new Float64Array((shape[0] as number) * count)
    F.values(index).forEach((row, n) => {
      oneHot[row * count + n] = 1
    })
    const columns = shape.slice(1).reduce((product, dimension) => product * dimension, 1)
    return { y: F.reshape(F.matmul(F.constant(oneHot, [shape[0] as number, count]), F.reshape(x, [count, columns])), shape) }
  },
})

/**
 * The reverse of `gatherRows`: a tensor of `rows` rows, zero but for what is added, y[index[n]] += x[n]. `x` is [...index, …], the result
 * [rows, …] in x's dtype, summed in f32 in the order of the index. An index outside [0, rows) rejects the reading of the result.
 */
export function scatterRows<S extends Shape, I extends Shape, R extends number>(
  x: Tensor<S>,
  index: Tensor<I>,
  rows: R,
): Tensor<Append<[R], After<S, I>>> {
  expectTensor('scatterRows', 'x', x)
  expectTensor('scatterRows', 'index', index)
  return cast(scatterOp(contiguous(x), contiguous(index), rows), x.dtype) as Tensor as Tensor<Append<[R], After<S, I>>>
}

export { gatherOp, scatterOp }
