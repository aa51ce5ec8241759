import { defineOp } from '../autograd/defineOp.ts'
import { recording } from '../autograd/tape.ts'
import { type LinearArgs, linearBackward, linear as native, schema } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import type { First, Last, Wide, WithLast } from '../types/shape.ts'
import { type Activation, activationId, activationReference, activations } from './activation.ts'
import { expectBias, expectDType, expectFeatures, expectShape, withLast } from './check.ts'
import { contiguousArgument } from './copy.ts'
import type { ArrayOps } from './reference.ts'
import { rawCast } from './untaped.ts'

/** x Wᵀ + b: x [..., C], weight [F, C], bias [F] → [..., F]. */
export function linearReference<T>(F: ArrayOps<T>, x: T, weight: T, bias: T | undefined): T {
  const shape = F.shape(x)
  const features = shape[shape.length - 1] as number
  const rows = F.reshape(x, [shape.slice(0, -1).reduce((product, dimension) => product * dimension, 1), features]) // [N, C]
  const product = F.matmul(rows, F.transpose(weight, 0, 1)) // [N, F]
  const y = F.reshape(product, [...shape.slice(0, -1), F.shape(weight)[0] as number]) // [..., F]
  return bias === undefined ? y : F.add(y, bias)
}

export const linearOp = defineOp('linear', {
  native,
  infer(x: Tensor, weight: Tensor, bias: Tensor | undefined, residual: Tensor | undefined, activation: Activation): LinearArgs {
    const features = expectFeatures('linear', x, weight)
    expectBias('linear', 'bias', bias, features, x.dtype)
    const kind = activationId('linear', activation)
    const shape = withLast(x.shape, features) // [..., F]
    if (residual) {
      expectShape('linear', 'residual', residual, shape)
      expectDType('linear', 'residual', residual, x.dtype)
    }
    const y = allocate(x.device, shape, x.dtype, schema.linear.id)
    // relu(v) > 0 where v > 0: its derivative can be taken from y, unless something was added to it.
    const keeps = activation !== 'none' && recording([x, weight, bias])
    const own = activation === 'relu' && residual === undefined ? y : undefined
    const preactivation = keeps ? (own ?? allocate(x.device, shape, x.dtype, schema.linear.id)) : undefined
    return { x, weight, bias, residual, y, preactivation, activation: kind }
  },
  result: args => args.y,
  differentiable: ['y'],
  saves: ['x', 'weight', 'preactivation'],
  backward({ saved: { x, weight, preactivation, activation }, gradient, needs, accumulate }) {
    const dy = rawCast(gradient.y as Tensor, x.dtype) // [..., F]
    const dx = needs.x ? allocate(x.device, x.shape, x.dtype, schema.linearBackward.id) : undefined
    const dweight = accumulate('weight')
    const dbias = accumulate('bias')
    if (dx || dweight || dbias) linearBackward({ dy, x, weight, preactivation, dx, dweight, dbias, activation })
    return { x: dx, residual: needs.residual ? dy : undefined }
  },
  reference(F, { x, weight, bias, residual, activation }) {
    const y = activationReference(F, activations[activation] as Activation, linearReference(F, x, weight, bias))
    return { y: residual === undefined ? y : F.add(y, residual) }
  },
})

export interface LinearOptions {
  /** Applied to x Wᵀ + b; default none. */
  activation?: Activation
  /** [..., F], added after the activation. */
  residual?: Tensor | undefined
}

/**
 * activation(x Wᵀ + b) + residual, in one pass over the result.
 *
 * `x` [..., C] with any leading dimensions, `weight` [F, C], `bias` [F] → [..., F]. `x`, `weight` and `residual` share a dtype, f32 or bf16, on a GPU f16 too; the
 * bias may be f32 too; sums are f32. Throws ArgumentError if shapes or dtypes disagree.
 */
export function linear<S extends Shape, W extends Shape, B extends Shape = Shape>(
  x: Tensor<S>,
  weight: Wide<W, Last<S>>,
  bias?: Wide<B, First<W>> | undefined,
  options: LinearOptions = {},
): Tensor<WithLast<S, First<W>>> {
  const { activation = 'none', residual } = options
  return linearOp(
    contiguousArgument('linear', 'x', x),
    contiguousArgument('linear', 'weight', weight as Tensor),
    contiguousArgument('linear', 'bias', bias as Tensor | undefined),
    contiguousArgument('linear', 'residual', residual),
    activation,
  ) as Tensor as Tensor<WithLast<S, First<W>>>
}
