import { dtypeIds } from '../dtype.ts'
import { ArgumentError } from '../errors.ts'
import { adamw, copy, fill } from '../native.generated.ts'
import { formatShape, sameShape } from '../ops/check.ts'
import { persistent } from '../scope.ts'
import { allocate, assertLive, type Tensor } from '../tensor.ts'
import { expectNonNegative, expectNumber, type Parameters, resolveGroups } from './parameters.ts'

export interface AdamOptions {
  /** Learning rate. Default 1e-3. */
  lr?: number
  /** Decay of the running means of gradient and squared gradient. Default [0.9, 0.999]. */
  betas?: readonly [number, number]
  /** Added to the root of the second moment. Default 1e-8. */
  eps?: number
  /** Default 0.01 for AdamW, 0 for Adam. */
  weightDecay?: number
  /** Keep f32 copies of low-precision parameters and update those: small steps would round to nothing. Default true. */
  masterWeights?: boolean
}

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

interface Group {
  parameters: Tensor[]
  weightDecay: number
  /** Index of the first parameter over all groups. */
  start: number
}

abstract class AdamFamily {
  readonly #name: string
  readonly #decoupled: boolean
  readonly #groups: Group[]
  readonly #states: (ParameterState | undefined)[]
  readonly #masterWeights: boolean
  /** On the device, so that a captured step follows the schedule. */
  readonly #rate: Tensor
  #lr: number
  #betas: [number, number]
  #eps: number

