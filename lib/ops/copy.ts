import { defineOp } from '../autograd/defineOp.ts'
import type { DType } from '../dtype.ts'
import { type CopyArgs, copy as native, schema } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import { expectTensor } from './check.ts'

const copyTo = defineOp('copy', {
  native,
  infer: (x: Tensor, dtype: DType): CopyArgs => ({ x, y: allocate(x.device, x.shape, dtype, schema.copy.id) }),
  result: args => args.y,
  differentiable: ['y'],
  saves: [],
  backward: ({ gradient }) => ({ x: gradient.y }),
  reference: (_, { x }) => ({ y: x }),
})

/** `x` with its elements in row-major order: itself if they are, else a copy. */
export function contiguous<S extends Shape, D extends DType>(x: Tensor<S, D>): Tensor<S, D> {
  return x.isContiguous ? x : (copyTo(x, x.dtype) as Tensor<S, D>)
}

/** Argument `name` of `op` with its elements in row-major order. Throws ArgumentError if something else than a tensor was given. */
export function contiguousArgument<T extends Tensor | undefined>(op: string, name: string, x: T): T {
  if (x === undefined) return x
  expectTensor(op, name, x)
  return contiguous(x) as T
}

/** `x` converted to `dtype`: itself if it has it. Floats to integers truncate; anything to u8 is 1 where it is not 0. */
export function cast<S extends Shape, D extends DType>(x: Tensor<S>, dtype: D): Tensor<S, D> {
  return (x.dtype === dtype ? x : copyTo(x, dtype)) as Tensor<S, D>
}

/** A copy of its own, whatever `x` is. */
export function clone<S extends Shape, D extends DType>(x: Tensor<S, D>): Tensor<S, D> {
  return copyTo(x, x.dtype) as Tensor<S, D>
}

export { copyTo }
