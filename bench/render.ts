/** Writes the newest file of bench/results as a table into docs/perf.md, between its markers. `npm run bench:table` */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { Result } from './row.ts'
import { cells, HEADINGS } from './table.ts'

const BEGIN = '<!-- bench:begin -->'
const END = '<!-- bench:end -->'
/** Names end in their date: xeon-amx-2c-2026-11-20.json */
const DATE = /\d{4}-\d{2}-\d{2}(?=\.json$)/

const folder = new URL('./results/', import.meta.url)
const page = new URL('../docs/perf.md', import.meta.url)

function newest(): string {
  const files = readdirSync(folder).filter(file => DATE.test(file))
  files.sort((a, b) => (DATE.exec(a)?.[0] ?? '').localeCompare(DATE.exec(b)?.[0] ?? ''))
  const last = files.at(-1)
  if (last === undefined) throw new Error('bench/results holds no file whose name ends in a date')
  return last
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
    `From \`bench/results/${file}\`. ${met.length} of ${measured.length} rows reach their goal (f32 1.0×, training steps 1.3×, padded rows 1.6×; none is set`,
    'for other bf16 rows); those that do not are bold.',
    '',
    line(HEADINGS),
    line(HEADINGS.map(() => '---')),
    ...rows,
  ].join('\n')
}

const file = newest()
const results = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Result[]
const text = readFileSync(page, 'utf8')
const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)]
if (begin < 0 || end < begin) throw new Error(`docs/perf.md must hold the markers ${BEGIN} and ${END}`)
writeFileSync(page, `${text.slice(0, begin + BEGIN.length)}\n${render(file, results)}\n${text.slice(end)}`)
console.log(`docs/perf.md holds ${file}: ${results.length} rows`)
