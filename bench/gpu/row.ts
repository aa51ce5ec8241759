/** What a family is made of: rows, each with a side of ours and the name of its twin in bench/gpu/torch. */
import type { Tensor } from '../../lib/index.ts'
import type { TwinArguments } from '../row.ts'
import type { Bench } from './bench.ts'

/** Runs the part of an iteration that counts, between two marks in the device's stream. */
export type Timed = (body: () => void) => void

export interface Side {
  /** One iteration, inside a scope. What it hands to `timed`, once, counts. */
  iterate(timed: Timed): void
  /**
   * What the row computes from data that both sides can make, digested: both sides must agree. Called once, before any iteration. Absent where chance decides
   * (dropout).
   */
  answers?(): Promise<readonly (readonly number[])[]>
  /** What the twin is told beyond the row's arguments, such as a file of weights. */
  readonly shared?: TwinArguments
  /** Frees what `bench` does not own. */
  dispose?(): void
}

/** What one iteration does; the rate is this over its time. */
export interface Work {
  readonly flops?: number
  /** The fewest that could move: each input read once, each result written once. */
  readonly bytes?: number
  readonly tokens?: number
}

export interface GpuRow {
  readonly name: string
  /** Which limit the row is held to: the best matrix product's rate or a copy's, both measured in the same run. */
  readonly bound: 'matrix' | 'copy'
  readonly work: Work
  /** A function of bench/gpu/torch/<family> and its arguments; `compiles`: some of its ways go through torch.compile. */
  readonly twin: { readonly name: string; readonly args: TwinArguments; readonly compiles?: boolean }
  /** Where the row stands in its family's plot: a size on an axis, or a name among bars. */
  readonly plot?: { readonly panel: string; readonly x: number | string }
  /** Whether `--quick` runs it, and a whole run before the others. */
  readonly quick?: boolean
  prepare(bench: Bench): Side | Promise<Side>
}

/** A family's file exports this. */
export interface Family {
  readonly title: string
  /** What the sizes of its plots are. */
  readonly axis: string
  /** small: the same rows with shapes for the machine of fibers. */
  rows(small: boolean): GpuRow[]
}

/** Picks a row's own figure, or the one of its small form. */
export const sized =
  (small: boolean) =>
  <T>(full: T, tiny: T): T =>
    small ? tiny : full

export type Tensors = readonly Tensor[]
