/**
 * `npm run profile -- ROW`: one page on what bounds the kernels of a row. ROW is a name, or a regular expression that only one name matches, of a
 * row of the benchmark or of a case of the tests; `--list` prints them.
 */
import { parseArgs } from 'node:util'
import { device, gpuReport } from '../../lib/index.ts'
import { refuse } from '../refuse.ts'
import { compiledKernels, machineCode, symbols } from './kernels.ts'
import { measuredBound, profileOnGpu } from './ncu.ts'
import { archLines, counterLines, largestLaunch } from './page.ts'
import { pick, profiledRows } from './rows.ts'

const USAGE = `usage: npm run profile -- ROW | --list
  ROW   a row of the benchmark or a case of the tests: its name, or a regular expression that only one matches`

function options() {
  try {
    return parseArgs({ allowPositionals: true, options: { list: { type: 'boolean' }, help: { type: 'boolean' } } })
  } catch (error) {
    return refuse('profile', `${(error as Error).message}\n${USAGE}`)
  }
}

const { values, positionals } = options()
if (values.help) {
  console.log(USAGE)
  process.exit(0)
}
const rows = await profiledRows()
if (values.list) {
  for (const { name } of rows) console.log(name)
  process.exit(0)
}
if (positionals.length !== 1) refuse('profile', USAGE)
const picked = pick(
  rows.map(({ name }) => name),
  positionals[0] as string,
)
if ('refusal' in picked) refuse('profile', picked.refusal)
const row = rows.find(({ name }) => name === picked.name) as (typeof rows)[number]

/** What the machine of fibers counts, and what the compilers say of the kernels that it ran. */
async function countedPage(): Promise<void> {
  const counters = await row.run(device('simt', { counters: true }))
  const { kernels, from } = compiledKernels()
  const names = symbols()

  console.log(`counted on the machine of fibers${row.note ? `, ${row.note}` : ''}; registers, shared memory and spills: ${from}\n`)
  const traffic = ([, c]: (typeof entries)[number]) => c.loadSectors + c.storeSectors + c.sharedWavefronts + 32 * c.matrixInstructions
  const entries = Object.entries(counters)
  for (const [kernel, counted] of entries.sort((a, b) => traffic(b) - traffic(a))) {
    const shape = largestLaunch(counted.shapes)
    const name = names.get(shape.function)
    const of = (arch: string) => kernels.find(each => each.arch.startsWith(arch) && each.name === name)
    console.log(counterLines({ kernel, name, counters: counted, shape }).join('\n'))
    for (const arch of ['sm_80', 'sm_90'] as const) {
      const compiled = of(arch)
      const code = compiled && machineCode(compiled)
      for (const line of archLines(arch, { kernel, name, counters: counted, shape, compiled, code })) console.log(`  ${line}`)
    }
    console.log()
  }
}

console.log(`${row.name}\n`)
if (row.small) await countedPage()
else console.log('too large for the machine of fibers: a small row of the same op can be counted\n')

const { refusal } = gpuReport()
const measured = refusal === '' ? profileOnGpu(row.name) : { refusal }
if ('refusal' in measured) console.log(`not measured on a GPU: ${measured.refusal}`)
else
  for (const each of measured.measured)
    console.log(
      `measured: ${each.kernel}: ${each.launches} launches of ${each.time.toFixed(1)} µs; device memory ${each.memory.toFixed(0)} %, L2 ${each.l2.toFixed(0)} %, L1 and shared memory ${each.l1.toFixed(0)} %, matrix units ${each.matrix.toFixed(0)} %, issue ${each.issue.toFixed(0)} %, warps ${each.warps.toFixed(0)} %: ${measuredBound(each)}`,
    )
