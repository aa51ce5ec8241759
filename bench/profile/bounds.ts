/**
 * What bounds a kernel, from what it asks of each part of a multiprocessor. Counts over the rates that the parts are built for give the cycles that
 * each would take by itself: the longest is the bound, unless too little is under way to keep it busy.
 */
import type { Mix } from './sass.ts'

/** Rates a multiprocessor and cycle. */
export interface Rates {
  readonly name: string
  readonly multiprocessors: number
  /** Device memory and L2, bytes. */
  readonly memory: number
  readonly l2: number
  /** Bytes of shared memory, which is one wavefront. */
  readonly shared: number
  /** Multiply-adds of 16-bit and of tf32 matrix products. */
  readonly matrix: number
  readonly tf32: number
  /** Warp instructions: f32 arithmetic, special functions, and all together. */
  readonly fp32: number
  readonly mufu: number
  readonly issue: number
  /** Bytes that must be under way to keep device memory busy. */
  readonly underway: number
  readonly hertz: number
}

/**
 * Arithmetic and shared memory: CUDA C++ Programming Guide, "Throughput of Native Arithmetic Instructions" (results a cycle, here over 32). Matrix
 * units, memory and clocks: NVIDIA's whitepapers of A100 (1.41 GHz, 108 multiprocessors, 2039 GB/s, L2 5120 bytes a cycle) and H100 (1.83 GHz, 132),
 * and H200's data sheet (4.8 TB/s). H100's L2 is not given; A100's is taken. What must be under way: the bytes that kernels of NVIDIA's CUB keep so,
 * found by measuring (`arch_to_min_bytes_in_flight` in CCCL's cub/device/dispatch/tuning/tuning_transform.cuh: 16 KiB for A100, 32 KiB for H100,
 * 48 KiB for H200). By Little's law that is the rate times 0.87 µs and 1.35 µs: a latency under load, not that of one access.
 */
export const rates = {
  sm_80: {
    name: 'A100',
    multiprocessors: 108,
    memory: 2039e9 / 108 / 1.41e9,
    l2: 5120 / 108,
    shared: 128,
    matrix: 1024,
    tf32: 512,
    fp32: 2,
    mufu: 0.5,
    issue: 4,
    underway: 16 * 1024,
    hertz: 1.41e9,
  },
  sm_90: {
    name: 'H200',
    multiprocessors: 132,
    memory: 4800e9 / 132 / 1.83e9,
    l2: 5120 / 132,
    shared: 128,
    matrix: 2048,
    tf32: 1024,
    fp32: 4,
    mufu: 0.5,
    issue: 4,
    underway: 48 * 1024,
    hertz: 1.83e9,
  },
} as const satisfies Record<string, Rates>

/** What the machine of fibers counted. */
export interface Demand {
  readonly launches: number
  /** Of 32 bytes: all that warps touched, and how many different ones each launch touched. */
  readonly sectors: number
  readonly distinctSectors: number
  readonly wavefronts: number
  readonly matrixInstructions: number
  /** Whether the matrix instructions take tf32 (16 × 8 × 8) or 16-bit elements (16 × 8 × 16). */
  readonly tf32: boolean
}

/** How a kernel lies on the GPU. */
export interface Placement {
  /** Resident on a multiprocessor at once. */
  readonly warps: number
  readonly blocks: number
  /** Blocks of a launch. */
  readonly grid: number
  /** The most bytes of global memory that a lane has under way; undefined where the machine code is not known. */
  readonly bytesOfLane: number | undefined
  /** The share of a warp's lanes that take part in its requests. */
  readonly activeLanes: number
}

const SECTOR = 32
const LANES = 32
const WAVEFRONT = 128
/** A launch costs about this, whatever it does. */
const LAUNCH_SECONDS = 2e-6
/** Each has a scheduler, a matrix unit and registers of its own. */
const SUBPARTITIONS = 4

export type Bound = 'memory traffic' | 'shared memory' | 'matrix instructions' | 'latency and occupancy'

export interface Verdict {
  readonly bound: Bound
  /** The rule that decided, with its numbers. */
  readonly because: string
  /** What the size that was counted adds to that. */
  readonly notes: readonly string[]
  /** Cycles of a multiprocessor for each part, were the work spread evenly over all of them. */
  readonly cycles: { readonly memory: number; readonly l2: number; readonly shared: number; readonly matrix: number }
}

