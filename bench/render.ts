/**
 * Writes the newest results of bench/results into docs/perf.md, between its markers: those of the CPU as they are, those of a GPU with their charts, which
 * are drawn beside them. `npm run bench:table`
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { renderGpu } from './gpu/render.ts'
import type { GpuRun } from './gpu/result.ts'
import type { Result } from './row.ts'
import { cells, HEADINGS, markdownLine } from './table.ts'

/** Names end in their date: xeon-amx-2c-2026-11-20.json */
const DATE = /\d{4}-\d{2}-\d{2}(?=\.json$)/

const folder = new URL('./results/', import.meta.url)
const page = new URL('../docs/perf.md', import.meta.url)

interface Results<T> {
  readonly file: string
  readonly content: T
}

const dateOf = ({ file }: { file: string }) => DATE.exec(file)?.[0] ?? ''

function newest<T>(all: readonly Results<T>[]): Results<T>[] {
  const last = all.map(dateOf).sort().at(-1)
  return all.filter(each => dateOf(each) === last)
}

/** How the rows of a file were measured, for people. */
function conditions([first]: readonly Result[]): string {
  if (first === undefined) return 'no rows'
  const { threads, clock, samples } = first
  const time = clock === 'cpu' ? 'processor time' : 'time by the clock'
  return `${threads} thread${threads > 1 ? 's' : ''} each, ${time}, medians of ${samples} samples`
}

/** What a row shall reach. */
function goal({ suite, row, dtype }: Result): number | undefined {
  if (suite === 'training') return 1.3
  if (/padding/.test(row)) return 1.6
  return dtype === 'f32' ? 1 : undefined
}

function render({ file, content: results }: Results<Result[]>): string {
  const rows = results.map(result => {
    const wanted = goal(result)
    const below = wanted !== undefined && result.ratio !== null && result.ratio < wanted
    return markdownLine(cells(result).map((cell, i) => (i === 7 && below ? `**${cell}**` : cell)))
  })
  const measured = results.filter(result => result.ratio !== null)
  const met = measured.filter(result => (result.ratio as number) >= (goal(result) ?? 0))
  return [
    `From \`bench/results/${file}\`: ${conditions(results)}. ${met.length} of ${measured.length} rows reach their goal (f32 1.0×, training steps 1.3×, padded rows 1.6×; none is set`,
    'for other bf16 rows); those that do not are bold.',
    '',
    markdownLine(HEADINGS),
    markdownLine(HEADINGS.map(() => '---')),
    ...rows,
  ].join('\n')
}

function between(text: string, name: string, content: string): string {
  const [open, close] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`]
  const [begin, end] = [text.indexOf(open), text.indexOf(close)]
  if (begin < 0 || end < begin) throw new Error(`docs/perf.md must hold the markers ${open} and ${close}`)
  return `${text.slice(0, begin + open.length)}\n${content}\n${text.slice(end)}`
}

const files = readdirSync(folder)
  .filter(file => DATE.test(file))
  .sort()
  .map((file): Results<Result[] | GpuRun> => ({ file, content: JSON.parse(readFileSync(new URL(file, folder), 'utf8')) }))
// A CPU's file is a list of rows; a GPU's says what it was measured with.
const cpu = newest(files.filter((each): each is Results<Result[]> => Array.isArray(each.content)))
const gpu = newest(files.filter((each): each is Results<GpuRun> => !Array.isArray(each.content) && !each.content.dry))

const charts = gpu.map(({ file, content }) => {
  const name = file.replace(/\.json$/, '')
  const target = new URL(`${name}/`, folder)
  mkdirSync(target, { recursive: true })
  return renderGpu(content, file, target, `../bench/results/${name}`)
})
let text = readFileSync(page, 'utf8')
text = between(text, 'bench', cpu.map(render).join('\n\n'))
text = between(text, 'gpu', charts.length > 0 ? charts.join('\n\n') : 'No GPU result yet: not measured.')
writeFileSync(page, text)
for (const { file } of [...cpu, ...gpu]) console.log(`docs/perf.md holds ${file}`)
if (gpu.length === 0) console.log('docs/perf.md holds no GPU result: there is none')
