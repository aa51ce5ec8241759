import { isFloat } from '../dtype.ts'
import { ArgumentError } from '../errors.ts'
import { assertLive, Tensor } from '../tensor.ts'

/** Parameters with options of their own. */
export interface ParameterGroup {
  parameters: Iterable<Tensor>
  /** Default: the optimizer's. */
  weightDecay?: number
}

export type Parameters = Iterable<Tensor> | Iterable<ParameterGroup>

export interface ResolvedGroup {
  parameters: Tensor[]
  weightDecay: number
}

export function expectNumber(optimizer: string, name: string, value: number, fits: (value: number) => boolean, what: string): number {
  if (typeof value !== 'number' || !fits(value)) throw new ArgumentError(`[${optimizer}] ${name} must be ${what}, is ${value}`)
  return value
}

export const expectNonNegative = (optimizer: string, name: string, value: number) =>
  expectNumber(optimizer, name, value, x => x >= 0 && Number.isFinite(x), 'a finite number from 0')

/** The groups of an optimizer: tensors alone are one group. Checks that each is a live leaf of a float dtype, on one device, named once. */
export function resolveGroups(optimizer: string, parameters: Parameters, weightDecay: number): ResolvedGroup[] {
  const given = [...(parameters as Iterable<Tensor | ParameterGroup>)]
  const tensors = given.filter(entry => entry instanceof Tensor)
  if (tensors.length > 0 && tensors.length < given.length)
    throw new ArgumentError(`[${optimizer}] parameters must be tensors or groups, is a mixture`)
  const groups = (tensors.length > 0 ? [{ parameters: tensors }] : given) as ParameterGroup[]
  const resolved = groups.map((group, g) => ({
    parameters: [...group.parameters],
    weightDecay: expectNonNegative(
      optimizer,
      tensors.length > 0 ? 'weightDecay' : `groups[${g}].weightDecay`,
      group.weightDecay ?? weightDecay,
    ),
  }))
  const seen = new Set<Tensor>()
  for (const [index, parameter] of resolved.flatMap(group => group.parameters).entries()) {
    const fail = (what: string) => new ArgumentError(`[${optimizer}] parameter ${index} must ${what}`)
    if (!(parameter instanceof Tensor)) throw fail(`be a Tensor, is ${typeof parameter}`)
    assertLive(parameter, optimizer)
    if (!isFloat(parameter.dtype)) throw fail(`have a float dtype, is ${parameter.dtype}`)
    if (parameter.node !== undefined) throw fail('be a leaf, is the result of an op')
    if (!parameter.isContiguous) throw fail('be contiguous, is a strided view')
    const [first = parameter] = seen
    if (parameter.device !== first.device) throw fail(`be on ${first.device.kind} as the first, is on ${parameter.device.kind}`)
    if (seen.has(parameter)) throw fail('be given once: it stands twice among the parameters')
    seen.add(parameter)
  }
  if (seen.size === 0) throw new ArgumentError(`[${optimizer}] parameters must hold at least one tensor`)
  return resolved
}
