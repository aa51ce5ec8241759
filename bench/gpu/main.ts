/**
 * `npm run bench:gpu -- [--rows PATTERN] [--quick] [--json FILE] [--plots FOLDER] [--python PATH] [--alone] [--device simt] [--list]`
 *
 * Ours against PyTorch on one GPU, in one run: alternately, timed by events in each side's stream, the L2 cache flushed before each sample, on random
 * data. Without a GPU it says so and measures nothing; `--device simt` (or cpu) rehearses everything with small shapes, and its figures mean nothing.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { device, gpuReport } from '../../lib/index.ts'
import { TorchError } from '../python.ts'
import { refuse } from '../refuse.ts'
import { columns } from '../table.ts'
import { Bench } from './bench.ts'
import { ClockWatch } from './clocks.ts'
import { families } from './families.ts'
import { DRY, FULL, type GpuPlan, measure, QUICK } from './measure.ts'
import { writePlots } from './plots.ts'
import { type GpuResult, type GpuRun, limitsOf } from './result.ts'
import type { GpuRow } from './row.ts'
import { cells, HEADINGS } from './table.ts'
import { compileAhead, GpuTorch } from './torch.ts'

const USAGE = `usage: npm run bench:gpu -- [options]
  --rows PATTERN   only rows whose "family row" matches this regular expression, and the limits
  --quick          a few rows of each family, without torch.compile: at most two minutes
  --json FILE      write the results there (default: bench/results/<gpu>-<date>.json; a rehearsal writes none)
  --plots FOLDER   draw a chart of each family there (default: beside bench/results/<gpu>-<date>.json; none with --json)
  --python PATH    the Python that has PyTorch (default: python3)
  --alone          without PyTorch
  --device simt    a rehearsal with small shapes where there is no GPU, also --device cpu: everything runs, the figures mean nothing
  --random         in a rehearsal: random data, as on a GPU, so that the two sides' results are not compared
  --seconds N      begin no row after this time (default: 450, quick 105, a rehearsal 3600); what is left out is listed
  --index N        which GPU (default: 0)
  --list           print the names of the rows and stop`

function options() {
  try {
    return parseArgs({
      options: {
        rows: { type: 'string' },
        quick: { type: 'boolean', default: false },
        json: { type: 'string' },
        plots: { type: 'string' },
        python: { type: 'string', default: 'python3' },
        alone: { type: 'boolean', default: false },
        device: { type: 'string', default: 'cuda' },
        seconds: { type: 'string' },
        index: { type: 'string', default: '0' },
        random: { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values
  } catch (error) {
    return refuse('bench', `${(error as Error).message}\n${USAGE}`)
  }
}

const values = options()
if (values.help) {
  console.log(USAGE)
  process.exit(0)
}
const { quick } = values
if (values.device !== 'cuda' && values.device !== 'simt' && values.device !== 'cpu')
  refuse('bench', `--device must be 'cuda', 'simt' or 'cpu', is '${values.device}'`)
const dry = values.device !== 'cuda'
const seconds = Number(values.seconds ?? (dry ? 3600 : quick ? 105 : 450))
if (!(seconds > 0)) refuse('bench', `--seconds must be a positive number, is '${values.seconds}'`)
const index = Number(values.index)
if (!Number.isSafeInteger(index) || index < 0) refuse('bench', `--index must be an integer from 0, is '${values.index}'`)

interface Chosen {
  readonly family: string
  readonly row: GpuRow
}

/** Rows that match, in the order of the report. */
function chosenRows(): Chosen[] {
  let pattern = /(?:)/
  try {
    pattern = new RegExp(values.rows ?? '', 'i')
  } catch (error) {
    refuse('bench', `--rows must be a regular expression: ${(error as Error).message}`)
  }
  const all = Object.entries(families).flatMap(([family, { rows }]) => rows(dry).map(row => ({ family, row })))
  const chosen = all.filter(({ family, row }) => (!quick || row.quick) && pattern.test(`${family} ${row.name}`))
  if (chosen.length === 0) refuse('bench', `no row matches '${values.rows}'`)
  return [...all.filter(({ family }) => family === 'limits'), ...chosen.filter(({ family }) => family !== 'limits')]
}

const chosen = chosenRows()
/** Whatever ends a run early, some rows of each family should be there: the quick ones first. */
const ordered = [...chosen.filter(({ row }) => row.quick), ...chosen.filter(({ row }) => !row.quick)]
if (values.list) {
  for (const { family, row } of chosen) console.log(`${family} ${row.name}`)
  process.exit(0)
}
if (!dry) {
  const { refusal, gpus } = gpuReport()
  const reason = refusal || (gpus[index] ? gpus[index].refusal : `there is no GPU ${index}`)
  if (reason) {
    console.log(`bench: not measured: ${reason}. A rehearsal without a GPU: npm run bench:gpu -- --device simt`)
    process.exit(0)
  }
}

const began = performance.now()
const spent = () => (performance.now() - began) / 1000

const where = { python: values.python, dry, index }

