/** Checks of the modules' options. Messages read `[Module] option must be …, is …`. */
import { ArgumentError } from '../errors.ts'

/** An integer of at least `least`. */
export function expectCount(module: string, name: string, value: unknown, least = 1): void {
  if (!Number.isSafeInteger(value) || (value as number) < least)
    throw new ArgumentError(`[${module}] ${name} must be an integer from ${least}, is ${value}`)
}

/** A probability that leaves something: [0, 1). */
export function expectProbability(module: string, name: string, value: unknown): void {
  if (!(typeof value === 'number' && value >= 0 && value < 1))
    throw new ArgumentError(`[${module}] ${name} must be at least 0 and below 1, is ${value}`)
}

export function expectOneOf<T extends string>(module: string, name: string, value: T, allowed: readonly T[]): void {
  if (!allowed.includes(value))
    throw new ArgumentError(`[${module}] ${name} must be ${allowed.map(each => `'${each}'`).join(' or ')}, is '${value}'`)
}

export function expectPositive(module: string, name: string, value: unknown): void {
  if (!(typeof value === 'number' && value > 0 && value < Number.POSITIVE_INFINITY))
    throw new ArgumentError(`[${module}] ${name} must be a positive number, is ${value}`)
}
