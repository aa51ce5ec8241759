import { ArgumentError } from '../errors.ts'
import type { ArrayOps } from './reference.ts'

/** In the order of native/core/scalar.h, enum Activation. */
export const activations = ['none', 'relu', 'gelu', 'geluTanh', 'silu', 'relu2'] as const
export type Activation = (typeof activations)[number]

/** The number that stands for `activation` in the command stream. */
export function activationId(op: string, activation: Activation): number {
  const id = activations.indexOf(activation)
  if (id < 0) throw new ArgumentError(`[${op}] activation must be ${activations.join(', ')}, is ${String(activation)}`)
  return id
}

/** What each activation means. */
export function activationReference<T>(F: ArrayOps<T>, kind: Activation, x: T): T {
  switch (kind) {
    case 'none':
      return x
    case 'relu':
      return F.maximum(x, 0)
    case 'gelu':
      return F.mul(F.mul(x, 0.5), F.add(F.erf(F.mul(x, Math.SQRT1_2)), 1))
    case 'geluTanh': {
      const inner = F.mul(F.add(x, F.mul(F.mul(F.mul(x, x), x), 0.044715)), Math.sqrt(2 / Math.PI))
      return F.mul(F.mul(x, 0.5), F.add(F.tanh(inner), 1))
    }
    case 'silu':
      return F.div(x, F.add(F.exp(F.neg(x)), 1))
    case 'relu2': {
      const positive = F.maximum(x, 0)
      return F.mul(positive, positive)
    }
  }
}