  protected constructor(name: string, decoupled: boolean, parameters: Parameters, options: AdamOptions, defaultDecay: number) {
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = defaultDecay, masterWeights = true } = options
    this.#name = name
    this.#decoupled = decoupled
    this.#lr = expectNonNegative(name, 'lr', lr)
    this.#betas = this.#checkBetas(betas)
    this.#eps = expectNonNegative(name, 'eps', eps)
    this.#masterWeights = masterWeights
    let start = 0
    this.#groups = resolveGroups(name, parameters, weightDecay).map(group => {
      start += group.parameters.length
      return { ...group, start: start - group.parameters.length }
    })
    const all = this.#groups.flatMap(group => group.parameters)
    this.#rate = persistent(() => allocate((all[0] as Tensor).device, [1], 'f32'))
    this.#writeRate()
    // Now, not in the first step: that one may be recorded by a capture, whose replays would begin from zero each time.
    this.#states = all.map(parameter => (parameter.requiresGrad ? this.#newState(parameter) : undefined))
  }

  /** The learning rate; setting it takes effect from the next step on, replayed ones included. */
  get lr(): number {
    return this.#lr
  }
  set lr(value: number) {
    expectNonNegative(this.#name, 'lr', value)
    if (value === this.#lr) return
    this.#lr = value
    this.#writeRate()
  }

  /** All parameters, group after group. */
  get parameters(): Tensor[] {
    return this.#groups.flatMap(group => group.parameters)
  }

  /**
   * Updates every parameter that has a gradient, and zeroes the gradient in the same pass: a training loop needs no `zeroGrad()`. A parameter
   * whose gradient is zero because a step did not use it still decays and moves on by its running mean; one without a gradient is left alone.
   */
  step(): void {
    for (const group of this.#groups) {
      const params: Tensor[] = []
      const grads: Tensor[] = []
      const states: ParameterState[] = []
      for (const [i, parameter] of group.parameters.entries()) {
        assertLive(parameter, this.#name)
        if (parameter.grad === undefined) continue
        params.push(parameter)
        grads.push(parameter.grad)
        const known = this.#states[group.start + i] ?? this.#newState(parameter)
        this.#states[group.start + i] = known
        states.push(known)
      }
      if (params.length === 0) continue
      adamw({
        params,
        grads,
        firstMoments: states.map(state => state.exp_avg),
        secondMoments: states.map(state => state.exp_avg_sq),
        masters: states.some(state => state.master) ? states.map((state, i) => state.master ?? (params[i] as Tensor)) : [],
        steps: states.map(state => state.step),
        rate: this.#rate,
        rest1: 1 - this.#betas[0],
        rest2: 1 - this.#betas[1],
        eps: this.#eps,
        weightDecay: group.weightDecay,
        decoupled: Number(this.#decoupled),
        clear: 1,
      })
    }
  }

  /** Zeroes all gradients, or with `free` gives their memory back. `step()` zeroes them already: this is for a batch that is given up. */
  zeroGrad({ free = false }: { free?: boolean } = {}): void {
    for (const parameter of this.parameters) {
      if (parameter.grad === undefined) continue
      if (free) {
        parameter.grad.dispose()
        parameter.grad = undefined
      } else {
        fill({ y: parameter.grad, value: 0 })
      }
    }
  }

  /** Takes the values of low-precision parameters over into their f32 masters: after parameters were written from outside. */
  refreshMasters(): void {
    for (const [i, parameter] of this.parameters.entries()) {
      const master = this.#states[i]?.master
      if (master) copy({ x: parameter, y: master })
    }
  }

  /** The optimizer's memory, laid out as PyTorch's. The tensors are the live ones: they change with the next step. */
  stateDict(): OptimizerState {
    const state: Record<number, ParameterState> = {}
    for (const [i, known] of this.#states.entries()) if (known) state[i] = { ...known }
    return {
      state,
      param_groups: this.#groups.map(group => ({
        lr: this.#lr,
        betas: [...this.#betas],
        eps: this.#eps,
        weight_decay: group.weightDecay,
        params: group.parameters.map((_, i) => group.start + i),
      })),
    }
  }

  /**
   * Copies a `stateDict()` in, options too: the next steps have the bits that they would have had. A master that the state lacks is taken from
   * its parameter, so load the parameters first. Throws ArgumentError, before anything changes, if groups or shapes differ.
   */
  loadStateDict({ state, param_groups }: OptimizerState): void {
    const fail = (what: string) => new ArgumentError(`[${this.#name}] ${what}`)
    const [first] = param_groups
    if (param_groups.length !== this.#groups.length || first === undefined)
      throw fail(`param_groups must be ${this.#groups.length} groups, is ${param_groups.length}`)
    for (const [g, group] of this.#groups.entries()) {
      const saved = param_groups[g] as OptimizerState['param_groups'][0]
      if (saved.params.length !== group.parameters.length)
        throw fail(`param_groups[${g}].params must be ${group.parameters.length} parameters, is ${saved.params.length}`)
      expectNonNegative(this.#name, `param_groups[${g}].weight_decay`, saved.weight_decay)
    }
    const betas = this.#checkBetas(first.betas)
    expectNonNegative(this.#name, 'eps', first.eps)
    expectNonNegative(this.#name, 'lr', first.lr)
    const parameters = this.parameters
    const saved = param_groups.flatMap(group => group.params.map(index => state[index]))
    for (const [i, entry] of saved.entries()) {
      const { shape } = parameters[i] as Tensor
      for (const [name, expected] of [
        ['exp_avg', shape],
        ['exp_avg_sq', shape],
        ['master', shape],
        ['step', undefined],
      ] as const) {
        const tensor = entry?.[name]
        if (entry === undefined || (tensor === undefined && name === 'master')) continue
        if (tensor === undefined) throw fail(`state[${i}].${name} must be a Tensor, is undefined`)
        assertLive(tensor, this.#name)
        if (expected ? !sameShape(tensor.shape, expected) : tensor.size !== 1)
          throw fail(`state[${i}].${name} must be ${formatShape(expected ?? [1])}, is ${formatShape(tensor.shape)}`)
      }
    }
    this.lr = first.lr
    this.#betas = betas
    this.#eps = first.eps
    for (const [g, group] of this.#groups.entries()) group.weightDecay = (param_groups[g] as OptimizerState['param_groups'][0]).weight_decay
    for (const [i, parameter] of parameters.entries()) this.#load(i, parameter, saved[i])
  }

  /** Frees the optimizer's memory; the parameters and their gradients stay. */
  dispose(): void {
    this.#rate.dispose()
    for (const state of this.#states) for (const tensor of Object.values(state ?? {})) (tensor as Tensor).dispose()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }

  #load(index: number, parameter: Tensor, entry: ParameterState | undefined): void {
    if (entry === undefined && this.#states[index] === undefined) return
    const state = this.#states[index] ?? this.#newState(parameter)
    this.#states[index] = state
    if (state.master) copy({ x: entry?.master ?? parameter, y: state.master })
    for (const name of ['exp_avg', 'exp_avg_sq'] as const) {
      if (entry) copy({ x: entry[name], y: state[name] })
      else fill({ y: state[name], value: 0 })
    }
    if (entry === undefined) fill({ y: state.step, value: 0 })
    else if (entry.step.rank === 1) copy({ x: entry.step, y: state.step })
    else {
      using flat = entry.step.reshape([1])
      copy({ x: flat, y: state.step })
    }
  }

  #newState(parameter: Tensor): ParameterState {
    if (parameter.device.commands.capturing)
      throw new ArgumentError(`[${this.#name}] a parameter's first step must not be captured: it makes the optimizer's memory`)
    return persistent(() => {
      const zeros = (shape: readonly number[]) => {
        const tensor = allocate(parameter.device, shape, 'f32')
        fill({ y: tensor, value: 0 })
        return tensor
      }
      const state: ParameterState = { step: zeros([1]), exp_avg: zeros(parameter.shape), exp_avg_sq: zeros(parameter.shape) }
      if (this.#masterWeights && parameter.dtype !== 'f32') {
        state.master = allocate(parameter.device, parameter.shape, 'f32')
        copy({ x: parameter, y: state.master })
      }
      return state
    })
  }

  #writeRate(): void {
    this.#rate.device.write(this.#rate, dtypeIds.f32, Float32Array.of(this.#lr))
  }

  #checkBetas(betas: readonly [number, number]): [number, number] {
    for (const [i, beta] of betas.entries()) expectNumber(this.#name, `betas[${i}]`, beta, x => x >= 0 && x < 1, 'from 0 to below 1')
    return [betas[0], betas[1]]
  }
}

/**
 * AdamW: Adam whose weight decay is decoupled from the gradient (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019), as
 * torch.optim.AdamW: p ← p · (1 - lr · weightDecay) - lr · m̂ / (√v̂ + eps). One pass over memory for all parameters of a group.
 *
 * @param parameters Leaf tensors, or groups with a weight decay of their own.
 */
export class AdamW extends AdamFamily {
  constructor(parameters: Parameters, options: AdamOptions = {}) {
    super('AdamW', true, parameters, options, 0.01)
  }
}

/** Adam (Kingma and Ba, 2015), as torch.optim.Adam: `weightDecay` (default 0) is added to the gradient as an L2 penalty's would be. */
export class Adam extends AdamFamily {
  constructor(parameters: Parameters, options: AdamOptions = {}) {
    super('Adam', false, parameters, options, 0)
  }
}

export type Optimizer = AdamFamily
