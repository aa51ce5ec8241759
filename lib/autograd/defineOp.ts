/**
 * How an op enters the library. A definition says what the op checks, what it saves, how its gradient is computed, and what it means: the
 * unfused composite that documents it and that tests hold it against. The compiler refuses a definition that leaves one out.
 */
import { ArgumentError } from '../errors.ts'
import { fill, schema } from '../native.generated.ts'
import type { ArrayOps } from '../ops/reference.ts'
import { allocate, assertLive, type Tensor } from '../tensor.ts'
import { attach, gradientOf, type InputGradients, recording, TapeNode } from './tape.ts'

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
  /** Checks the call (the only place that does) and allocates the outputs. */
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

  const record = (args: A, inputs: (Tensor | undefined)[]) => {
    if (definition.backward === 'none') return
    const rule = definition.backward
    const saves = typeof definition.saves === 'function' ? definition.saves(args) : definition.saves
    const saved = saves.map(name => tensorAt(args, name)).filter(tensor => tensor !== undefined)
    const wanted = inputs.map(input => (input?.requiresGrad ? input : undefined))
    const outputs = definition.differentiable.filter(name => tensorAt(args, name) !== undefined)
    const node = new TapeNode(op, wanted, saved, (gradients): InputGradients => {
      const needs: Record<string, boolean> = {}
      for (const [index, name] of inputNames.entries()) needs[name] = wanted[index] !== undefined
      const gradient: Record<string, Tensor | undefined> = {}
      for (const [index, name] of outputs.entries()) gradient[name] = gradients[index]
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
    attach(
      node,
      outputs.map(name => tensorAt(args, name) as Tensor),
    )
  }

  const call = (...parameters: Parameters): Result => {
    const args = definition.infer(...parameters)
    const inputs = inputNames.map(name => tensorAt(args, name))
    const first = inputs.find(input => input !== undefined)
    for (const [index, input] of inputs.entries()) {
      if (input === undefined) continue
      assertLive(input, op)
      if (input.device !== first?.device)
        throw new ArgumentError(
          `[${op}] ${inputNames[index]} must be on ${first?.device.kind}, is on ${input.device.kind}: tensors of one op share a device`,
        )
    }
    definition.native(args)
    observer?.(op, args as Record<string, unknown>)
    if (recording(inputs)) record(args, inputs)
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
