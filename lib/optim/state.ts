/** What Adam remembers: layout, allocation, checks and loading. */
import { ArgumentError } from '../errors.ts'
import { copy, fill } from '../native.generated.ts'
import { formatShape, sameShape } from '../ops/check.ts'
import { aliasView, allocate, assertLive, type Shape, type Tensor } from '../tensor.ts'
import { expectNonNegative } from './parameters.ts'

/** What is remembered of one parameter, under PyTorch's names; all f32. `master` only where the parameter has a lower precision. */
export interface ParameterState {
  /** [1]: the steps taken. */
  step: Tensor
  exp_avg: Tensor
  exp_avg_sq: Tensor
  master?: Tensor
}

export interface OptimizerState {
  /** By the parameter's index over all groups. */
  state: Record<number, ParameterState>
  param_groups: { lr: number; betas: [number, number]; eps: number; weight_decay: number; params: number[] }[]
}

/** The memory of a parameter that has taken no step. A master begins as the parameter. */
export function newState(parameter: Tensor, withMaster: boolean): ParameterState {
  const zeros = (shape: Shape) => {
    const tensor = allocate(parameter.device, shape, 'f32')
    fill({ y: tensor, value: 0 })
    return tensor
  }
  const state: ParameterState = { step: zeros([1]), exp_avg: zeros(parameter.shape), exp_avg_sq: zeros(parameter.shape) }
  if (withMaster) {
    state.master = allocate(parameter.device, parameter.shape, 'f32')
    copy({ x: parameter, y: state.master })
  }
  return state
}

/** The saved states in the order of the parameters. Throws ArgumentError if groups or shapes are not those of `groups`. */
export function savedStates(
  optimizer: string,
  { state, param_groups }: OptimizerState,
  groups: readonly { parameters: readonly Tensor[] }[],
): (ParameterState | undefined)[] {
  const fail = (what: string) => new ArgumentError(`[${optimizer}] ${what}`)
  if (param_groups.length !== groups.length) throw fail(`param_groups must be ${groups.length} groups, is ${param_groups.length}`)
  return groups.flatMap(({ parameters }, g) => {
    const { params, weight_decay } = param_groups[g] as OptimizerState['param_groups'][0]
    expectNonNegative(optimizer, `param_groups[${g}].weight_decay`, weight_decay)
    if (params.length !== parameters.length)
      throw fail(`param_groups[${g}].params must be ${parameters.length} parameters, is ${params.length}`)
    return params.map((index, i) => {
      const entry = state[index]
      const { shape } = parameters[i] as Tensor
      const expectSaved = (name: keyof ParameterState, fits: (saved: Shape) => boolean, expected: Shape) => {
        const tensor = entry?.[name]
        if (tensor === undefined) throw fail(`state[${index}].${name} must be a Tensor, is undefined`)
        assertLive(tensor, optimizer)
        if (!fits(tensor.shape)) throw fail(`state[${index}].${name} must be ${formatShape(expected)}, is ${formatShape(tensor.shape)}`)
      }
      if (entry === undefined) return undefined
      for (const name of ['exp_avg', 'exp_avg_sq'] as const) expectSaved(name, saved => sameShape(saved, shape), shape)
      if (entry.master) expectSaved('master', saved => sameShape(saved, shape), shape)
      // PyTorch's step is a number without dimensions.
      expectSaved('step', saved => saved.every(dimension => dimension === 1), [1])
      return entry
    })
  })
}

/** Copies `saved` into `state`; none: as if no step had been taken. A missing master is the parameter. */
export function overwriteState(state: ParameterState, saved: ParameterState | undefined, parameter: Tensor): void {
  if (state.master) copy({ x: saved?.master ?? parameter, y: state.master })
  if (saved === undefined) {
    for (const tensor of [state.step, state.exp_avg, state.exp_avg_sq]) fill({ y: tensor, value: 0 })
    return
  }
  copy({ x: saved.exp_avg, y: state.exp_avg })
  copy({ x: saved.exp_avg_sq, y: state.exp_avg_sq })
  using step = aliasView(saved.step, [1], [1], saved.step.offset)
  copy({ x: step, y: state.step })
}
