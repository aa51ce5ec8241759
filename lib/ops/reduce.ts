import { defineOp } from '../autograd/defineOp.ts'
import { reduce as native, type ReduceArgs, schema } from '../native.generated.ts'
import { allocate, type Tensor } from '../tensor.ts'
import { expectDim, expectFloat, expectTensor } from './check.ts'
import { rawBinary, rawCast, rawScale, rawSumTo, reduceKinds } from './untaped.ts'
import { broadcastTo, reshape } from './view.ts'

export type Reduction = keyof typeof reduceKinds

const dimsOf = (mask: number, rank: number) => Array.from({ length: rank }, (_, i) => i).filter(i => (mask >> i) & 1)

/** Reduced dimensions stay as size 1. */
export const reduce = defineOp('reduce', {
  native,
  infer(kind: Reduction, x: Tensor, dims: readonly number[]): ReduceArgs {
    expectTensor(kind, 'x', x)
    expectFloat(kind, 'x', x)
    let mask = 0
    for (const dim of dims) mask |= 1 << expectDim(kind, 'dims', dim, x.rank)
    const shape = x.shape.map((dimension, i) => ((mask >> i) & 1 ? 1 : dimension))
    return { x, y: allocate(x.device, shape, x.dtype, schema.reduce.id), kind: reduceKinds[kind], dims: mask }
  },
  result: args => args.y,
  differentiable: ['y'],
  saves: ['x', 'y'],
  backward({ saved: { x, y, kind }, gradient }) {
    const dy = gradient.y as Tensor
    if (kind === reduceKinds.sum) return { x: broadcastTo(dy, x.shape) }
    if (kind === reduceKinds.mean) return { x: broadcastTo(rawScale(dy, y.size / x.size), x.shape) }
    // The elements that equal the extremum share its gradient.
    const hits = rawCast(rawBinary('equal', x, y, x.shape), x.dtype)
    const share = rawBinary('div', dy, rawSumTo(hits, y.shape))
    return { x: rawBinary('mul', hits, share, x.shape) }
  },
  reference(F, { x, kind, dims }) {
    const reduced = dimsOf(dims, F.shape(x).length)
    const count = reduced.reduce((product, dim) => product * (F.shape(x)[dim] as number), 1)
    if (kind === reduceKinds.sum) return { y: F.sum(x, reduced) }
    if (kind === reduceKinds.mean) return { y: F.div(F.sum(x, reduced), count) }
    return { y: kind === reduceKinds.max ? F.max(x, reduced) : F.neg(F.max(F.neg(x), reduced)) }
  },
})

export interface ReduceOptions {
  /** Dimensions to reduce, negative from the end; default all. */
  dims?: readonly number[]
  /** Keep reduced dimensions as size 1; default false. */
  keepDims?: boolean
}

function reduceTo(kind: Reduction, x: Tensor, { dims, keepDims = false }: ReduceOptions): Tensor {
  const reduced = (dims ?? x.shape.map((_, i) => i)).map(dim => expectDim(kind, 'dims', dim, x.rank))
  const y = reduce(kind, x, reduced)
  return keepDims
    ? y
    : reshape(
        y,
        y.shape.filter((_, i) => !reduced.includes(i)),
      )
}

interface Reduce {
  (x: Tensor): Tensor<readonly []>
  (x: Tensor, options?: ReduceOptions): Tensor
}
const of = (kind: Reduction) => ((x: Tensor, options: ReduceOptions = {}) => reduceTo(kind, x, options)) as Reduce

export const sum = of('sum')
/** The mean of no elements is NaN. */
export const mean = of('mean')
/** Elements that share the extremum share its gradient; the maximum of no elements is -inf. */
export const max = of('max')
export const min = of('min')
