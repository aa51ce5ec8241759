import { defineOp } from '../autograd/defineOp.ts'
import type { DType } from '../dtype.ts'
import { type FillArgs, fill as native } from '../native.generated.ts'
import { empty, type Shape, type Tensor, type TensorOptions } from '../tensor.ts'

const fillNew = defineOp('fill', {
  native,
  infer: (y: Tensor, value: number): FillArgs => ({ y, value }),
  result: args => args.y,
  differentiable: [],
  saves: [],
  backward: 'none',
  reference: (F, { y, value }) => ({ y: F.full(F.shape(y), value) }),
})

/** A tensor with every element `value`. */
export function full<const S extends Shape, D extends DType = 'f32'>(
  shape: S,
  value: number,
  options: TensorOptions<D> = {},
): Tensor<S, D> {
  return fillNew(empty(shape, options), value) as Tensor<S, D>
}
export const zeros = <const S extends Shape, D extends DType = 'f32'>(shape: S, options: TensorOptions<D> = {}): Tensor<S, D> =>
  full(shape, 0, options)
export const ones = <const S extends Shape, D extends DType = 'f32'>(shape: S, options: TensorOptions<D> = {}): Tensor<S, D> =>
  full(shape, 1, options)
/** Sets every element, in place; not recorded for gradients. */
export function fill_(x: Tensor, value: number): void {
  native({ y: x, value })
}
