/** How many warps of a kernel fit on a multiprocessor: the rules of the CUDA C++ Programming Guide, "Compute Capabilities", and of NVIDIA's occupancy calculator. */

export interface Multiprocessor {
  readonly arch: 'sm_80' | 'sm_90'
  /** Resident at once. */
  readonly warps: number
  readonly blocks: number
  readonly registers: number
  /** Bytes, of which the system takes `reserved` for every block. */
  readonly shared: number
  readonly reserved: number
}

// Both allocate registers to a warp in units of 256, spread warps over four sub-partitions, and shared memory in units of 128 bytes.
export const multiprocessors = {
  sm_80: { arch: 'sm_80', warps: 64, blocks: 32, registers: 65536, shared: 164 * 1024, reserved: 1024 },
  sm_90: { arch: 'sm_90', warps: 64, blocks: 32, registers: 65536, shared: 228 * 1024, reserved: 1024 },
} as const satisfies Record<string, Multiprocessor>

const REGISTER_UNIT = 256
const SHARED_UNIT = 128
const SUBPARTITIONS = 4

/** What a block takes. Bytes of shared memory count static and dynamic together. */
export interface BlockNeeds {
  readonly threads: number
  readonly registers: number
  readonly shared: number
}

export interface Occupancy {
  /** Blocks and warps that are resident at once, and the warps' share of the most possible. */
  readonly blocks: number
  readonly warps: number
  readonly share: number
  /** What allows no further block. */
  readonly limit: 'warps' | 'blocks' | 'registers' | 'shared memory'
}

const up = (x: number, unit: number) => Math.ceil(x / unit) * unit

export function occupancy(needs: BlockNeeds, sm: Multiprocessor): Occupancy {
  const warpsOfBlock = Math.ceil(needs.threads / 32)
  const registersOfWarp = up(Math.max(1, needs.registers) * 32, REGISTER_UNIT)
  const warpsByRegisters = SUBPARTITIONS * Math.floor(sm.registers / SUBPARTITIONS / registersOfWarp)
  const limits = [
    ['warps', Math.floor(sm.warps / warpsOfBlock)],
    ['blocks', sm.blocks],
    ['registers', Math.floor(warpsByRegisters / warpsOfBlock)],
    ['shared memory', Math.floor(sm.shared / up(needs.shared + sm.reserved, SHARED_UNIT))],
  ] as const
  const [limit, blocks] = limits.reduce((least, each) => (each[1] < least[1] ? each : least))
  const warps = blocks * warpsOfBlock
  return { blocks, warps, share: warps / sm.warps, limit }
}
