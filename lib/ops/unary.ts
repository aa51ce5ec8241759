import { defineOp } from '../autograd/defineOp.ts'
import { unary as native, schema, type UnaryArgs, unaryBackward } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import { activationReference } from './activation.ts'
import { expectFloat, expectTensor } from './check.ts'
import type { ArrayOps } from './reference.ts'
import { unaryKinds } from './untaped.ts'

export type UnaryKind = keyof typeof unaryKinds
const kindNames = Object.keys(unaryKinds) as UnaryKind[]

function formula<T>(F: ArrayOps<T>, kind: UnaryKind, x: T): T {
  switch (kind) {
    case 'exp':
    case 'log':
    case 'sqrt':
    case 'abs':
    case 'sin':
    case 'cos':
    case 'erf':
    case 'tanh':
      return F[kind](x)
    case 'rsqrt':
      return F.div(F.full([], 1), F.sqrt(x))
    case 'square':
      return F.mul(x, x)
    case 'sigmoid':
      return F.div(F.full([], 1), F.add(F.exp(F.neg(x)), 1))
    default:
      return activationReference(F, kind, x)
  }
}

export const unary = defineOp('unary', {
  native,
  infer(kind: UnaryKind, x: Tensor): UnaryArgs {
    expectTensor(kind, 'x', x)
    expectFloat(kind, 'x', x)
    return { x, y: allocate(x.device, x.shape, x.dtype, schema.unary.id), kind: unaryKinds[kind] }
  },
  result: args => args.y,
  differentiable: ['y'],
  saves: ['x'],
  backward({ saved: { x, kind }, gradient }) {
    const dx = allocate(x.device, x.shape, x.dtype, schema.unaryBackward.id)
    unaryBackward({ dy: gradient.y as Tensor, x, dx, kind })
    return { x: dx }
  },
  reference: (F, { x, kind }) => ({ y: formula(F, kindNames[kind] as UnaryKind, x) }),
})

const of =
  (kind: UnaryKind) =>
  <S extends Shape>(x: Tensor<S>): Tensor<S> =>
    unary(kind, x) as Tensor<S>

export const exp = of('exp')
/** Natural logarithm. */
export const log = of('log')
export const sqrt = of('sqrt')
/** 1 / sqrt(x) */
export const rsqrt = of('rsqrt')
export const square = of('square')
export const abs = of('abs')
export const sin = of('sin')
export const cos = of('cos')
export const erf = of('erf')
export const tanh = of('tanh')
export const sigmoid = of('sigmoid')
export const relu = of('relu')
/** x Φ(x) with the exact normal distribution function; `geluTanh` is the approximation that GPT-2 uses. */
export const gelu = of('gelu')
export const geluTanh = of('geluTanh')
/** x · sigmoid(x) */
export const silu = of('silu')
/** max(x, 0)² */
export const relu2 = of('relu2')
