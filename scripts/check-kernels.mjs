// npm run check:kernels: what ptxas said of every CUDA kernel, as a table; fails on spills, stack frames and serialized wgmma instructions that
// scripts/kernels-allowed.json does not list with a reason, and on lines of that list which nothing needs any more. Builds the kernels first.
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { folder, readKernels } from './kernels.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))

if (spawnSync('nvcc', ['--version']).status !== 0) {
  console.log('kernels: there is no nvcc here, nothing is checked')
  process.exit(0)
}
execFileSync(process.execPath, [`${root}scripts/build-native.cjs`, 'tilewise_cuda'], {
  stdio: ['ignore', 'ignore', 'inherit'],
  env: { ...process.env, TILEWISE_CUDA: 'ON' },
})

const kernels = readKernels()
if (kernels.length === 0) {
  console.error(`kernels: no notes of ptxas in ${folder}`)
  process.exit(1)
}

const allowed = JSON.parse(readFileSync(`${root}scripts/kernels-allowed.json`, 'utf8'))
const needed = new Set()
const problems = []
/** A row a kernel function and architecture: the most of its instantiations. With --all every instantiation has its own. */
const groups = new Map()
for (const kernel of kernels) {
  const { file, arch, name, registers, stack, stores, loads, shared, notes } = kernel
  const finding = [
    ...(stores + loads > 0 ? [`spills: ${stores} bytes stored, ${loads} loaded`] : []),
    ...(stack > 0 && stores + loads === 0 ? [`${stack} bytes of local memory`] : []),
    ...notes,
  ]
  if (finding.length > 0) {
    const entry = allowed.find(({ kernel: start, arch: on }) => name.startsWith(start) && (on === undefined || on === arch))
    if (entry) needed.add(entry)
    else problems.push(`${file} ${arch} ${name}: ${finding.join('; ')}`)
  }
  const title = `${file.replace(/.*\/|\.cuh$/g, '')}: ${process.argv.includes('--all') ? name : name.replace(/<.*/, '')}`
  const group = groups.get(`${title} ${arch}`) ?? { title, arch, count: 0, registers: 0, stack: 0, spills: 0, shared: 0 }
  groups.set(`${title} ${arch}`, group)
  group.count++
  group.spills += stores + loads
  for (const [key, value] of Object.entries({ registers, stack, shared })) group[key] = Math.max(group[key], value)
}
const columns = ['title', 'arch', 'count', 'registers', 'spills', 'stack', 'shared']
const rows = [['kernel', ...columns.slice(1)], ...[...groups.values()].map(group => columns.map(column => String(group[column])))]
for (const entry of allowed) {
  if (!entry.reason) problems.push(`kernels-allowed.json: ${entry.kernel} has no reason`)
  if (!needed.has(entry)) problems.push(`kernels-allowed.json: ${entry.kernel} needs no exception any more`)
}

const widths = columns.map((_, column) => Math.max(...rows.map(row => row[column].length)))
for (const row of rows) console.log(row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '))
console.log(
  `kernels: ${kernels.length} compiled, ${problems.length} problems, ${needed.size} exceptions (bytes; --all shows each instantiation)`,
)
for (const problem of problems) console.error(`kernels: ${problem}`)
process.exit(problems.length > 0 ? 1 : 0)
