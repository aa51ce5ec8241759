/**
 * What a cases file is made of: data that the tests and the benchmark share. A case gives the inputs' shapes and the parameters of one call;
 * everything else (native arguments, reference, gradient) follows from the op's definition.
 */
import type { DefinedOp } from '../../lib/autograd/defineOp.ts'
import type { DType, Tensor } from '../../lib/index.ts'
import type { ArrayOps } from '../../lib/ops/reference.ts'

/** Devices that compute in f16 run the bf16 cases in it too. */
export type FloatCase = 'f32' | 'bf16' | 'f16'

export interface InputSpec {
  shape: readonly number[]
  /** Default: the dtype of the run (f32 or bf16). */
  dtype?: DType
  /** Default normal. `int`: uniform integers in [low, high). `values`: the numbers themselves. */
  fill?: 'normal' | 'uniform' | 'positive' | { int: readonly [number, number] } | { values: readonly number[] } | { bernoulli: number }
  scale?: number
  /** Default: true for tensors of the run's dtype. */
  gradient?: boolean
  /** Store with the last two dimensions exchanged, so that the op sees strides. */
  transposed?: boolean
}

export type Inputs = Record<string, Tensor>

export interface OpCase {
  name: string
  inputs: Record<string, InputSpec>
  /** The call; its result is not looked at, the outputs are found by their names in the op's arguments. */
  call: (t: Inputs) => unknown
  dtypes?: readonly Exclude<FloatCase, 'f16'>[]
  /** Why no gradient is compared, where the op has one. */
  noGradient?: string
  /** Why a device skips it. */
  skip?: { device: RegExp; reason: string }
  /** In place of the op's own reference, by the case's input names: where the call changes the inputs before the op sees them. */
  reference?: <T>(F: ArrayOps<T>, inputs: Record<string, T>) => Record<string, T | undefined>
  /** Set on the cases that the benchmark runs. */
  bench?: { flops?: number; bytes?: number }
}

export interface OpCases {
  op: DefinedOp<never, never[], unknown>
  cases: readonly OpCase[]
}

/** Takes a definition of whatever arguments; the suite only uses what all have in common. */
export function defineCases(op: object, cases: readonly OpCase[]): OpCases {
  return { op: op as OpCases['op'], cases }
}
