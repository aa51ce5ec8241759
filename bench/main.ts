/**
 * `npm run bench -- [suite …] [--against torch] [--device simt] [--rows PATTERN] [--quick] [--json FILE] [--python PATH] [--threads N] [--patience S] [--clock cpu]`
 *
 * Without a suite: all of them. With `--against torch`, PyTorch's CPU runs beside ours in a child process, alternately, on as many threads; the
 * ratio is PyTorch's time over ours, so that above 1 ours is faster.
 */
import { readdirSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { device } from '../lib/index.ts'
import { type Counted, count, countTable } from './count.ts'
import { FULL, type Idle, measure, type Plan, QUICK } from './measure.ts'
import { TorchError } from './python.ts'
import { refuse } from './refuse.ts'
import type { Result, Row, Suite } from './row.ts'
import { table } from './table.ts'
import { Torch } from './torch.ts'

const USAGE = `usage: npm run bench -- [suite …] [options]
  --against torch   run PyTorch's CPU beside ours, alternately, and print the ratio (> 1: ours is faster)
  --rows PATTERN    only rows whose "suite row dtype" matches this regular expression
  --device simt     count memory traffic, bank conflicts and matrix instructions of the GPU kernels, on the machine of fibers; smaller sizes
  --quick           few and short samples: to see whether everything runs
  --json FILE       write the rows to FILE
  --python PATH     the Python that has PyTorch (default: python3)
  --threads N       threads of each side (default: 2)
  --patience S      seconds that a row may wait for other programs to end (default: 30)
  --clock cpu       processor time of one thread each, in place of the clock's: for a machine that also does other work
  --list            print the names of the rows and stop`

/** Share of a core that other programs may take before a row is reported. */
const DISTURBED = 0.1

function options() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        against: { type: 'string' },
        device: { type: 'string', default: 'cpu' },
        rows: { type: 'string' },
        quick: { type: 'boolean', default: false },
        json: { type: 'string' },
        python: { type: 'string', default: 'python3' },
        threads: { type: 'string', default: '2' },
        patience: { type: 'string' },
        clock: { type: 'string', default: 'wall' },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    return refuse('bench', `${(error as Error).message}\n${USAGE}`)
  }
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text, 'i')
  } catch (error) {
    return refuse('bench', `--rows must be a regular expression: ${(error as Error).message}`)
  }
}

async function selectedRows(names: readonly string[], filter: string | undefined, small: boolean): Promise<[string, Row][]> {
  const suites = readdirSync(new URL('./suites/', import.meta.url)).map(file => file.replace(/\.ts$/, ''))
  for (const name of names) if (!suites.includes(name)) refuse('bench', `unknown suite '${name}'; there are ${suites.join(', ')}`)
  const wanted = filter === undefined ? undefined : pattern(filter)
  const rows: [string, Row][] = []
  for (const name of names.length > 0 ? names : suites) {
    const suite = (await import(new URL(`./suites/${name}.ts`, import.meta.url).href)) as Suite
    if (small && suite.smallRows === undefined && names.length > 0) refuse('bench', `suite '${name}' has no rows for --device simt`)
    for (const row of small ? (suite.smallRows?.() ?? []) : suite.rows())
      if (!wanted || wanted.test(`${name} ${row.name} ${row.dtype}`)) rows.push([name, row])
  }
  if (rows.length === 0) refuse('bench', `no row matches '${filter}'`)
  return rows
}

async function startTorch(python: string, threads: number): Promise<Torch> {
  try {
    return await Torch.start(python, threads)
  } catch (error) {
    if (error instanceof TorchError) refuse('bench', error.message)
    throw error
  }
}

const { values, positionals } = options()
if (values.help) {
  console.log(USAGE)
  process.exit(0)
}
if (values.against !== undefined && values.against !== 'torch') refuse('bench', `--against must be 'torch', is '${values.against}'`)
const patience = Number(values.patience ?? FULL.patience / 1000)
if (!(patience >= 0)) refuse('bench', `--patience must be a number of seconds from 0, is '${values.patience}'`)
const { clock } = values
if (clock !== 'wall' && clock !== 'cpu') refuse('bench', `--clock must be 'wall' or 'cpu', is '${clock}'`)
const threads = clock === 'cpu' ? 1 : Number(values.threads)
if (!Number.isSafeInteger(threads) || threads < 1) refuse('bench', `--threads must be a positive integer, is '${values.threads}'`)
const plan: Plan = { ...(values.quick ? QUICK : { ...FULL, patience: clock === 'cpu' ? 0 : 1000 * patience }), threads, clock }
if (values.device !== 'cpu' && values.device !== 'simt') refuse('bench', `--device must be 'cpu' or 'simt', is '${values.device}'`)
const small = values.device === 'simt'
if (small && values.against !== undefined) refuse('bench', '--device simt counts and times nothing: there is nothing to run against')
const rows = await selectedRows(positionals, values.rows, small)
if (values.list) {
  for (const [suite, row] of rows) console.log(`${suite} ${row.name} ${row.dtype}`)
  process.exit(0)
}

if (small) {
  const counted: Counted[] = []
  for (const [suite, row] of rows) {
    counted.push(...(await count(suite, row)))
    console.error(`bench: counted ${suite} ${row.name} ${row.dtype}`)
    if (values.json) writeFileSync(values.json, `${JSON.stringify(counted, null, 2)}\n`)
  }
  console.log(countTable(counted))
  process.exit(0)
}

const torch = values.against ? await startTorch(values.python, threads) : undefined
const cpu = device('cpu', { threads })
console.error(`bench: ${cpu.reason}${torch ? ` against ${torch.description}` : ''}`)
const idle: Idle = { ours: 0, theirs: 0 }
const results: Result[] = []
const failures: string[] = []
const write = () => values.json && writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`)
for (const [suite, row] of rows) {
  try {
    const result = await measure(suite, row, cpu, torch, plan, idle)
    results.push(result)
    // After every row: a run that is stopped keeps what it has measured.
    write()
    console.error(
      `bench: ${results.length}/${rows.length} ${suite} ${row.name} ${row.dtype}${result.ratio === null ? '' : ` ${result.ratio}×`}`,
    )
  } catch (error) {
    failures.push(`${suite} ${row.name} ${row.dtype}: ${(error as Error).message}`)
    console.error(`bench: failed: ${failures.at(-1)}`)
  }
}
await torch?.close()
console.log(table(results))
if (torch) {
  const share = (x: number) => `${(100 * x).toFixed(0)} % of a core`
  console.error(`bench: while the other side ran, ours used at most ${share(idle.ours)}, PyTorch ${share(idle.theirs)}`)
}
const disturbed = results.filter(result => clock === 'wall' && result.others > DISTURBED)
for (const { suite, row, dtype, others } of disturbed)
  console.error(`bench: disturbed: ${suite} ${row} ${dtype}: other programs took ${(100 * others).toFixed(0)} % of a core`)
for (const failure of failures) console.error(`bench: failed: ${failure}`)
process.exitCode = failures.length > 0 ? 1 : 0
