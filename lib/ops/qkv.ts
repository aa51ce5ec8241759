import { defineOp } from '../autograd/defineOp.ts'
import { ArgumentError } from '../errors.ts'
import { qkv as native, type QkvArgs, qkvBackward, schema } from '../native.generated.ts'
import { aliasView, allocate, type Shape, type Tensor } from '../tensor.ts'
import type { Append, First, Last, Leading, Wide } from '../types/shape.ts'
import { expectBias, expectFeatures, formatShape, withLast } from './check.ts'
import { contiguousArgument } from './copy.ts'
import { linearReference } from './linear.ts'
import { rawCast, rawFull } from './untaped.ts'

const names = ['q', 'k', 'v'] as const
type Name = (typeof names)[number]

/** [heads, head size] of each projection wanted. */
export type Projections = { readonly [K in Name]?: readonly [heads: number, headDim: number] | undefined }

/** [..., heads, headDim] for each that was asked for. */
type Projected<P extends Projections, S extends Shape> = {
  [K in keyof P & Name]: P[K] extends readonly [number, number] ? Tensor<Append<Leading<S>, P[K]>> : Tensor | undefined
}

const isSize = (value: unknown) => Number.isSafeInteger(value) && (value as number) > 0

/** A view of `packed` [..., R]: its columns from `start` as [..., heads, headDim]. `like`: an earlier such view, whose shape is shared if it fits. */
function part(packed: Tensor, start: number, heads: number, headDim: number, like: Tensor | undefined): Tensor {
  const { rank } = packed
  const offset = packed.offset + start
  if (like?.shape[rank - 1] === heads && like.shape[rank] === headDim) return aliasView(packed, like.shape, like.strides, offset)
  return aliasView(packed, [...packed.shape.slice(0, -1), heads, headDim], [...packed.strides.slice(0, -1), headDim, 1], offset)
}

/** Whether the rows [heads, head size] are contiguous and lie at equal steps: what the native op reads without a copy. */
function hasEqualSteps({ shape, strides, rank }: Tensor): boolean {
  const dense = (dim: number, stride: number) => shape[dim] === 1 || strides[dim] === stride
  if (!dense(rank - 1, 1) || !dense(rank - 2, shape[rank - 1] as number)) return false
  let step: number | undefined
  let least = (shape[rank - 1] as number) * (shape[rank - 2] as number)
  for (let dim = rank - 3; dim >= 0; dim--) {
    if (shape[dim] === 1) continue
    if (step === undefined ? (strides[dim] as number) < least : strides[dim] !== step) return false
    step = (strides[dim] as number) * (shape[dim] as number)
    least = step
  }
  return true
}

interface Arguments extends QkvArgs {
  readonly projections: Projections
}

export const qkvOp = defineOp('qkv', {
  native,
  infer(x: Tensor, weight: Tensor, bias: Tensor | undefined, projections: Projections): Arguments {
    const features = expectFeatures('qkv', x, weight)
    expectBias('qkv', 'bias', bias, features, x.dtype)
    let width = 0
    for (const name of names) {
      const size = projections[name]
      if (size === undefined) continue
      if (size.length !== 2 || !isSize(size[0]) || !isSize(size[1]))
        throw new ArgumentError(`[qkv] ${name} must be [heads, headDim], two positive integers, is ${formatShape(size)}`)
      width += size[0] * size[1]
    }
    if (width === 0) throw new ArgumentError('[qkv] at least one of q, k and v must be given')
    if (width !== features)
      throw new ArgumentError(
        `[qkv] weight must be [${width}, ${x.shape[x.rank - 1]}], the heads of q, k and v together, is ${formatShape(weight.shape)}`,
      )
    // One buffer for all, so that they are one product.
    const packed = allocate(x.device, withLast(x.shape, width), x.dtype, schema.qkv.id) // [..., R]
    const args: Arguments = { x, weight, bias, q: undefined, k: undefined, v: undefined, projections }
    let start = 0
    let last: Tensor | undefined
    for (const name of names) {
      const size = projections[name]
      if (size === undefined) continue
      last = part(packed, start, size[0], size[1], last)
      args[name] = last // [..., H, D]
      start += size[0] * size[1]
    }
    packed.dispose()
    return args
  },
  result: ({ q, k, v }) => ({ q, k, v }),
  differentiable: names,
  saves: ['x', 'weight'],
  backward({ saved, gradient, needs, accumulate }) {
    const { x, weight, projections } = saved
    const gradients: { [K in Name]?: Tensor } = {}
    for (const name of names) {
      const size = projections[name]
      if (size === undefined) continue
      const dy = gradient[name]
      // Absent to the native op means not projected: what no gradient reached counts as zero.
      if (dy === undefined) gradients[name] = rawFull(x, [...x.shape.slice(0, -1), ...size], 0)
      else gradients[name] = dy.dtype === x.dtype && hasEqualSteps(dy) ? dy : rawCast(dy, x.dtype)
    }
    const dx = needs.x ? allocate(x.device, x.shape, x.dtype, schema.qkvBackward.id) : undefined
    const { q: dq, k: dk, v: dv } = gradients
    qkvBackward({ dq, dk, dv, x, weight, dx, dweight: accumulate('weight'), dbias: accumulate('bias') })
    return { x: dx }
  },
  reference(F, { x, weight, bias, projections }) {
    const packed = linearReference(F, x, weight, bias) // [..., R]
    const outputs: { [K in Name]?: typeof packed } = {}
    let start = 0
    for (const name of names) {
      const size = projections[name]
      if (size === undefined) continue
      const end = start + size[0] * size[1]
      outputs[name] = F.reshape(F.slice(packed, -1, start, end), [...F.shape(x).slice(0, -1), ...size]) // [..., H, D]
      start = end
    }
    return outputs
  },
})

/**
 * The projections of attention in one product. `x` [..., C], `weight` [R, C] and `bias` [R] with the rows of q, then k, then v, R = the sum of
 * heads · headDim of those that are asked for: `{ q: [8, 64], k: [2, 64], v: [2, 64] }`, or `{ k, v }` for a memory, or `{ q }`.
 *
 * Each result is [..., heads, headDim], a strided view of one packed buffer. `x` and `weight` share a dtype, f32 or bf16, on a GPU f16 too; the bias may be f32
 * too. Throws ArgumentError if shapes or dtypes disagree.
 */
export function qkv<const P extends Projections, S extends Shape, W extends Shape, B extends Shape = Shape>(
  x: Tensor<S>,
  weight: Wide<W, Last<S>>,
  bias: Wide<B, First<W>> | undefined,
  projections: P,
): Projected<P, S> {
  const outputs = qkvOp(
    contiguousArgument('qkv', 'x', x),
    contiguousArgument('qkv', 'weight', weight as Tensor),
    contiguousArgument('qkv', 'bias', bias as Tensor | undefined),
    projections,
  )
  return outputs as Projected<P, S>
}
