/**
 * How an op enters the library. A definition says what the op checks, what it saves, how its gradient is computed, and what it means: the
 * unfused composite that documents it and that tests hold it against. The compiler refuses a definition that leaves one out.
 */
import type { Device } from '../device.ts'
import { ArgumentError } from '../errors.ts'
import { fill, schema } from '../native.generated.ts'
import type { ArrayOps } from '../ops/reference.ts'
import { ambient } from '../scope.ts'
import { allocate, assertLive, type SlotHandle, type Tensor } from '../tensor.ts'
import { attach, gradientOf, type InputGradients, TapeNode } from './tape.ts'

export type OpName = keyof typeof schema

/** Keys of the arguments that hold tensors. */
type TensorKey<A> = { [K in keyof A]-?: Exclude<A[K], undefined> extends Tensor ? K : never }[keyof A] & string
type AttributeKey<A> = Exclude<keyof A, TensorKey<A>>

/** The arguments with arrays of a reference engine in place of tensors. */
export type ReferenceArguments<A, T> = { [K in keyof A]: A[K] extends Tensor ? T : A[K] extends Tensor | undefined ? T | undefined : A[K] }

export interface BackwardContext<A, Saved extends TensorKey<A>> {
  /** The saved tensors and all attributes. */
  readonly saved: Pick<A, Saved | AttributeKey<A>>
  /** Gradients of the differentiable outputs; undefined where none arrived. */
  readonly gradient: { readonly [K in TensorKey<A>]?: Tensor }
  /** Which inputs want a gradient. */
  readonly needs: { readonly [K in TensorKey<A>]?: boolean }
  /** The f32 tensor to add an input's gradient into (an ACC argument), or undefined where none is wanted. Nothing is returned for that input then. */
  accumulate(input: TensorKey<A>): Tensor | undefined
}

export interface OpDefinition<A extends object, Parameters extends unknown[], Result, Saved extends TensorKey<A>> {
  /** Writes the command: a function of lib/native.generated.ts. */
  native: (args: A) => void
  /**
   * Checks the call (the only place that does) and allocates the outputs. Returns one object literal that always has the same keys: V8 gives an object
   * made by spreading a hidden class of its own, and every access to it then takes the slow path (10 µs a call for attention).
   */
  infer: (...parameters: Parameters) => A
  /** What the caller gets. */
  result: (args: A) => Result
  /** Outputs that gradients come back from, in the order of the tape; statistics are left out. */
  differentiable: readonly TensorKey<A>[]
  /** Tensors that backward reads: they stay in memory until it has. A function where that depends on the call. */
  saves: readonly Saved[] | ((args: A) => readonly Saved[])
  /** Gradients by input name, or 'none' for what has no derivative. */
  backward: 'none' | ((context: BackwardContext<A, Saved>) => { [K in TensorKey<A>]?: Tensor | undefined })
  /** The unfused composite: documentation, and the oracle of forward and gradient. */
  reference: <T>(F: ArrayOps<T>, args: ReferenceArguments<A, T>) => { [K in TensorKey<A>]?: T }
}

export interface DefinedOp<A extends object, Parameters extends unknown[], Result> {
  (...parameters: Parameters): Result
  readonly op: OpName
  readonly reference: <T>(F: ArrayOps<T>, args: ReferenceArguments<A, T>) => { [key: string]: T | undefined }
  readonly hasBackward: boolean
  readonly differentiable: readonly string[]
}

/** All defined ops; the suite requires a cases file for each. */
export const definedOps = new Map<OpName, DefinedOp<never, never[], unknown>>()

/** Told of every call of a defined op, after its command was written. */
export type OpObserver = (op: OpName, args: Record<string, unknown>) => void
let observer: OpObserver | undefined

/** Watches all ops until the returned function is called: for tests and profiles. One observer at a time. */
export function observeOps(watch: OpObserver): () => void {
  observer = watch
  return () => {
    observer = undefined
  }
}

export function defineOp<A extends object, Parameters extends unknown[], Result, const Saved extends TensorKey<A>>(
  op: OpName,
  definition: OpDefinition<A, Parameters, Result, Saved>,
): DefinedOp<A, Parameters, Result> {
  const inputNames = schema[op].inputs as readonly string[] as readonly TensorKey<A>[]
  const tensorAt = (args: A, name: string) => (args as Record<string, Tensor | undefined>)[name]

  const record = (args: A, rule: Exclude<typeof definition.backward, 'none'>) => {
    const { saves, differentiable } = definition
    const saved: SlotHandle[] = []
    for (const name of typeof saves === 'function' ? saves(args) : saves) {
      const tensor = tensorAt(args, name)
      if (tensor !== undefined) saved.push(tensor.handle)
    }
    const wanted: (Tensor | undefined)[] = []
    for (const name of inputNames) {
      const input = tensorAt(args, name)
      wanted.push(input?.requiresGrad ? input : undefined)
    }
    const outputs: Tensor[] = []
    for (const name of differentiable) {
      const output = tensorAt(args, name)
      if (output !== undefined) outputs.push(output)
    }
    const node = new TapeNode(op, wanted, saved, (gradients): InputGradients => {
      const needs: Record<string, boolean> = {}
      for (const [index, name] of inputNames.entries()) needs[name] = wanted[index] !== undefined
      const gradient: Record<string, Tensor | undefined> = {}
      for (const name of differentiable) {
        const output = tensorAt(args, name)
        if (output !== undefined) gradient[name] = gradients[output.outputIndex]
      }
      const accumulated = new Map<string, Tensor>()
      const context = {
        saved: args,
        gradient,
        needs,
        accumulate(name: string) {
          const input = wanted[inputNames.indexOf(name as TensorKey<A>)]
          if (input === undefined) return undefined
          if (input.node === undefined) return gradientOf(input)
          const temporary = allocate(input.device, input.shape, 'f32')
          fill({ y: temporary, value: 0 })
          accumulated.set(name, temporary)
          return temporary
        },
      } as unknown as BackwardContext<A, Saved>
      const flowing = rule(context) as Record<string, Tensor | undefined>
      return inputNames.map(name => flowing[name] ?? accumulated.get(name))
    })
    attach(node, outputs)
  }

  const call = (...parameters: Parameters): Result => {
    const args = definition.infer(...parameters)
    let device: Device | undefined
    let requiresGrad = false
    for (const name of inputNames) {
      const input = tensorAt(args, name)
      if (input === undefined) continue
      assertLive(input, op)
      device ??= input.device
      if (input.device !== device)
        throw new ArgumentError(`[${op}] ${name} must be on ${device.kind}, is on ${input.device.kind}: tensors of one op share a device`)
      requiresGrad ||= input.requiresGrad
    }
    definition.native(args)
    observer?.(op, args as Record<string, unknown>)
    if (requiresGrad && definition.backward !== 'none' && ambient().recordsGradients) record(args, definition.backward)
    return definition.result(args)
  }
  const defined = Object.assign(call, {
    op,
    reference: definition.reference,
    hasBackward: definition.backward !== 'none',
    differentiable: definition.differentiable,
  })
  definedOps.set(op, defined as unknown as DefinedOp<never, never[], unknown>)
  return defined as unknown as DefinedOp<A, Parameters, Result>
}
