import { clearGradient } from '../autograd/tape.ts'
import type { Device } from '../device.ts'
import type { FloatDType } from '../dtype.ts'
import { Tensor } from '../tensor.ts'
import { convertModule, moveModule } from './placement.ts'
import { loadStateDict, type StateDict } from './stateDict.ts'
import { type SummaryOptions, summarize } from './summary.ts'

/** Where the parameters of a module live. */
export interface Placement {
  /** Default: `device('auto')`. */
  device?: Device
  /** Default f32. */
  dtype?: FloatDType
}

/** `kept` buffers stand in the state dictionary, `derived` ones are computed from the options. */
export type BufferKind = 'kept' | 'derived'

/** What a module holds directly: its key (as in the state dictionary), and the field it stands in. */
export interface ModuleEntry {
  readonly key: string
  readonly field: string
  /** Position in the field's array, for lists of modules. */
  readonly index?: number
  readonly value: Tensor | Module
  readonly buffer?: BufferKind
}

/**
 * A part of a model: parameters, buffers and sub-modules. These are found in the fields of the object: a field that holds a Tensor is a parameter (or
 * a buffer, if the class lists it in `buffers`), a field that holds a Module or an array of Modules is a part.
 *
 * Parameters belong to no scope; `dispose()` frees them.
 */
export abstract class Module {
  /** Keys of the state dictionary for fields that PyTorch spells otherwise; '' puts the keys of a sub-module among this module's own. */
  static readonly stateKeys: Readonly<Record<string, string>> = {}
  /** Fields that hold tensors which are not trained. */
  static readonly buffers: Readonly<Record<string, BufferKind>> = {}

  /** Whether dropout is applied. Set by `train()` and `eval()`. */
  training = true

  /** Turns dropout on, here and below; `train(false)` is `eval()`. */
  train(on = true): this {
    for (const [, module] of this.modules()) module.training = on
    return this
  }
  /** Turns dropout off, here and below. */
  eval(): this {
    return this.train(false)
  }

  /** What this module holds itself, in the order of its fields. */
  *entries(): Generator<ModuleEntry> {
    const { stateKeys, buffers } = this.constructor as typeof Module
    for (const [field, value] of Object.entries(this)) {
      const key = stateKeys[field] ?? field
      if (value instanceof Tensor) {
        const buffer = buffers[field]
        yield buffer === undefined ? { key, field, value } : { key, field, value, buffer }
      } else if (value instanceof Module) {
        yield { key, field, value }
      } else if (Array.isArray(value)) {
        for (const [index, part] of value.entries()) if (part instanceof Module) yield { key: `${key}.${index}`, field, index, value: part }
      }
    }
  }

  /** This module and all below it, each with its path in the state dictionary ('' for this one). */
  *modules(path = ''): Generator<[string, Module]> {
    yield [path, this]
    for (const { key, value } of this.entries()) if (value instanceof Module) yield* value.modules(joinKeys(path, key))
  }

  /** Every tensor entry here and below, under its full key. Tied tensors come once for each of their keys. */
  *namedTensors(): Generator<[string, ModuleEntry & { value: Tensor }]> {
    for (const [path, module] of this.modules()) {
      for (const entry of module.entries()) {
        if (entry.value instanceof Tensor) yield [joinKeys(path, entry.key), entry as ModuleEntry & { value: Tensor }]
      }
    }
  }

  /** Trained tensors by key. A tied parameter comes once, under its first key. */
  namedParameters(): Map<string, Tensor> {
    const seen = new Set<Tensor>()
    const found = new Map<string, Tensor>()
    for (const [key, { value, buffer }] of this.namedTensors()) {
      if (buffer !== undefined || seen.has(value)) continue
      seen.add(value)
      found.set(key, value)
    }
    return found
  }

  /** Trained tensors, tied ones once: what an optimizer takes. */
  parameters(): Tensor[] {
    return [...this.namedParameters().values()]
  }

  /** The live parameters and kept buffers under PyTorch's keys, in PyTorch's layouts. A tied parameter stands under each of its keys. */
  stateDict(): StateDict {
    const state: StateDict = new Map()
    for (const [key, { value, buffer }] of this.namedTensors()) if (buffer !== 'derived') state.set(key, value)
    return state
  }

  /**
   * Copies tensors into the parameters, converting float dtypes. Strict (the default): throws StateDictError, before anything is copied, that lists
   * keys which are missing, unexpected, or of another shape; `strict: false` leaves the first two alone and returns them.
   */
  loadStateDict(state: ReadonlyMap<string, Tensor>, options: { strict?: boolean } = {}): { missing: string[]; unexpected: string[] } {
    return loadStateDict(this, state, options.strict ?? true)
  }

  /** Sets every gradient to zero. Optimizers that consume gradients have done so already; their own `zeroGrad` is for a step that has failed. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) clearGradient(parameter)
  }

  /**
   * Converts the float parameters, or moves them to another device. They become new tensors: make optimizers afterwards. Gradients are dropped, ties stay.
   */
  to(dtype: FloatDType): this
  to(device: Device): Promise<this>
  to(target: FloatDType | Device): this | Promise<this> {
    return typeof target === 'string' ? convertModule(this, target) : moveModule(this, target)
  }

  /** A table: layer, shapes, parameters, bytes, and the totals. Tied parameters are counted once. */
  summary(options: SummaryOptions = {}): string {
    return summarize(this, options)
  }

  /** Frees all parameters, gradients and buffers. */
  dispose(): void {
    for (const [, { value }] of this.namedTensors()) value.dispose()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** 'a' and 'b' make 'a.b'; an empty one is left out. */
export function joinKeys(path: string, key: string): string {
  return path === '' ? key : key === '' ? path : `${path}.${key}`
}
