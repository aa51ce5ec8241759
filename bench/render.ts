/** Writes the files of the newest date in bench/results as tables into docs/perf.md, between its markers. `npm run bench:table` */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { Result } from './row.ts'
import { cells, HEADINGS } from './table.ts'

const BEGIN = '<!-- bench:begin -->'
const END = '<!-- bench:end -->'
/** Names end in their date: xeon-amx-2c-2026-11-20.json */
const DATE = /\d{4}-\d{2}-\d{2}(?=\.json$)/

const folder = new URL('./results/', import.meta.url)
const page = new URL('../docs/perf.md', import.meta.url)

function newest(): string[] {
  const dateOf = (file: string) => DATE.exec(file)?.[0] ?? ''
  const files = readdirSync(folder).sort()
  const last = files.map(dateOf).sort().at(-1)
  if (!last) throw new Error('bench/results holds no file whose name ends in a date')
  return files.filter(file => dateOf(file) === last)
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

function render(file: string, results: readonly Result[]): string {
  const line = (entries: readonly string[]) => `| ${entries.join(' | ')} |`
  const rows = results.map(result => {
    const wanted = goal(result)
    const below = wanted !== undefined && result.ratio !== null && result.ratio < wanted
    return line(cells(result).map((cell, i) => (i === 7 && below ? `**${cell}**` : cell)))
  })
  const measured = results.filter(result => result.ratio !== null)
  const met = measured.filter(result => (result.ratio as number) >= (goal(result) ?? 0))
  return [
    `From \`bench/results/${file}\`: ${conditions(results)}. ${met.length} of ${measured.length} rows reach their goal (f32 1.0×, training steps 1.3×, padded rows 1.6×; none is set`,
    'for other bf16 rows); those that do not are bold.',
    '',
    line(HEADINGS),
    line(HEADINGS.map(() => '---')),
    ...rows,
  ].join('\n')
}

const tables = newest().map(file => {
  const results = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Result[]
  console.log(`docs/perf.md holds ${file}: ${results.length} rows`)
  return render(file, results)
})
const text = readFileSync(page, 'utf8')
const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)]
if (begin < 0 || end < begin) throw new Error(`docs/perf.md must hold the markers ${BEGIN} and ${END}`)
writeFileSync(page, `${text.slice(0, begin + BEGIN.length)}\n${tables.join('\n\n')}\n${text.slice(end)}`)
