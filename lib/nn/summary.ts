/** The table that `module.summary()` gives. */
import { formatShape } from '../ops/check.ts'
import { Tensor } from '../tensor.ts'
import type { Module } from './module.ts'

export interface SummaryOptions {
  /** How many levels of parts to show. Default: all. */
  depth?: number
  /** The model's name in the first row. Default: its class. */
  name?: string
}

interface Row {
  layer: string
  type: string
  shapes: string
  parameters: number
  bytes: number
}

interface Size {
  parameters: number
  bytes: number
}

const thousands = (value: number) => value.toString().replace(/\B(?=(\d{3})+$)/g, ',')

export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(value < 100 ? 1 : 0)} ${units[unit]}`
}

/** What tells two layers apart: their classes and the shapes of all that is below. */
const signature = (module: Module): string =>
  [...module.modules()]
    .map(([path, part]) => `${path}:${part.constructor.name}`)
    .concat([...module.namedTensors()].map(([key, { value }]) => `${key}${formatShape(value.shape)}${value.dtype}`))
    .join('|')

class Table {
  readonly rows: Row[] = []
  /** Parameters that a row above has counted. */
  readonly #counted = new Set<Tensor>()
  readonly #depth: number

  constructor(depth: number) {
    this.#depth = depth
  }

  /** Adds the rows of `group` (equal layers that follow each other; one for most) and says what they hold. */
  add(group: readonly Module[], label: string, level: number): Size {
    const first = group[0] as Module
    const type = group.length > 1 ? `${group.length} × ${first.constructor.name}` : first.constructor.name
    const row: Row = { layer: '  '.repeat(level) + label, type, shapes: '', parameters: 0, bytes: 0 }
    if (level <= this.#depth) this.rows.push(row)
    const own = [...first.entries()].filter(({ value }) => value instanceof Tensor)
    row.shapes = own
      .map(({ key, value, buffer }) => {
        const tied = this.#counted.has(value as Tensor) ? ' (tied)' : buffer ? ' (buffer)' : ''
        return `${key} ${formatShape((value as Tensor).shape)}${tied}`
      })
      .join(', ')
    for (const module of group) {
      for (const { value, buffer } of module.entries()) {
        if (!(value instanceof Tensor) || this.#counted.has(value)) continue
        this.#counted.add(value)
        if (buffer === undefined) row.parameters += value.size
        row.bytes += value.bytes
      }
    }
    for (const { parts, name } of groupedParts(group)) {
      const size = this.add(parts, name, level + 1)
      row.parameters += size.parameters
      row.bytes += size.bytes
    }
    return row
  }
}

/** The parts of equal modules side by side, runs of equal layers of a list as one group. */
function groupedParts(group: readonly Module[]): { parts: Module[]; name: string }[] {
  const found: { parts: Module[]; name: string; field: string; index: number | undefined; signature: string }[] = []
  for (const entry of (group[0] as Module).entries()) {
    if (entry.value instanceof Tensor) continue
    const others = group.map(module => [...module.entries()].find(({ key }) => key === entry.key)?.value as Module)
    const same = signature(entry.value)
    const last = found.at(-1)
    if (last && entry.index !== undefined && last.field === entry.field && last.signature === same) {
      last.parts.push(...others)
      last.name = `${entry.key.slice(0, entry.key.lastIndexOf('.'))}.${last.index}–${entry.index}`
    } else {
      found.push({
        parts: others,
        name: entry.key === '' ? entry.field : entry.key,
        field: entry.field,
        index: entry.index,
        signature: same,
      })
    }
  }
  return found
}

/** One row a module, indented by level: its own tensors, and what it and its parts hold. Runs of equal layers share their rows. */
export function summarize(module: Module, options: SummaryOptions): string {
  const table = new Table(options.depth ?? Number.POSITIVE_INFINITY)
  const total = table.add([module], options.name ?? 'model', 0)
  const header = ['layer', 'type', 'shapes', 'parameters', 'bytes']
  const cells = table.rows.map(row => [row.layer, row.type, row.shapes, thousands(row.parameters), formatBytes(row.bytes)])
  const widths = header.map((title, column) => Math.max(title.length, ...cells.map(row => (row[column] as string).length)))
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column < 3 ? cell.padEnd(widths[column] as number) : cell.padStart(widths[column] as number)))
      .join('  ')
      .trimEnd()
  const trained = module.parameters().filter(parameter => parameter.requiresGrad)
  const count = trained.reduce((sum, parameter) => sum + parameter.size, 0)
  return [
    line(header),
    widths.map(width => '─'.repeat(width)).join('  '),
    ...cells.map(line),
    `${thousands(total.parameters)} parameters, ${thousands(count)} of them trained; ${formatBytes(total.bytes)}`,
  ].join('\n')
}
