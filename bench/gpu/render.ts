/** A GPU's results for docs/perf.md: a table and a chart of each family. */
import { significant } from '../statistics.ts'
import { markdownLine } from '../table.ts'
import { families } from './families.ts'
import { writePlots } from './plots.ts'
import type { GpuRun } from './result.ts'
import { cells, HEADINGS } from './table.ts'

/** Draws the charts into `folder`, which the page finds at `link`. */
export function renderGpu(run: GpuRun, file: string, folder: URL, link: string): string {
  const drawn = new Set(writePlots(run, folder))
  const { gpu, date, commit, command, torch, limits, rows, notMeasured } = run
  const measured = rows.filter(({ ratio }) => ratio !== null)
  const ahead = measured.filter(({ ratio }) => (ratio as number) >= 1)
  const against = torch ? `PyTorch ${torch.torch}, CUDA ${torch.cuda}, cuDNN ${torch.cudnn}` : 'without PyTorch'
  const heading = [
    `From \`bench/results/${file}\`: ${gpu}, ${date}, commit ${commit}, \`${command}\`, ${against}. Limits measured in the same run: ${significant(limits.matrix / 1e12)} TFLOP/s`,
    `in bf16, ${significant(limits.copy / 1e9)} GB/s. Times are medians by events in the stream, both sides alternately, the L2 cache flushed before each sample; PyTorch's figure is its best`,
    `way's. Ours is at least as fast in ${ahead.length} of ${measured.length} rows; where it is slower the ratio is bold.`,
    ...(notMeasured.length > 0 ? ['', `Not measured: ${notMeasured.map(({ row, reason }) => `${row} (${reason})`).join('; ')}.`] : []),
  ].join('\n')
  const sections = Object.entries(families).flatMap(([name, { title }]) => {
    const own = rows.filter(({ family }) => family === name)
    if (own.length === 0) return []
    const columns = HEADINGS.slice(1)
    const lines = own.map(row =>
      markdownLine(
        cells(row, run)
          .slice(1)
          .map((cell, i) => (columns[i] === 'ratio' && row.ratio !== null && row.ratio < 1 ? `**${cell}**` : cell)),
      ),
    )
    return [
      [
        `### ${title}`,
        '',
        ...(drawn.has(name) ? [`![${title}: speed of ours, of PyTorch, and the limit](${link}/${name}.svg)`, ''] : []),
        markdownLine(columns),
        markdownLine(columns.map(() => '---')),
        ...lines,
      ].join('\n'),
    ]
  })
  return [heading, ...sections].join('\n\n')
}
