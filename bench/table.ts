/** Tables: at the end of a run, and in docs/perf.md. */
import type { Result } from './row.ts'

const percent = (share: number | null) => (share === null ? '' : `±${Math.round(share * 50)} %`)
const time = (value: number | null, unit: string) =>
  value === null ? '' : `${value < 100 ? value.toPrecision(3) : Math.round(value)} ${unit}`

/** Cells of one row, for the terminal and for docs/perf.md. */
export function cells(result: Result): string[] {
  return [
    result.suite,
    result.row,
    result.dtype,
    time(result.ours, result.unit),
    percent(result.oursSpread),
    time(result.theirs, result.unit),
    percent(result.theirsSpread),
    result.ratio === null ? '' : `${result.ratio.toFixed(2)}×`,
    result.rate,
    result.way,
  ]
}

export const HEADINGS = ['suite', 'row', 'dtype', 'ours', 'spread', 'PyTorch', 'spread', 'ratio', 'our rate', "PyTorch's way"]

const NUMERIC = new Set([3, 4, 5, 6, 7, 8])

export const table = (results: readonly Result[]) => columns(HEADINGS, results.map(cells), NUMERIC)

/** Aligned columns; those that no line fills are left out. `numeric` ones are aligned to the right. */
export function columns(headings: readonly string[], lines: readonly (readonly string[])[], numeric: ReadonlySet<number>): string {
  const all = [headings, ...lines]
  const used = headings.map((_, column) => lines.some(line => line[column] !== ''))
  const widths = headings.map((_, column) => Math.max(...all.map(line => (line[column] as string).length)))
  return all
    .map(line =>
      line
        .flatMap((cell, column) =>
          used[column] ? [numeric.has(column) ? cell.padStart(widths[column] as number) : cell.padEnd(widths[column] as number)] : [],
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** A line of a table in Markdown. */
export const markdownLine = (entries: readonly string[]) => `| ${entries.join(' | ')} |`
