/** Views: other dimensions over the same memory, without a copy. Gradients flow through them. */
import { attach, gradientOf, recording, TapeNode } from '../autograd/tape.ts'
import type { DType } from '../dtype.ts'
import { ArgumentError } from '../errors.ts'
import { accumulate, copy } from '../native.generated.ts'
import { aliasView, allocate, assertLive, contiguousStrides, type Shape, type Tensor } from '../tensor.ts'
import type { Broadcast, FitsShape, Permuted, Reshaped, Transposed } from '../types/shape.ts'
import { expectDim, formatShape, sameShape } from './check.ts'
import { contiguous } from './copy.ts'
import { rawCast, rawFull, rawSumTo } from './untaped.ts'

function view<S extends Shape, D extends DType>(
  name: string,
  x: Tensor<Shape, D>,
  shape: S,
  strides: readonly number[],
  offset: number,
  backward: (dy: Tensor) => Tensor | undefined,
): Tensor<S, D> {
  assertLive(x, name)
  const y = aliasView(x, shape, strides, offset)
  if (recording([x])) attach(new TapeNode(name, [x], [], ([dy]) => [backward(dy as Tensor)]), [y])
  return y
}

/** The same elements in another shape; one dimension may be -1 and is inferred. Copies only if `x` is not contiguous. */
export function reshape<const S extends Shape, D extends DType>(x: Tensor<Shape, D>, shape: S): Tensor<Reshaped<S>, D> {
  const resolved = [...shape]
  const inferred = resolved.indexOf(-1)
  const known = resolved.reduce((product, dimension) => (dimension === -1 ? product : product * dimension), 1)
  if (inferred >= 0) resolved[inferred] = known === 0 ? 0 : x.size / known
  const size = resolved.reduce((product, dimension) => product * dimension, 1)
  if (size !== x.size || resolved.some(dimension => !Number.isInteger(dimension) || dimension < 0))
    throw new ArgumentError(`[reshape] shape must have ${x.size} elements as x ${formatShape(x.shape)} has, is ${formatShape(shape)}`)
  const dense = contiguous(x)
  const from = dense.shape
  const back = (dy: Tensor) => {
    const flat = rawCast(dy, dy.dtype)
    return aliasView(flat, from, contiguousStrides(from), flat.offset)
  }
  return view('reshape', dense, resolved, contiguousStrides(resolved), dense.offset, back) as Tensor<Shape, D> as Tensor<Reshaped<S>, D>
}

/** Dimensions in another order. */
export function permute<S extends Shape, D extends DType, const O extends Shape>(x: Tensor<S, D>, order: O): Tensor<Permuted<S, O>, D> {
  const dims = order.map(dim => expectDim('permute', 'order', dim, x.rank))
  if (new Set(dims).size !== x.rank)
    throw new ArgumentError(`[permute] order must name each of ${x.rank} dimensions once, is [${order.join(', ')}]`)
  const pick = (list: readonly number[]) => dims.map(dim => list[dim] as number)
  const inverse = dims.map((_, i) => dims.indexOf(i))
  return view('permute', x, pick(x.shape), pick(x.strides), x.offset, dy => {
    const back = (list: readonly number[]) => inverse.map(dim => list[dim] as number)
    return aliasView(dy, back(dy.shape), back(dy.strides), dy.offset)
  }) as Tensor<Shape, D> as Tensor<Permuted<S, O>, D>
}

/** Two dimensions exchanged; the last two by default. */
export function transpose<S extends Shape, D extends DType>(x: Tensor<S, D>): Tensor<Transposed<S>, D>
export function transpose<D extends DType>(x: Tensor<Shape, D>, i?: number, j?: number): Tensor<Shape, D>
export function transpose<D extends DType>(x: Tensor<Shape, D>, i = -2, j = -1): Tensor<Shape, D> {
  const order = x.shape.map((_, dim) => dim)
  const a = expectDim('transpose', 'i', i, x.rank)
  const b = expectDim('transpose', 'j', j, x.rank)
  order[a] = b
  order[b] = a
  return permute(x, order)
}

