import { defineOp } from '../autograd/defineOp.ts'
import { ArgumentError } from '../errors.ts'
import { where as native, schema, type WhereArgs } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import type { Broadcast, BroadcastsWith } from '../types/shape.ts'
import { broadcastShapes, expectDType, expectTensor } from './check.ts'
import { rawFull, rawSumTo } from './untaped.ts'

function select(condition: Tensor, a: Tensor, b: Tensor, shape: Shape): Tensor {
  const y = allocate(a.device, shape, a.dtype, schema.where.id)
  native({ condition, a, b, y })
  return y
}

const whereOp = defineOp('where', {
  native,
  infer(condition: Tensor, a: Tensor, b: Tensor): WhereArgs & { aShape: Shape; bShape: Shape } {
    expectTensor('where', 'condition', condition)
    expectTensor('where', 'a', a)
    expectTensor('where', 'b', b)
    expectDType('where', 'condition', condition, 'u8')
    if (a.dtype !== b.dtype) throw new ArgumentError(`[where] b must have dtype ${a.dtype} as a has, is ${b.dtype}`)
    const shape = broadcastShapes('where', broadcastShapes('where', condition.shape, a.shape), b.shape)
    return { condition, a, b, y: allocate(a.device, shape, a.dtype, schema.where.id), aShape: a.shape, bShape: b.shape }
  },
  result: args => args.y,
  differentiable: ['y'],
  saves: ['condition'],
  backward({ saved, gradient, needs }) {
    const dy = gradient.y as Tensor
    const zero = rawFull(dy, [], 0)
    return {
      a: needs.a ? rawSumTo(select(saved.condition, dy, zero, dy.shape), saved.aShape) : undefined,
      b: needs.b ? rawSumTo(select(saved.condition, zero, dy, dy.shape), saved.bShape) : undefined,
    }
  },
  reference: (F, { condition, a, b }) => ({ y: F.where(condition, a, b) }),
})

/**
 * `a` where `condition` (u8) is not 0, else `b`; all three broadcast. `a` and `b` share a dtype, of which one may be a number.
 * Nothing flows back from the side not taken, whatever it holds.
 */
export function where<C extends Shape, A extends Shape = [], B extends Shape = []>(
  condition: Tensor<C>,
  a: BroadcastsWith<C, A> | number,
  b: BroadcastsWith<Broadcast<C, A>, B> | number,
): Tensor<Broadcast<Broadcast<C, A>, B>> {
  return choose(condition, a as Tensor | number, b as Tensor | number) as Tensor<Broadcast<Broadcast<C, A>, B>>
}

/** With numbers as tensors of the other side's dtype. */
function choose(condition: Tensor, a: Tensor | number, b: Tensor | number): Tensor {
  const like = typeof a === 'number' ? b : a
  if (typeof like === 'number') throw new ArgumentError('[where] a or b must be a Tensor: two numbers have no dtype')
  expectTensor('where', typeof a === 'number' ? 'b' : 'a', like)
  const tensorOf = (side: Tensor | number) => (typeof side === 'number' ? rawFull(like, [], side) : side)
  return whereOp(condition, tensorOf(a), tensorOf(b))
}

export { whereOp }
