import { defineOp } from '../autograd/defineOp.ts'
import { recording } from '../autograd/tape.ts'
import { ArgumentError } from '../errors.ts'
import { qkv as native, type QkvArgs, qkvBackward, schema } from '../native.generated.ts'
import { allocate, assertLive, type Shape, type Tensor, viewOfSlot } from '../tensor.ts'
import type { Append, First, Last, Leading, Wide } from '../types/shape.ts'
import { expectBias, expectDType, expectFeatures, expectShape, expectTensor, formatShape, sameShape, withLast } from './check.ts'
import { contiguousArgument } from './copy.ts'
import { linearReference } from './linear.ts'
import type { ArrayOps } from './reference.ts'
import { rotaryReference } from './rotary.ts'
import { rawCast, rawFull } from './untaped.ts'

const names = ['q', 'k', 'v'] as const
type Name = (typeof names)[number]
type Size = readonly [heads: number, headDim: number]

/** [heads, head size] of each projection wanted. */
export type Projections = { readonly [K in Name]?: Size | undefined }

/** Rotary positions of q and k, which have one head size then. See `rotaryTables`. */
export interface RotaryOptions {
  /** f32 [P, R/2]: row p turns the first R columns of a head at position p. R is even, at most the head size. */
  readonly cosines: Tensor
  readonly sines: Tensor
  /** i32, of the last dimensions of x without its features: each row's position. Default: its index along the last of them. */
  readonly positionIds?: Tensor | undefined
  /** Which columns are pair i: (2i, 2i + 1) (RoFormer, GPT-J) or (i, i + R/2) (GPT-NeoX, Llama as Hugging Face stores it). Default false, the latter. */
  readonly interleaved?: boolean | undefined
}

/** Where keys and values go instead of becoming results. */
export interface CacheOptions {
  /** [..., heads, headDim] of the projection, contiguous, of x's dtype: such as [B, maxLength, heads, headDim], or pages. Given where k is projected. */
  readonly k?: Tensor | undefined
  /** The same of v, with as many rows. */
  readonly v?: Tensor | undefined
  /**
   * i32, one a row of x: the row of the caches that it goes to, counted over all their leading dimensions. A negative one: it is not kept. What a row holds
   * that several slots name is not defined.
   */
  readonly slots: Tensor
}

export interface QkvOptions {
  /** Default: no rotation. */
  readonly rotary?: RotaryOptions | undefined
  /** Default: k and v are results. */
  readonly cache?: CacheOptions | undefined
}

/** [..., heads, headDim] for each that was asked for and does not go to a cache. */
type Projected<P extends Projections, S extends Shape, O> = {
  [K in keyof P & (O extends { readonly cache: object } ? 'q' : Name)]: P[K] extends Size
    ? Tensor<Append<Leading<S>, P[K]>>
    : Tensor | undefined
}

const isSize = (value: unknown) => Number.isSafeInteger(value) && (value as number) > 0

/** Columns of a projection; 0 without it. */
function columnsOf(name: Name, size: Size | undefined): number {
  if (size === undefined) return 0
  if (size.length !== 2 || !isSize(size[0]) || !isSize(size[1]))
    throw new ArgumentError(`[qkv] ${name} must be [heads, headDim], two positive integers, is ${formatShape(size)}`)
  return size[0] * size[1]
}

/** x's shape with heads in place of its features. */
function headShape(shape: Shape, size: Size): number[] {
  const last = shape.length
  const result = new Array<number>(last + 1)
  for (let i = 0; i < last - 1; i++) result[i] = shape[i] as number
  result[last - 1] = size[0]
  result[last] = size[1]
  return result
}

/** A view of packed rows [..., width] in the memory of a slot: heads from column `start` on. `like`: an earlier one, whose shape is shared if it fits. */
function part(x: Tensor, slot: number, size: Size, width: number, start: number, like: Tensor | undefined): Tensor {
  const last = x.rank
  if (like !== undefined && like.shape[last - 1] === size[0] && like.shape[last] === size[1])
    return viewOfSlot(x.device, slot, x.dtype, like.shape, like.strides, start)
  const shape = headShape(x.shape, size)
  const strides = new Array<number>(last + 1)
  strides[last] = 1
  strides[last - 1] = size[1]
  let step = width
  for (let i = last - 2; i >= 0; i--) {
    strides[i] = step
    step *= shape[i] as number
  }
  return viewOfSlot(x.device, slot, x.dtype, shape, strides, start)
}