/** Elements `start` (inclusive) to `end` (exclusive) of dimension `dim`. */
export function slice<D extends DType>(x: Tensor<Shape, D>, dim: number, start: number, end: number): Tensor<Shape, D> {
  const d = expectDim('slice', 'dim', dim, x.rank)
  const length = x.shape[d] as number
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || end < start || end > length)
    throw new ArgumentError(`[slice] start and end must satisfy 0 <= start <= end <= ${length}, are ${start} and ${end}`)
  const shape = x.shape.map((dimension, i) => (i === d ? end - start : dimension))
  return view('slice', x, shape, x.strides, x.offset + start * (x.strides[d] as number), dy => {
    if (x.node === undefined) {
      // Rows of a packed parameter: they go straight into its gradient, without a tensor of its full size.
      const whole = gradientOf(x)
      accumulate({ x: dy, y: aliasView(whole, shape, whole.strides, start * (whole.strides[d] as number)) })
      return undefined
    }
    const dx = rawFull(dy, x.shape, 0)
    copy({ x: dy, y: aliasView(dx, shape, dx.strides, start * (dx.strides[d] as number)) })
    return dx
  })
}

/** Repeats dimensions of size 1 (and adds leading ones) up to `shape`, without a copy. */
export function broadcastTo<const S extends Shape, D extends DType, X extends Shape>(
  x: Tensor<X, D> & FitsShape<Broadcast<X, S>, S>,
  shape: S,
): Tensor<S, D> {
  return expand(x as Tensor<Shape, D>, shape)
}

function expand<S extends Shape, D extends DType>(x: Tensor<Shape, D>, shape: S): Tensor<S, D> {
  if (sameShape(x.shape, shape)) return x as unknown as Tensor<S, D>
  const missing = shape.length - x.rank
  const fits = missing >= 0 && x.shape.every((dimension, i) => dimension === shape[i + missing] || dimension === 1)
  if (!fits) throw new ArgumentError(`[broadcastTo] shape must extend x ${formatShape(x.shape)}, is ${formatShape(shape)}`)
  const strides = shape.map((dimension, i) => (i < missing || x.shape[i - missing] !== dimension ? 0 : (x.strides[i - missing] as number)))
  return view('broadcastTo', x, shape, strides, x.offset, dy => rawSumTo(dy, x.shape))
}

/** Tensors joined along `dim`; all other dimensions agree. */
export function concat<D extends DType>(xs: readonly Tensor<Shape, D>[], dim = 0): Tensor<Shape, D> {
  const first = xs[0]
  if (first === undefined) throw new ArgumentError('[concat] xs must hold at least one tensor')
  const d = expectDim('concat', 'dim', dim, first.rank)
  let total = 0
  for (const [index, x] of xs.entries()) {
    assertLive(x, 'concat')
    const expected = first.shape.map((dimension, i) => (i === d ? (x.shape[i] ?? -1) : dimension))
    if (!sameShape(x.shape, expected))
      throw new ArgumentError(`[concat] xs[${index}] must be ${formatShape(expected)}, is ${formatShape(x.shape)}`)
    if (x.dtype !== first.dtype) throw new ArgumentError(`[concat] xs[${index}] must have dtype ${first.dtype}, has ${x.dtype}`)
    total += x.shape[d] as number
  }
  const shape = first.shape.map((dimension, i) => (i === d ? total : dimension))
  const y = allocate(first.device, shape, first.dtype)
  const part = (whole: Tensor, start: number, x: Tensor) =>
    aliasView(whole, x.shape, whole.strides, whole.offset + start * (whole.strides[d] as number))
  let start = 0
  const starts = xs.map(x => {
    using place = part(y, start, x)
    copy({ x, y: place })
    start += x.shape[d] as number
    return start - (x.shape[d] as number)
  })
  if (recording(xs))
    attach(
      new TapeNode(
        'concat',
        xs.map(x => (x.requiresGrad ? x : undefined)),
        [],
        ([dy]) => xs.map((x, i) => part(dy as Tensor, starts[i] as number, x)),
      ),
      [y],
    )
  return y
}
