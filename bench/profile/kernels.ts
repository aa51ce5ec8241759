/** The compiled kernels behind the names that a device reports: registers, shared memory, spills and machine code. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { demangle, folder, readKernels, simple } from '../../scripts/kernels.mjs'
import { parseSass, type SassFunction } from './sass.ts'

const ADDON = fileURLToPath(new URL('../../build/Release/tilewise.node', import.meta.url))

const hasTool = (tool: string) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).status === 0

export interface Compiled {
  readonly name: string
  /** `sm_80` or `sm_90a`. */
  readonly arch: string
  readonly mangled: string
  readonly registers: number
  /** Bytes: static shared memory, stack frame, spills stored and loaded. */
  readonly shared: number
  readonly stack: number
  readonly spills: number
  /** The file that has its machine code. */
  readonly binary: string
}

/** The machine's functions in `nm`'s lines: simple names by their offsets in the file. */
export function parseSymbols(text: string): Map<number, string> {
  const found = [...text.matchAll(/^([0-9a-f]+) [tTwW] (_ZN8tilewise4simt\w+)/gm)].map(
    ([, offset, name]) => [Number.parseInt(offset as string, 16), name as string] as const,
  )
  const names = demangle(found.map(([, name]) => name))
  return new Map(found.map(([offset], i) => [offset, simple(names[i] as string)]))
}

/** Names of kernels by offset in the addon, which is how the machine of fibers reports them; none without binutils. */
export function symbols(): Map<number, string> {
  if (!hasTool('nm')) return new Map()
  return parseSymbols(execFileSync('nm', ['--defined-only', ADDON], { encoding: 'utf8', maxBuffer: 2 ** 30 }))
}

/** sm_90 reserves 1024 bytes in every block that uses shared memory, and its listing counts them. */
const staticShared = (arch: string, listed: number) => (arch.startsWith('sm_90') && listed >= 1024 ? listed - 1024 : listed)

/** `cuobjdump --dump-resource-usage`, for a build whose notes are not here. */
export function parseResources(text: string): Compiled[] {
  let arch = ''
  const found: Compiled[] = []
  for (const match of text.matchAll(/^arch = (sm_\w+)|^ *Function ([^:\s]+):?\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)/gm)) {
    if (match[1] !== undefined) arch = match[1]
    else {
      const [, , mangled, registers, stack, shared, local] = match as unknown as string[]
      found.push({
        name: '',
        arch,
        mangled: mangled as string,
        registers: Number(registers),
        shared: staticShared(arch, Number(shared)),
        stack: Number(stack),
        spills: Number(local),
        binary: ADDON,
      })
    }
  }
  const names = found.length > 0 ? demangle(found.map(({ mangled }) => mangled)) : []
  return found.map((kernel, i) => ({ ...kernel, name: simple(names[i] as string) }))
}

const objdump = (binary: string, ...args: string[]) =>
  execFileSync('cuobjdump', [...args, binary], { encoding: 'utf8', maxBuffer: 2 ** 30 })

/** All kernels of the build, and where the figures are from; none, with the reason, where there are none. */
export function compiledKernels(): { kernels: Compiled[]; from: string } {
  const noted = readKernels()
  if (noted.length > 0)
    return {
      kernels: noted.map(({ stores, loads, ...rest }) => ({ ...rest, spills: stores + loads, binary: `${folder}/${rest.file}.o` })),
      from: "ptxas's notes of the build",
    }
  if (!existsSync(ADDON)) return { kernels: [], from: 'the addon is not built' }
  if (!hasTool('cuobjdump')) return { kernels: [], from: 'no notes of ptxas (npm run build:cuda), and no cuobjdump' }
  const kernels = parseResources(objdump(ADDON, '--dump-resource-usage'))
  return { kernels, from: kernels.length > 0 ? 'cuobjdump' : 'the addon holds no CUDA code' }
}

/** The machine code of a kernel; undefined where there is no cuobjdump or no CUDA code. */
export function machineCode({ mangled, arch, binary }: Compiled): SassFunction | undefined {
  if (!hasTool('cuobjdump')) return undefined
  return parseSass(objdump(binary, '--dump-sass', '--gpu-architecture', arch, '--function', mangled)).find(each => each.mangled === mangled)
}