function checkRotary(x: Tensor, { q, k }: Projections, rotary: RotaryOptions): void {
  const { cosines, sines, positionIds } = rotary
  const headDim = (q ?? k)?.[1]
  if (headDim === undefined) throw new ArgumentError('[qkv] q or k must be projected where rotary is given')
  if (q && k && q[1] !== k[1])
    throw new ArgumentError(`[qkv] q and k must have one headDim where rotary is given, have ${q[1]} and ${k[1]}`)
  expectShape('qkv', 'rotary.cosines', cosines, [-1, -1])
  expectShape('qkv', 'rotary.sines', sines, cosines.shape)
  for (const [name, table] of [
    ['rotary.cosines', cosines],
    ['rotary.sines', sines],
  ] as const) {
    expectDType('qkv', name, table, 'f32')
    if (recording([table])) throw new ArgumentError(`[qkv] ${name} must not require a gradient: there is none`)
  }
  const [positions, pairs] = cosines.shape as [number, number]
  if (pairs < 1 || 2 * pairs > headDim)
    throw new ArgumentError(
      `[qkv] rotary.cosines must have from 1 to ${headDim >> 1} columns, one for two columns of a head of ${headDim}, is ${formatShape(cosines.shape)}`,
    )
  const leading = x.shape.slice(0, -1)
  if (positionIds) {
    expectDType('qkv', 'rotary.positionIds', positionIds, 'i32')
    const { shape, rank } = positionIds
    if (rank > leading.length || !sameShape(shape, leading.slice(leading.length - rank)))
      throw new ArgumentError(
        `[qkv] rotary.positionIds must have the last dimensions of ${formatShape(leading)}, those of x without its features, is ${formatShape(shape)}`,
      )
  } else {
    const length = leading.at(-1) ?? 1
    if (length > positions)
      throw new ArgumentError(
        `[qkv] rotary.cosines must have at least ${length} rows, as x ${formatShape(x.shape)} is long, has ${positions}`,
      )
  }
}

