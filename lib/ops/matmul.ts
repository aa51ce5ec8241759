import { defineOp } from '../autograd/defineOp.ts'
import type { DType } from '../dtype.ts'
import { ArgumentError } from '../errors.ts'
import { type MatmulArgs, matmul as native, schema } from '../native.generated.ts'
import { aliasView, allocate, contiguousStrides, type Shape, type Tensor } from '../tensor.ts'
import type { FitsProduct, Product } from '../types/shape.ts'
import { broadcastShapes, expectDType, expectProductDType, expectTensor, formatShape, sameShape } from './check.ts'
import { rawCast, rawSumTo } from './untaped.ts'
import { reshape } from './view.ts'

/** The last two dimensions exchanged, untaped. */
function flipped(x: Tensor): Tensor {
  const flip = (list: readonly number[]) => [...list.slice(0, -2), list[list.length - 1] as number, list[list.length - 2] as number]
  return aliasView(x, flip(x.shape), flip(x.strides), x.offset)
}

/** All leading dimensions as rows: [..., M, N] → [..M, N], untaped. */
function stacked(x: Tensor): Tensor {
  const dense = rawCast(x, x.dtype)
  const columns = x.shape[x.rank - 1] as number
  const shape = [x.shape.slice(0, -1).reduce((product, dimension) => product * dimension, 1), columns]
  return aliasView(dense, shape, contiguousStrides(shape), dense.offset)
}

function product(a: Tensor, b: Tensor, batch: Shape, alpha: number, dtype: DType): Tensor {
  const c = allocate(a.device, [...batch, a.shape[a.rank - 2] as number, b.shape[b.rank - 1] as number], dtype, schema.matmul.id)
  native({ a, b, c, alpha })
  return c // [..., M, N]
}

export const matmulOp = defineOp('matmul', {
  native,
  infer(a: Tensor, b: Tensor, alpha: number): MatmulArgs {
    expectTensor('matmul', 'a', a)
    expectTensor('matmul', 'b', b)
    expectProductDType('matmul', 'a', a)
    expectDType('matmul', 'b', b, a.dtype)
    if (a.rank < 2 || b.rank < 2)
      throw new ArgumentError(`[matmul] a and b must have dimensions, are ${formatShape(a.shape)} and ${formatShape(b.shape)}`)
    const [m, k] = a.shape.slice(-2) as [number, number]
    const [inner, n] = b.shape.slice(-2) as [number, number]
    if (inner !== k)
      throw new ArgumentError(`[matmul] b must be [..., ${k}, *] as a is ${formatShape(a.shape)}, is ${formatShape(b.shape)}`)
    const batch = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2))
    return { a, b, c: allocate(a.device, [...batch, m, n], a.dtype, schema.matmul.id), alpha }
  },
  result: args => args.c,
  differentiable: ['c'],
  saves: ['a', 'b'],
  backward({ saved: { a, b, alpha }, gradient, needs }) {
    const dc = gradient.c as Tensor // [..., M, N]
    const batch = dc.shape.slice(0, -2)
    /** What is summed or added to a parameter's gradient stays in f32. */
    const dtypeOf = (x: Tensor) => (x.node !== undefined && sameShape(x.shape.slice(0, -2), batch) ? x.dtype : 'f32')
    const da = () => rawSumTo(product(dc, flipped(b), batch, alpha, dtypeOf(a)), a.shape) // [..., M, K]
    const db = () => {
      const shared = b.shape.slice(0, -2).every(dimension => dimension === 1)
      if (!shared || !sameShape(a.shape.slice(0, -2), batch)) return rawSumTo(product(flipped(a), dc, batch, alpha, dtypeOf(b)), b.shape) // [..., K, N]
      // One b for all: the sum over the batch is a product too.
      const sum = product(flipped(stacked(a)), stacked(dc), [], alpha, dtypeOf(b)) // [K, N]
      return aliasView(sum, b.shape, contiguousStrides(b.shape), sum.offset)
    }
    return { a: needs.a ? da() : undefined, b: needs.b ? db() : undefined }
  },
  reference: (F, { a, b, alpha }) => ({ c: F.mul(F.matmul(a, b), alpha) }),
})

/**
 * a b, or `alpha` a b. `a` [..., M, K], `b` [..., K, N] → [..., M, N]; leading dimensions broadcast as in NumPy, and a vector counts as one row
 * (as `a`) or one column (as `b`), which the result lacks again. Transposed views cost no copy. Both have one dtype, f32 or bf16, on a GPU f16 too; sums are f32.
 * Throws ArgumentError if shapes or dtypes disagree.
 */
export function matmul<A extends Shape, B extends Shape>(
  a: Tensor<A>,
  b: Tensor<B> & FitsProduct<A, B>,
  { alpha = 1 }: { alpha?: number } = {},
): Tensor<Product<A, B>> {
  return multiply(a, b as Tensor, alpha) as Tensor as Tensor<Product<A, B>>
}

/** Vectors as one row or one column. */
function multiply(a: Tensor, b: Tensor, alpha: number): Tensor {
  expectTensor('matmul', 'a', a)
  expectTensor('matmul', 'b', b)
  if (a.rank !== 1 && b.rank !== 1) return matmulOp(a, b, alpha)
  const row = a.rank === 1 ? reshape(a, [1, a.size]) : a
  const column = b.rank === 1 ? reshape(b, [b.size, 1]) : b
  const c = matmulOp(row, column, alpha)
  const shape = [...c.shape.slice(0, -2), ...(a.rank === 1 ? [] : c.shape.slice(-2, -1)), ...(b.rank === 1 ? [] : c.shape.slice(-1))]
  return reshape(c, shape)
}
