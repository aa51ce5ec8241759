import { clearGradient } from '../autograd/tape.ts'
import { dtypeIds } from '../dtype.ts'
import { ArgumentError } from '../errors.ts'
import { adamw, copy } from '../native.generated.ts'
import { persistent } from '../scope.ts'
import { allocate, assertLive, type Tensor } from '../tensor.ts'
import { expectNonNegative, expectNumber, type Parameters, resolveGroups } from './parameters.ts'
import { newState, type OptimizerState, overwriteState, type ParameterState, savedStates } from './state.ts'

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
   *
   * Where the device could not compute a gradient (out of memory), the step is not made, for no group: what reads a parameter then rejects with that
   * error, the next loss for one. Parameters and moments keep what they held: catch the error, call `zeroGrad()`, go on with a smaller batch.
   */
  step(): void {
    const updates = this.#groups.map(group => this.#update(group)).filter(update => update.params.length > 0)
    for (const update of updates) {
      const { params, grads, states, weightDecay } = update
      adamw({
        params,
        grads,
        firstMoments: states.map(state => state.exp_avg),
        secondMoments: states.map(state => state.exp_avg_sq),
        masters: states.some(state => state.master) ? states.map((state, i) => state.master ?? (params[i] as Tensor)) : [],
        steps: states.map(state => state.step),
        others: updates.flatMap(other => (other === update ? [] : other.grads)),
        rate: this.#rate,
        rest1: 1 - this.#betas[0],
        rest2: 1 - this.#betas[1],
        eps: this.#eps,
        weightDecay,
        decoupled: Number(this.#decoupled),
        clear: 1,
      })
    }
  }

  /** What a step does to a group: its parameters that have a gradient. */
  #update({ parameters, weightDecay, start }: Group) {
    const update = { params: [] as Tensor[], grads: [] as Tensor[], states: [] as ParameterState[], weightDecay }
    for (const [i, parameter] of parameters.entries()) {
      assertLive(parameter, this.#name)
      if (parameter.grad === undefined) continue
      const known = this.#states[start + i] ?? this.#newState(parameter)
      this.#states[start + i] = known
      update.params.push(parameter)
      update.grads.push(parameter.grad)
      update.states.push(known)
    }
    return update
  }

  /**
   * Gives a batch up: zeroes all gradients, or with `free` gives their memory back. `step()` zeroes them already. After a failed step it also makes the
   * parameters and this optimizer's memory usable again, as they were before that step: see `step`.
   */
  zeroGrad({ free = false }: { free?: boolean } = {}): void {
    for (const [i, parameter] of this.parameters.entries()) {
      const { commands } = parameter.device
      commands.restore(parameter.handle.index)
      for (const tensor of Object.values(this.#states[i] ?? {})) commands.restore((tensor as Tensor).handle.index)
      if (free) {
        parameter.grad?.dispose()
        parameter.grad = undefined
      } else clearGradient(parameter)
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
    const saved = savedStates(this.#name, { state, param_groups }, this.#groups)
    const [first] = param_groups as [OptimizerState['param_groups'][0]]
    const betas = this.#checkBetas(first.betas)
    expectNonNegative(this.#name, 'eps', first.eps)
    expectNonNegative(this.#name, 'lr', first.lr)
    this.lr = first.lr
    this.#betas = betas
    this.#eps = first.eps
    for (const [g, group] of this.#groups.entries()) group.weightDecay = (param_groups[g] as OptimizerState['param_groups'][0]).weight_decay
    for (const [i, parameter] of this.parameters.entries()) {
      const own = this.#states[i] ?? (saved[i] && this.#newState(parameter))
      this.#states[i] = own
      if (own) overwriteState(own, saved[i], parameter)
    }
  }

  /** Frees the optimizer's memory; the parameters and their gradients stay. */
  dispose(): void {
    this.#rate.dispose()
    for (const state of this.#states) for (const tensor of Object.values(state ?? {})) (tensor as Tensor).dispose()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }

  #newState(parameter: Tensor): ParameterState {
    if (parameter.device.commands.capturing)
      throw new ArgumentError(`[${this.#name}] a parameter's first step must not be captured: it makes the optimizer's memory`)
    return persistent(() => newState(parameter, this.#masterWeights && parameter.dtype !== 'f32'))
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