function checkCache(x: Tensor, projections: Projections, cache: CacheOptions): void {
  const { slots } = cache
  const leading = x.shape.slice(0, -1)
  const rows = leading.reduce((product, dimension) => product * dimension, 1)
  expectDType('qkv', 'cache.slots', slots, 'i32')
  if (!sameShape(slots.shape, leading) && !(slots.rank === 1 && slots.shape[0] === rows))
    throw new ArgumentError(
      `[qkv] cache.slots must be [${rows}], one for each row of x ${formatShape(x.shape)}, is ${formatShape(slots.shape)}`,
    )
  if (projections.k === undefined && projections.v === undefined)
    throw new ArgumentError('[qkv] k or v must be projected where cache is given')
  let lines: number | undefined
  for (const name of ['k', 'v'] as const) {
    const argument = `cache.${name}`
    const size = projections[name]
    const held = cache[name]
    if (size === undefined) {
      if (held !== undefined) throw new ArgumentError(`[qkv] ${argument} must not be given where ${name} is not projected`)
      continue
    }
    expectTensor('qkv', argument, held)
    assertLive(held, 'qkv')
    if (held.device !== x.device)
      throw new ArgumentError(`[qkv] ${argument} must be on ${x.device.kind}, is on ${held.device.kind}: tensors of one op share a device`)
    expectDType('qkv', argument, held, x.dtype)
    if (held.requiresGrad) throw new ArgumentError(`[qkv] ${argument} must not require a gradient: it is written in place`)
    const { shape, rank } = held
    if (rank < 3 || shape[rank - 2] !== size[0] || shape[rank - 1] !== size[1])
      throw new ArgumentError(
        `[qkv] ${argument} must be [..., ${size[0]}, ${size[1]}], rows of the heads of ${name}, is ${formatShape(shape)}`,
      )
    if (!held.isContiguous) throw new ArgumentError(`[qkv] ${argument} must be contiguous, has strides ${formatShape(held.strides)}`)
    const count = shape.slice(0, -2).reduce((product, dimension) => product * dimension, 1)
    lines ??= count
    if (count !== lines) throw new ArgumentError(`[qkv] cache.v must have ${lines} rows as cache.k has, has ${count}`)
  }
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

/** Each row's position: a number for every row of x. */
function positionsOf<T>(F: ArrayOps<T>, leading: Shape, positionIds: T | undefined): number[] {
  const rows = leading.reduce((product, dimension) => product * dimension, 1)
  const given = positionIds === undefined ? undefined : F.values(positionIds)
  const length = leading.at(-1) ?? 1
  return Array.from({ length: rows }, (_, n) => (given === undefined ? n % length : (given[n % given.length] as number)))
}

/** The cache with rows [N, H, D] in the places that slots name. */
function appendReference<T>(F: ArrayOps<T>, cache: T, rows: T, slots: T): T {
  const shape = F.shape(cache)
  const width = (shape.at(-2) as number) * (shape.at(-1) as number)
  const lines = shape.slice(0, -2).reduce((product, dimension) => product * dimension, 1)
  const count = F.shape(rows)[0] as number
  const from = Array.from({ length: lines }, (_, line) => line)
  F.values(slots).forEach((slot, n) => {
    if (slot >= 0) from[slot] = lines + n
  })
  const all = F.concat([F.reshape(cache, [lines, width]), F.reshape(rows, [count, width])], 0)
  return F.reshape(F.gather(all, from), shape)
}

export const qkvOp = defineOp('qkv', {
  native,
  infer(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | undefined,
    projections: Projections,
    rotary: RotaryOptions | undefined,
    cache: CacheOptions | undefined,
  ): Arguments {
    const features = expectFeatures('qkv', x, weight)
    expectBias('qkv', 'bias', bias, features, x.dtype)
    const { q, k, v } = projections
    const qColumns = columnsOf('q', q)
    const kColumns = columnsOf('k', k)
    const width = qColumns + kColumns + columnsOf('v', v)
    if (width === 0) throw new ArgumentError('[qkv] at least one of q, k and v must be given')
    if (width !== features)
      throw new ArgumentError(
        `[qkv] weight must be [${width}, ${x.shape[x.rank - 1]}], the heads of q, k and v together, is ${formatShape(weight.shape)}`,
      )
    if (x.rank > 5) throw new ArgumentError(`[qkv] x must have at most 5 dimensions, is ${formatShape(x.shape)}`)
    if (rotary !== undefined) checkRotary(x, projections, rotary)
    if (cache !== undefined) {
      if (recording([x, weight, bias]))
        throw new ArgumentError('[qkv] cache must not be given where a gradient is recorded: none flows through it, use noGrad')
      checkCache(x, projections, cache)
    }
    const args: Arguments = {
      x,
      weight,
      bias,
      cosines: rotary?.cosines,
      sines: rotary?.sines,
      positionIds: rotary?.positionIds,
      slots: cache?.slots,
      kCache: cache?.k,
      vCache: cache?.v,
      q: undefined,
      k: undefined,
      v: undefined,
      interleaved: rotary?.interleaved ? 1 : 0,
      projections,
    }
    const { device, dtype } = x
    const { id } = schema.qkv
    if (cache !== undefined || (k === undefined && v === undefined)) {
      if (q !== undefined) args.q = allocate(device, headShape(x.shape, q), dtype, id) // [..., H, D]
      return args
    }
    // One buffer for all, so that they are one product. It needs no tensor of its own.
    const packed = device.takeSlot()
    device.commands.allocate(packed, dtype, withLast(x.shape, width), id) // [..., R]
    if (q !== undefined) args.q = part(x, packed, q, width, 0, undefined)
    if (k !== undefined) args.k = part(x, packed, k, width, qColumns, args.q)
    if (v !== undefined) args.v = part(x, packed, v, width, qColumns + kColumns, args.k ?? args.q)
    device.freeSlot(packed)
    return args
  },
  result: ({ q, k, v }) => ({ q, k, v }),
  differentiable: names,
  saves: ['x', 'weight', 'cosines', 'sines', 'positionIds'],
  backward({ saved, gradient, needs, accumulate }) {
    const { x, weight, cosines, sines, positionIds, interleaved, projections } = saved
    const gradients: { [K in Name]?: Tensor } = {}
    for (const name of names) {
      const size = projections[name]
      if (size === undefined) continue
      const dy = gradient[name]
      // Absent to the native op means not projected: what no gradient reached counts as zero.
      if (dy === undefined) gradients[name] = rawFull(x, headShape(x.shape, size), 0)
      else gradients[name] = dy.dtype === x.dtype && hasEqualSteps(dy) ? dy : rawCast(dy, x.dtype)
    }
    const dx = needs.x ? allocate(x.device, x.shape, x.dtype, schema.qkvBackward.id) : undefined
    const { q: dq, k: dk, v: dv } = gradients
    const dweight = accumulate('weight')
    const dbias = accumulate('bias')
    qkvBackward({ dq, dk, dv, x, weight, cosines, sines, positionIds, dx, dweight, dbias, interleaved })
    return { x: dx }
  },
  reference(F, { x, weight, bias, cosines, sines, positionIds, slots, kCache, vCache, interleaved, projections }) {
    const leading = F.shape(x).slice(0, -1)
    const packed = linearReference(F, x, weight, bias) // [..., R]
    const rows = leading.reduce((product, dimension) => product * dimension, 1)
    const caches = { q: undefined, k: kCache, v: vCache }
    const outputs: { q?: typeof packed; k?: typeof packed; v?: typeof packed; kCache?: typeof packed; vCache?: typeof packed } = {}
    let start = 0
    for (const name of names) {
      const size = projections[name]
      if (size === undefined) continue
      const end = start + size[0] * size[1]
      let heads = F.reshape(F.slice(packed, -1, start, end), [rows, ...size]) // [N, H, D]
      if (name !== 'v' && cosines !== undefined && sines !== undefined)
        heads = rotaryReference(F, heads, cosines, sines, positionsOf(F, leading, positionIds), interleaved === 1)
      const cache = caches[name]
      if (cache === undefined || slots === undefined)
        outputs[name] = F.reshape(heads, [...leading, ...size]) // [..., H, D]
      else outputs[name === 'k' ? 'kCache' : 'vCache'] = appendReference(F, cache, heads, slots)
      start = end
    }
    return outputs
  },
})

/**
 * The projections of attention in one product. `x` [..., C], `weight` [R, C] and `bias` [R] with the rows of q, then k, then v, R = the sum of
 * heads · headDim of those that are asked for: `{ q: [8, 64], k: [2, 64], v: [2, 64] }`, or `{ k, v }` for a memory, or `{ q }`.
 *
 * Each result is [..., heads, headDim], a strided view of one packed buffer. With `rotary`, q and k turn by the positions of their rows, in f32 behind the
 * bias. With `cache`, k and v are written to its rows and are no results; no gradient flows there, so none may be recorded (`noGrad`).
 *
 * `x` and `weight` share a dtype, f32 or bf16, on a GPU f16 too; the bias may be f32 too. Throws ArgumentError if shapes or dtypes disagree. A position
 * outside of the tables and a slot beyond the caches are found on the device: the next read rejects with ArgumentError, naming the place and the value.
 */
export function qkv<
  const P extends Projections,
  S extends Shape,
  W extends Shape,
  B extends Shape = Shape,
  O extends QkvOptions = Record<never, never>,
>(x: Tensor<S>, weight: Wide<W, Last<S>>, bias: Wide<B, First<W>> | undefined, projections: P, options?: O): Projected<P, S, O> {
  const rotary = options?.rotary
  const cache = options?.cache
  const outputs = qkvOp(
    contiguousArgument('qkv', 'x', x),
    contiguousArgument('qkv', 'weight', weight as Tensor),
    contiguousArgument('qkv', 'bias', bias as Tensor | undefined),
    projections,
    rotary && {
      cosines: contiguousArgument('qkv', 'rotary.cosines', rotary.cosines),
      sines: contiguousArgument('qkv', 'rotary.sines', rotary.sines),
      positionIds: contiguousArgument('qkv', 'rotary.positionIds', rotary.positionIds),
      interleaved: rotary.interleaved,
    },
    cache && { k: cache.k, v: cache.v, slots: contiguousArgument('qkv', 'cache.slots', cache.slots) },
  )
  return outputs as Projected<Projections, S, Record<never, never>> as Projected<P, S, O>
}
