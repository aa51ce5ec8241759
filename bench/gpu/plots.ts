/** A family's results as a chart: speed by size, ours, PyTorch's and the limit. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { families } from './families.ts'
import { type GpuResult, type GpuRun, rateOf } from './result.ts'
import type { Family } from './row.ts'
import { chart, type Panel, type Point } from './svg.ts'

const OURS = '#2563eb'
const THEIRS = '#ea580c'

const units = {
  matrix: { name: 'TFLOP/s', scale: 1e-12 },
  copy: { name: 'GB/s', scale: 1e-9 },
} as const

/** The family's chart, or undefined where none of its rows was measured. */
export function plot(name: string, { title, axis }: Family, run: GpuRun): string | undefined {
  const groups = new Map<string, GpuResult[]>()
  for (const row of run.rows) {
    if (row.family !== name || !row.plot) continue
    const group = groups.get(row.plot.panel)
    if (group) group.push(row)
    else groups.set(row.plot.panel, [row])
  }
  const panels = [...groups].map(([panel, rows]) => panelOf(panel, rows, axis, run))
  if (panels.length === 0) return undefined
  const how = `${run.dry ? 'DRY RUN, NO FIGURES: ' : ''}${run.gpu}, ${run.date}, bf16${run.torch ? `, PyTorch ${run.torch.torch}` : ''}; medians`
  return chart(title, how, panels)
}

function panelOf(title: string, rows: readonly GpuResult[], x: string, { limits }: GpuRun): Panel {
  const [{ bound }] = rows as [GpuResult]
  const { name, scale } = units[bound]
  const points = (side: 'ours' | 'theirs') =>
    rows.flatMap((row): Point[] => {
      const timing = row[side]
      return timing && row.plot ? [{ x: row.plot.x, y: scale * rateOf(row, timing) }] : []
    })
  return {
    title,
    axes: { x, y: name },
    series: [
      { name: 'Tilewise', color: OURS, points: points('ours') },
      { name: 'PyTorch, its best way', color: THEIRS, points: points('theirs') },
    ],
    limit: scale * limits[bound],
  }
}

/** Writes <family>.svg for each family that was measured, and gives their names. */
export function writePlots(run: GpuRun, folder: string | URL): string[] {
  const inFolder = (file: string) => join(folder instanceof URL ? fileURLToPath(folder) : folder, file)
  return Object.entries(families).flatMap(([name, family]) => {
    const svg = plot(name, family, run)
    if (svg === undefined) return []
    writeFileSync(inFolder(`${name}.svg`), svg)
    return [name]
  })
}
