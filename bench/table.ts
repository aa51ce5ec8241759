/** The table at the end of a run. */
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

/** Aligned columns; those that no row fills are left out. */
export function table(results: readonly Result[]): string {
  const lines = [HEADINGS, ...results.map(cells)]
  const used = HEADINGS.map((_, column) => results.some(result => cells(result)[column] !== ''))
  const widths = HEADINGS.map((_, column) => Math.max(...lines.map(line => (line[column] as string).length)))
  const numeric = new Set([3, 4, 5, 6, 7, 8])
  return lines
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
