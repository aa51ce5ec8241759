/** What ptxas said of one kernel for one architecture; sizes in bytes. */
export interface KernelNotes {
  /** Below native/cuda: `ops/linear.cuh`. */
  file: string
  /** `sm_80` or `sm_90a`. */
  arch: string
  mangled: string
  name: string
  registers: number
  stack: number
  /** Spilled registers. */
  stores: number
  loads: number
  /** Static shared memory. */
  shared: number
  notes: string[]
}
export const folder: string
export function demangle(names: readonly string[]): string[]
export function simple(name: string): string
export function parseNotes(file: string, text: string): KernelNotes[]
export function readKernels(): KernelNotes[]