async function startTorch(): Promise<GpuTorch> {
  try {
    return await GpuTorch.start(where)
  } catch (error) {
    if (error instanceof TorchError) refuse('bench', `${error.message} Or leave PyTorch out with --alone.`)
    throw error
  }
}

/** Four processes share sixteen cores well; a rehearsal only shows that it works. */
const AHEAD = dry ? { processes: 1, limit: 15_000 } : { processes: 4, limit: 100_000 }
const compile = !quick
const torch = values.alone ? undefined : await startTorch()
if (torch && compile) {
  // The models take longest.
  const rows = chosen.map(({ row }) => row).reverse()
  const done = await compileAhead(where, rows, AHEAD.processes, AHEAD.limit)
  console.error(`bench: compiled ahead: ${done} rows in ${spent().toFixed(0)} s`)
}

const gpu = device(values.device, dry ? {} : { index })
const clocks = await ClockWatch.start(index)
const bench = new Bench(gpu, dry, dry && !values.random)
const plan: GpuPlan = dry ? DRY : quick ? QUICK : FULL
console.error(`bench: ${gpu.reason}${torch ? ` against PyTorch ${torch.versions.torch} on ${torch.versions.device}` : ''}`)
if (!clocks) console.error('bench: nvidia-smi shows nothing: clocks are not recorded')

/** Keeps the GPU busy until its clock has settled: at least one and a half seconds, at most eight. */
async function warmUp(): Promise<void> {
  const product = families.limits?.rows(dry).at(-1) as GpuRow
  bench.begin()
  const side = await product.prepare(bench)
  const start = performance.now()
  do await bench.sample(side, dry ? 1 : 50)
  while (!dry && (performance.now() - start < 1500 || (clocks && !clocks.settled(5) && performance.now() - start < 8000)))
  bench.begin()
}

/** A copy of the working tree may have no history: there TILEWISE_COMMIT names it. */
function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' }).trim()
  } catch {
    return process.env.TILEWISE_COMMIT ?? 'unknown'
  }
}

const results: GpuResult[] = []
const notMeasured: { family: string; row: string; reason: string }[] = []
const heading = {
  dry,
  quick,
  gpu: gpu.information.name,
  date: new Date().toISOString().slice(0, 10),
  commit: commit(),
  command: `npm run bench:gpu -- ${process.argv.slice(2).join(' ')}`.trim(),
  ours: `${gpu.information.name}, ${gpu.information.detail}`,
  torch: torch ? { torch: torch.versions.torch, cuda: torch.versions.cuda, cudnn: torch.versions.cudnn } : null,
}
const slug = heading.gpu.toLowerCase().replace(/[^a-z0-9]+/g, '-')
const own = new URL(`../results/${slug}-${heading.date}`, import.meta.url)
const file = values.json ?? (dry ? undefined : new URL(`${own.href}.json`))
const placeOf = ({ family, row }: GpuResult) => chosen.findIndex(each => each.family === family && each.row.name === row)
function run(): GpuRun {
  const rows = [...results].sort((a, b) => placeOf(a) - placeOf(b))
  return { ...heading, seconds: Math.round(spent()), limits: limitsOf(rows), rows, notMeasured }
}
const write = () => file && writeFileSync(file, `${JSON.stringify(run(), null, 1)}\n`)

await warmUp()
for (const [i, { family, row }] of ordered.entries()) {
  if (spent() > seconds) {
    notMeasured.push({ family, row: row.name, reason: 'the time was up' })
    continue
  }
  try {
    const result = await measure(family, row, { bench, torch, plan, clocks, compile })
    results.push(result)
    // After every row: a run that is stopped keeps what it has measured.
    write()
    const { ratio, way, note } = result
    console.error(`bench: ${i + 1}/${chosen.length} ${family} ${row.name}${ratio === null ? ` (${note})` : ` ${ratio}× ${way}`}`)
  } catch (error) {
    notMeasured.push({ family, row: row.name, reason: (error as Error).message })
    console.error(`bench: failed: ${family} ${row.name}: ${(error as Error).message}`)
  }
}
await torch?.close()
clocks?.stop()
bench.dispose()

const finished = run()
write()
const folder = values.plots ?? (file === undefined || values.json !== undefined ? undefined : own)
if (folder) {
  mkdirSync(folder, { recursive: true })
  writePlots(finished, folder)
}
if (dry) console.log('DRY RUN: the figures below are of a rehearsal and mean nothing.')
console.log(
  columns(
    HEADINGS,
    finished.rows.map(row => cells(row, finished)),
    new Set([2, 3, 5, 6, 7, 8, 9, 11]),
  ),
)
const { limits } = finished
console.error(
  `bench: limits ${(limits.matrix / 1e12).toPrecision(3)} TFLOP/s, ${(limits.copy / 1e9).toPrecision(4)} GB/s; ${finished.seconds} s`,
)
for (const { family, row, reason } of notMeasured) console.error(`bench: not measured: ${family} ${row}: ${reason}`)
process.exitCode = notMeasured.some(({ reason }) => reason !== 'the time was up') ? 1 : 0
