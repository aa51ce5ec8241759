// What ptxas said of the CUDA kernels, for scripts/check-kernels.mjs and bench/profile. The compiler's launcher keeps it beside each object
// (scripts/keep-notes.sh).
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
export const folder = `${root}build/native/cuda/CMakeFiles/tilewise_cuda.dir`

/** C++ names of mangled ones. */
export const demangle = names =>
  execFileSync('c++filt', { input: names.join('\n'), encoding: 'utf8', maxBuffer: 2 ** 30 })
    .split('\n')
    .slice(0, names.length)

/** Readable, and the same for both compilers of the text and from build to build: `map_contiguous<8, Affine, f16, f16>`. */
export const simple = name =>
  name
    .replace(/\(anonymous namespace\)::|tilewise::(?:(?:cuda|simt)::)?|std::|^void /g, '')
    .replace(/_GLOBAL__N__\w+::/g, '')
    .replace(/\((?:[^()]|\([^()]*\))*\)$/, '')

/** The kernels in the notes of one object. */
export function parseNotes(file, text) {
  const kernels = []
  let kernel
  for (const line of text.split('\n')) {
    const [, mangled, arch] = /Compiling entry function '(\w+)' for '(\w+)'/.exec(line) ?? []
    if (mangled) {
      kernel = { file, arch, mangled, name: '', registers: 0, stack: 0, stores: 0, loads: 0, shared: 0, notes: [] }
      kernels.push(kernel)
    }
    const frame = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line)
    // Device functions that are called, not inlined, have a frame of their own; it counts for the kernel that is being compiled.
    if (frame && kernel) {
      kernel.stack = Math.max(kernel.stack, Number(frame[1]))
      kernel.stores += Number(frame[2])
      kernel.loads += Number(frame[3])
    }
    const used = /Used (\d+) registers/.exec(line)
    if (used && kernel) {
      kernel.registers = Number(used[1])
      kernel.shared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0)
    }
    // "Potential Performance Loss: wgmma.mma_async instructions are serialized due to … in function '…'"
    const serialized = /(wgmma\S* instructions are serialized.*?)(?: in (?:the )?function '(\w+)')?\.?$/.exec(line)
    if (serialized)
      (kernels.find(({ mangled, arch }) => mangled === serialized[2] && arch === kernel?.arch) ?? kernel)?.notes.push(serialized[1])
  }
  return kernels
}

/** All kernels of the build, in the order of the notes; none where the CUDA device has not been built. */
export function readKernels() {
  if (!existsSync(folder)) return []
  const kernels = readdirSync(folder, { recursive: true })
    .filter(name => name.endsWith('.notes') && existsSync(`${root}native/cuda/${name.replace(/\.o\.notes$/, '')}`))
    .sort()
    .flatMap(name => parseNotes(name.replace(/\.o\.notes$/, ''), readFileSync(`${folder}/${name}`, 'utf8')))
  const names = kernels.length > 0 ? demangle(kernels.map(({ mangled }) => mangled)) : []
  for (const [i, kernel] of kernels.entries()) kernel.name = simple(names[i])
  return kernels
}