/** Bytes that a multiprocessor's warps have under way. */
export const bytesUnderway = ({ warps, bytesOfLane, activeLanes }: Pick<Placement, 'warps' | 'bytesOfLane' | 'activeLanes'>) =>
  bytesOfLane === undefined ? undefined : warps * LANES * activeLanes * bytesOfLane

const round = (x: number) => (x >= 100 ? x.toFixed(0) : x.toPrecision(3))

/**
 * The rules, in this order. (1) The part with the most cycles bounds the kernel: device memory for the sectors that differ (what caches can at best
 * save), L2 for all of them, shared memory for wavefronts, the matrix units for products. (2) Where that is memory, but resident warps have fewer
 * bytes under way than keep it busy, it is latency. (3) Where it is not, but fewer than four warps are resident, some
 * sub-partition has none, and it is latency too.
 */
export function verdict(demand: Demand, placement: Placement, gpu: Rates): Verdict {
  const each = (work: number, rate: number) => work / gpu.multiprocessors / rate
  const cycles = {
    memory: each(demand.distinctSectors * SECTOR, gpu.memory),
    l2: each(demand.sectors * SECTOR, gpu.l2),
    shared: each(demand.wavefronts * WAVEFRONT, gpu.shared),
    matrix: each(demand.matrixInstructions * 16 * 8 * (demand.tf32 ? 8 : 16), demand.tf32 ? gpu.tf32 : gpu.matrix),
  }
  const traffic = Math.max(cycles.memory, cycles.l2)
  const longest = Math.max(traffic, cycles.shared, cycles.matrix)
  const seconds = longest / gpu.hertz / demand.launches
  const notes = [
    ...(seconds < LAUNCH_SECONDS
      ? [`at this size the work of a launch is ${round(1e6 * seconds)} µs, and launching costs about ${1e6 * LAUNCH_SECONDS} µs`]
      : []),
    ...(placement.grid < gpu.multiprocessors * placement.blocks
      ? [`at this size ${placement.grid} blocks do not fill the GPU, which holds ${gpu.multiprocessors * placement.blocks}`]
      : []),
  ]
  const said = (bound: Bound, because: string): Verdict => ({ bound, because, notes, cycles })
  const table = `memory ${round(cycles.memory)}, L2 ${round(cycles.l2)}, shared memory ${round(cycles.shared)}, matrix ${round(cycles.matrix)} cycles`
  if (longest === traffic) {
    const { warps, bytesOfLane, activeLanes } = placement
    const asked = bytesUnderway(placement)
    const sum =
      asked === undefined
        ? 'how much is under way is not known without the machine code'
        : asked === 0
          ? 'nothing is read'
          : `${warps} warps × ${round(LANES * activeLanes)} lanes × ${bytesOfLane} bytes are ${round(asked / 1024)} KiB under way, memory needs ${round(gpu.underway / 1024)}`
    if (asked && asked < gpu.underway) return said('latency and occupancy', `${sum} (${table})`)
    return said('memory traffic', `${cycles.memory >= cycles.l2 ? 'device memory' : 'L2'} takes longest: ${table}; ${sum}`)
  }
  const bound = longest === cycles.shared ? 'shared memory' : 'matrix instructions'
  if (placement.warps < SUBPARTITIONS)
    return said('latency and occupancy', `${placement.warps} resident warps leave sub-partitions empty; else it were ${bound} (${table})`)
  return said(bound, `takes longest: ${table}`)
}

export interface LoopCost {
  readonly part: string
  readonly cycles: number
}

/** Cycles that one warp's pass through a loop takes of each part of a multiprocessor, the longest first. Widths of accesses are not known here. */
export function loopCosts(mix: Mix, tf32: boolean, gpu: Rates): LoopCost[] {
  const count = (kind: string) => mix[kind] ?? 0
  const total = Object.values(mix).reduce((sum, n) => sum + n, 0)
  return [
    { part: 'issue', cycles: total / gpu.issue },
    { part: 'matrix', cycles: (count('matrix') * 16 * 8 * (tf32 ? 8 : 16)) / (tf32 ? gpu.tf32 : gpu.matrix) },
    { part: 'fp32', cycles: count('fp32') / gpu.fp32 },
    { part: 'special functions', cycles: count('MUFU') / gpu.mufu },
    // At least a wavefront each; ldmatrix of four matrices and 16-byte accesses take four.
    { part: 'shared memory', cycles: count('LDS') + count('STS') + 4 * (count('LDSM') + count('STSM') + count('LDGSTS')) },
  ].sort((a, b) => b.cycles - a.cycles)
}
