import { defineOp } from '../autograd/defineOp.ts'
import { draw } from '../generator.ts'
import { type DropoutArgs, dropout as native, schema } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import { expectFloat, expectRange, expectTensor } from './check.ts'
import { contiguous } from './copy.ts'
import { rawCast } from './untaped.ts'

const dropoutOp = defineOp('dropout', {
  native,
  infer(x: Tensor, p: number): DropoutArgs {
    expectTensor('dropout', 'x', x)
    expectFloat('dropout', 'x', x)
    expectRange('dropout', 'p', p, 0, 1)
    const { seed, counter } = draw()
    return { x, y: allocate(x.device, x.shape, x.dtype, schema.dropout.id), p: Math.fround(p), seed, counter }
  },
  result: args => args.y,
  differentiable: ['y'],
  saves: [],
  backward({ saved: { p, seed, counter }, gradient }) {
    const dy = gradient.y as Tensor
    const dx = allocate(dy.device, dy.shape, dy.dtype, schema.dropout.id)
    native({ x: rawCast(dy, dy.dtype), y: dx, p, seed, counter })
    return { x: dx }
  },
  reference(F, { x, p, seed, counter }) {
    const mask = F.dropoutMask(F.shape(x), p, seed, counter)
    return { y: p === 1 ? F.full(F.shape(x), 0) : F.mul(x, mask) }
  },
})

export interface DropoutOptions {
  /** Off: `x` itself is returned. Default true. */
  training?: boolean
}

/**
 * Sets each element to 0 with probability `p` (from 0 to 1) and divides the others by 1 - p. A dropped NaN or infinity is 0 too. The mask
 * is element i of a Philox draw (lib/random.ts) in row-major order, the same on every device; backward draws it again, nothing is stored.
 */
export function dropout<S extends Shape>(x: Tensor<S>, p: number, { training = true }: DropoutOptions = {}): Tensor<S> {
  expectRange('dropout', 'p', p, 0, 1)
  return training && p > 0 ? (dropoutOp(contiguous(x), p) as Tensor<S>) : x
}

export { dropoutOp }
