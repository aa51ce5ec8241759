/** The page on one kernel of a row. */
import type { KernelCounters, LaunchCount } from '../../lib/device.ts'
import { loopCosts, rates, verdict } from './bounds.ts'
import type { Compiled } from './kernels.ts'
import { multiprocessors, occupancy } from './occupancy.ts'
import { loopsOf, type Mix, mainLoop, mixOf, type SassFunction, takesTf32 } from './sass.ts'
import { underway } from './underway.ts'

/** What is known of a kernel for one architecture. */
export interface Facts {
  /** As reports name it; and the function, where the addon's symbol table has it. */
  readonly kernel: string
  readonly name: string | undefined
  readonly counters: KernelCounters
  /** The launch that is looked at: the one with the most threads. */
  readonly shape: LaunchCount
  /** The compiled kernel; undefined where none of that name is found. */
  readonly compiled: Compiled | undefined
  readonly code: SassFunction | undefined
}

const percent = (part: number, whole: number) => (whole === 0 ? '0 %' : `${((100 * part) / whole).toFixed(0)} %`)
const bytes = (n: number) => (n < 10_000 ? `${n} B` : n < 1e7 ? `${(n / 1024).toFixed(0)} KiB` : `${(n / 2 ** 20).toFixed(0)} MiB`)
const volume = (size: readonly number[]) => size.reduce((product, n) => product * n, 1)
const mixLine = (mix: Mix) =>
  Object.entries(mix)
    .sort((a, b) => b[1] - a[1])
    .map(([kind, count]) => `${kind} ${count}`)
    .join(', ')

/** The share of lanes that take part in loads, whose accesses are `width` bytes wide on average. */
export const activeLanes = ({ loadRequests, loadBytes }: Pick<KernelCounters, 'loadRequests' | 'loadBytes'>, width: number) =>
  loadRequests === 0 || width === 0 ? 1 : Math.min(1, loadBytes / loadRequests / (32 * width))

/** The launch with the most threads: what a kernel's time is about. */
export function largestLaunch(shapes: readonly LaunchCount[]): LaunchCount {
  const threads = ({ grid, block }: LaunchCount) => volume(grid) * volume(block)
  return shapes.reduce((most, shape) => (threads(shape) > threads(most) ? shape : most))
}

/** Lines on one architecture: `sm_80` or `sm_90`. */
export function archLines(arch: keyof typeof rates, { counters, shape, compiled, code }: Facts): string[] {
  const gpu = rates[arch]
  const head = `${arch} (${gpu.name})`
  if (compiled === undefined) return [`${head}: the compiled kernel was not found (npm run build:cuda)`]
  const shared = compiled.shared + shape.dynamicShared
  const fit = occupancy({ threads: volume(shape.block), registers: compiled.registers, shared }, multiprocessors[arch])
  const lines = [
    `${head}: ${compiled.registers} registers, ${bytes(compiled.shared)} static and ${bytes(shape.dynamicShared)} dynamic shared memory, ${compiled.spills === 0 ? 'no spills' : `${compiled.spills} bytes of spills`}${compiled.stack > 0 ? `, stack frame ${compiled.stack} B` : ''}`,
    `  occupancy: ${fit.blocks} blocks, ${fit.warps} warps, ${(100 * fit.share).toFixed(0)} %, limited by ${fit.limit}`,
  ]
  const tf32 = code ? takesTf32(code) : /float/.test(compiled.name) && !/b?f16/.test(compiled.name)
  const loop = code && mainLoop(loopsOf(code))
  const mix = loop && mixOf(loop)
  if (code) lines.push(`  instructions: ${code.instructions.length}: ${mixLine(mixOf(code.instructions))}`)
  else lines.push('  instructions: not known, there is no cuobjdump here or no CUDA code in the addon')
  if (mix) {
    const [first, second] = loopCosts(mix, tf32, gpu)
    lines.push(`  main loop: ${loop.length}: ${mixLine(mix)}`)
    if (first && second) {
      const cost = ({ part, cycles }: typeof first) => `${part} ${cycles.toPrecision(3)}`
      lines.push(`  a warp's pass takes longest of ${cost(first)} cycles a multiprocessor, then ${cost(second)}`)
    }
  } else if (code) lines.push('  main loop: none, no branch goes back')
  const asked = code && underway(code)
  if (asked?.bytes)
    lines.push(
      `  under way: at most ${asked.bytes} bytes a lane, of ${asked.accesses} accesses${asked.inLoop ? ', in the loop that loads most' : ''}`,
    )
  const found = verdict(
    {
      launches: counters.launches,
      sectors: counters.loadSectors + counters.storeSectors,
      distinctSectors: counters.distinctSectors,
      wavefronts: counters.sharedWavefronts,
      matrixInstructions: counters.matrixInstructions,
      tf32,
    },
    {
      warps: fit.warps,
      blocks: fit.blocks,
      grid: volume(shape.grid),
      bytesOfLane: asked?.bytes,
      activeLanes: asked ? activeLanes(counters, asked.bytes / asked.accesses) : 1,
    },
    gpu,
  )
  lines.push(`  bound by ${found.bound}: ${found.because}`, ...found.notes.map(note => `  ${note}`))
  return lines
}

/** The kernel's name, its launch, and what the machine of fibers counted. */
export function counterLines({ kernel, name, counters: c, shape }: Pick<Facts, 'kernel' | 'name' | 'counters' | 'shape'>): string[] {
  const perRequest = (sectors: number, requests: number) => (requests === 0 ? '' : `, ${(sectors / requests).toFixed(1)} sectors a request`)
  const side = (what: string, size: number, sectors: number, requests: number) =>
    `${what} ${bytes(size)} in ${sectors} sectors${perRequest(sectors, requests)}`
  return [
    `${kernel}${name === undefined ? '' : `: ${name}`}`,
    `  ${c.launches} launches; grid ${shape.grid.join('×')}, block ${shape.block.join('×')}`,
    `  ${side('loads', c.loadBytes, c.loadSectors, c.loadRequests)}; ${side('stores', c.storeBytes, c.storeSectors, c.storeRequests)}; ${c.distinctSectors} sectors differ`,
    `  shared memory: ${c.sharedWavefronts} wavefronts, ${percent(c.sharedWavefronts - c.sharedIdeal, c.sharedIdeal)} of them more than needed (bank conflicts); ${c.matrixInstructions} matrix instructions`,
  ]
}
