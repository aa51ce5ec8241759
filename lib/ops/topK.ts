import { defineOp } from '../autograd/defineOp.ts'
import { ArgumentError } from '../errors.ts'
import { type ArgmaxArgs, argmax as nativeArgmax, topK as nativeTopK, schema, type TopKArgs, topKBackward } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import type { Leading, WithLast } from '../types/shape.ts'
import { expectDim, expectFloat, expectTensor, formatShape } from './check.ts'
import { contiguous } from './copy.ts'
import type { ArrayOps } from './reference.ts'
import { rawCast } from './untaped.ts'
import { reshape, transpose } from './view.ts'

/** For each row of x's last dimension the indices of its k largest, descending; NaN first, ties by index. */
function largest<T>(F: ArrayOps<T>, x: T, k: number): number[][] {
  const size = F.shape(x).at(-1) as number
  const values = F.values(x)
  const rows = size === 0 ? 0 : values.length / size
  const key = (value: number) => (Number.isNaN(value) ? Number.POSITIVE_INFINITY : value)
  return Array.from({ length: rows }, (_, row) => {
    const at = (i: number) => values[row * size + i] as number
    const order = (i: number, j: number) =>
      Number(Number.isNaN(at(j))) - Number(Number.isNaN(at(i))) || Math.sign(key(at(j)) - key(at(i)) || 0) || i - j
    return Array.from({ length: size }, (_, i) => i)
      .sort(order)
      .slice(0, k)
  })
}

function expectRow(op: string, x: Tensor): number {
  const size = x.shape.at(-1) ?? 0
  if (size === 0) throw new ArgumentError(`[${op}] x must have elements along the dimension searched, is ${formatShape(x.shape)}`)
  return size
}

const argmaxOp = defineOp('argmax', {
  native: nativeArgmax,
  infer(x: Tensor): ArgmaxArgs {
    expectRow('argmax', x)
    return { x, index: allocate(x.device, x.shape.slice(0, -1), 'i32', schema.argmax.id) }
  },
  result: args => args.index as Tensor<readonly number[], 'i32'>,
  differentiable: [],
  saves: [],
  backward: 'none',
  reference: (F, { x, index }) => ({ index: F.constant(largest(F, x, 1).flat(), F.shape(index)) }),
})

export interface ArgmaxOptions {
  /** Negative from the end; default the last. */
  dim?: number
  /** Keep the dimension as size 1; default false. */
  keepDims?: boolean
}

/** Where the largest element along `dim` is (i32). Ties go to the lowest index, NaN counts as the largest, as in PyTorch. */
export function argmax<S extends Shape>(x: Tensor<S>): Tensor<Leading<S>, 'i32'>
export function argmax(x: Tensor, options?: ArgmaxOptions): Tensor<Shape, 'i32'>
export function argmax(x: Tensor, { dim = -1, keepDims = false }: ArgmaxOptions = {}): Tensor<Shape, 'i32'> {
  expectTensor('argmax', 'x', x)
  const d = expectDim('argmax', 'dim', dim, x.rank)
  const others = x.shape.map((_, i) => i).filter(i => i !== d)
  const index = argmaxOp(contiguous(d === x.rank - 1 ? x : x.permute([...others, d])))
  return keepDims
    ? reshape(
        index,
        x.shape.map((dimension, i) => (i === d ? 1 : dimension)),
      )
    : index
}

const topKOp = defineOp('topK', {
  native: nativeTopK,
  infer(x: Tensor, k: number): TopKArgs & { xShape: Shape } {
    expectFloat('topK', 'x', x)
    const size = expectRow('topK', x)
    if (!Number.isInteger(k) || k < 1 || k > size) throw new ArgumentError(`[topK] k must be an integer from 1 to ${size}, is ${k}`)
    const shape = [...x.shape.slice(0, -1), k]
    const values = allocate(x.device, shape, x.dtype, schema.topK.id)
    return { x, values, index: allocate(x.device, shape, 'i32', schema.topK.id), k, xShape: x.shape }
  },
  result: ({ values, index }) => ({ values, indices: index as Tensor<readonly number[], 'i32'> }),
  differentiable: ['values'],
  saves: ['index'],
  backward({ saved: { xShape, index }, gradient }) {
    const dvalues = gradient.values as Tensor
    const dx = allocate(dvalues.device, xShape, dvalues.dtype, schema.topKBackward.id)
    topKBackward({ dvalues: rawCast(dvalues, dvalues.dtype), index, dx })
    return { x: dx }
  },
  reference(F, { x, values, k }) {
    const size = F.shape(x).at(-1) as number
    const rows = largest(F, x, k)
    const flat = rows.flatMap((row, r) => row.map(i => r * size + i))
    const column = F.reshape(x, [F.values(x).length, 1])
    return { values: F.reshape(F.gather(column, flat), F.shape(values)), index: F.constant(rows.flat(), F.shape(values)) }
  },
})

/**
 * The `k` largest elements along `dim` (default the last), descending, and their indices (i32). Ties go to the lowest index, NaN counts as the
 * largest. Throws ArgumentError unless 1 <= k <= the size of the dimension.
 */
export function topK<S extends Shape, K extends number>(
  x: Tensor<S>,
  k: K,
): { values: Tensor<WithLast<S, K>>; indices: Tensor<WithLast<S, K>, 'i32'> }
export function topK(x: Tensor, k: number, options?: { dim?: number }): { values: Tensor; indices: Tensor<Shape, 'i32'> }
export function topK(x: Tensor, k: number, { dim = -1 }: { dim?: number } = {}): { values: Tensor; indices: Tensor<Shape, 'i32'> } {
  expectTensor('topK', 'x', x)
  const d = expectDim('topK', 'dim', dim, x.rank)
  if (d === x.rank - 1) return topKOp(contiguous(x), k)
  const { values, indices } = topKOp(contiguous(transpose(x, d, -1)), k)
  return { values: transpose(values, d, -1), indices: transpose(indices, d, -1) }
}

export { argmaxOp, topKOp }
