/** Small charts as SVG: panels of lines over a size, or of bars by name, each with the limit that they are held to. */

export interface Point {
  readonly x: number | string
  readonly y: number
}
export interface Series {
  readonly name: string
  readonly color: string
  readonly points: readonly Point[]
}
export interface Panel {
  readonly title: string
  /** Units of both axes; `x` is unused by bars. */
  readonly axes: { readonly x: string; readonly y: string }
  readonly series: readonly Series[]
  /** A dashed line; NaN or 0: none. */
  readonly limit: number
}

const TEXT = '#1f2937'
const FAINT = '#6b7280'
const GRID = '#e5e7eb'
const LIMIT = '#9ca3af'
const FONT = 'font-family="Helvetica, Arial, sans-serif"'

const escaped = (text: string) => text.replace(/[&<>"]/g, c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c] as string)
/** Tenths of a pixel are enough. */
const n = (x: number) => String(Math.round(10 * x) / 10)

function text(
  x: number,
  y: number,
  content: string,
  rest: { size?: number; anchor?: string; color?: string; weight?: string } = {},
): string {
  const { size = 11, anchor = 'start', color = TEXT, weight = 'normal' } = rest
  return `<text x="${n(x)}" y="${n(y)}" font-size="${size}" text-anchor="${anchor}" fill="${color}" font-weight="${weight}">${escaped(content)}</text>`
}

function line(x1: number, y1: number, x2: number, y2: number, color: string, rest = ''): string {
  return `<line x1="${n(x1)}" y1="${n(y1)}" x2="${n(x2)}" y2="${n(y2)}" stroke="${color}" ${rest}/>`
}

/** From 0 to at least `most`, four to six of them, at 1, 2, 2.5 or 5 times a power of ten. */
export function ticks(most: number): number[] {
  if (!(most > 0)) return [0, 1]
  const power = 10 ** Math.floor(Math.log10(most / 4))
  const step = [1, 2, 2.5, 5, 10].map(factor => factor * power).find(each => most / each <= 5) as number
  const count = Math.ceil(most / step - 1e-9)
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(12)))
}

const figure = (x: number) => (x >= 10_000 ? `${Number((x / 1000).toPrecision(4))}k` : String(Number(x.toPrecision(4))))
/** 1024 is 1k to whoever reads of tokens and matrices. */
const size = (x: number) => (x >= 1024 && x % 1024 === 0 ? `${x / 1024}k` : String(x))

const mostOf = ({ series, limit }: Panel) => Math.max(limit || 0, ...series.flatMap(({ points }) => points.map(({ y }) => y)))

const LINES = { width: 340, height: 240, left: 52, right: 14, top: 30, bottom: 44 }

function lines(panel: Panel): string {
  const { width, height, left, right, top, bottom } = LINES
  const sizes = [...new Set(panel.series.flatMap(({ points }) => points.map(({ x }) => x as number)))].sort((a, b) => a - b)
  const [low, high] = [Math.log2(sizes[0] as number), Math.log2(sizes.at(-1) as number)]
  const px = (x: number) =>
    high === low ? (left + width - right) / 2 : left + ((Math.log2(x) - low) / (high - low)) * (width - left - right)
  const marks = ticks(mostOf(panel))
  const py = (y: number) => height - bottom - (y / (marks.at(-1) as number)) * (height - top - bottom)
  const parts = [text(left, 16, panel.title, { size: 12, weight: 'bold' })]
  for (const y of marks) {
    parts.push(line(left, py(y), width - right, py(y), GRID))
    parts.push(text(left - 6, py(y) + 4, figure(y), { anchor: 'end', size: 10, color: FAINT }))
  }
  for (const x of sizes) parts.push(text(px(x), height - bottom + 15, size(x), { anchor: 'middle', size: 10, color: FAINT }))
  parts.push(text((left + width - right) / 2, height - 10, panel.axes.x, { anchor: 'middle', color: FAINT }))
  parts.push(
    `<g transform="translate(12 ${n((top + height - bottom) / 2)}) rotate(-90)">${text(0, 0, panel.axes.y, { anchor: 'middle', color: FAINT })}</g>`,
  )
  if (panel.limit > 0)
    parts.push(line(left, py(panel.limit), width - right, py(panel.limit), LIMIT, 'stroke-dasharray="5 4" stroke-width="1.5"'))
  for (const { color, points } of panel.series) {
    const ordered = [...points].sort((a, b) => (a.x as number) - (b.x as number))
    const path = ordered.map(({ x, y }) => `${n(px(x as number))},${n(py(y))}`).join(' ')
    if (ordered.length > 1) parts.push(`<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"/>`)
    for (const { x, y } of ordered) parts.push(`<circle cx="${n(px(x as number))}" cy="${n(py(y))}" r="3" fill="${color}"/>`)
  }
  return parts.join('\n')
}

const BARS = { width: 694, left: 300, right: 60, top: 30, bottom: 40, bar: 11, gap: 8 }

const namesOf = (panel: Panel) => [...new Set(panel.series.flatMap(({ points }) => points.map(({ x }) => String(x))))]
const barHeight = (panel: Panel) => BARS.top + BARS.bottom + namesOf(panel).length * (panel.series.length * BARS.bar + BARS.gap)

function bars(panel: Panel): string {
  const { width, left, right, top, bottom, bar, gap } = BARS
  const height = barHeight(panel)
  const marks = ticks(mostOf(panel))
  const px = (value: number) => left + (value / (marks.at(-1) as number)) * (width - left - right)
  const parts = [text(8, 16, panel.title, { size: 12, weight: 'bold' })]
  for (const x of marks) {
    parts.push(line(px(x), top - 4, px(x), height - bottom, GRID))
    parts.push(text(px(x), height - bottom + 14, figure(x), { anchor: 'middle', size: 10, color: FAINT }))
  }
  parts.push(text((left + width - right) / 2, height - 8, panel.axes.y, { anchor: 'middle', color: FAINT }))
  for (const [row, name] of namesOf(panel).entries()) {
    const y = top + row * (panel.series.length * bar + gap)
    parts.push(text(left - 8, y + (panel.series.length * bar) / 2 + 4, name, { anchor: 'end' }))
    for (const [i, { color, points }] of panel.series.entries()) {
      const point = points.find(each => String(each.x) === name)
      if (!point) continue
      const end = px(point.y)
      parts.push(`<rect x="${left}" y="${n(y + i * bar)}" width="${n(Math.max(0.5, end - left))}" height="${bar - 2}" fill="${color}"/>`)
      parts.push(text(end + 4, y + i * bar + 8.5, figure(Number(point.y.toPrecision(3))), { size: 9, color: FAINT }))
    }
  }
  if (panel.limit > 0)
    parts.push(line(px(panel.limit), top - 4, px(panel.limit), height - bottom, LIMIT, 'stroke-dasharray="5 4" stroke-width="1.5"'))
  return parts.join('\n')
}

const isBars = (panel: Panel) => panel.series.some(({ points }) => points.some(({ x }) => typeof x === 'string'))

/** The panels under a title and a legend: those of lines two in a row, then those of bars. */
export function chart(title: string, subtitle: string, panels: readonly Panel[]): string {
  const margin = 16
  const width = 2 * margin + BARS.width
  const parts = [text(margin, 28, title, { size: 17, weight: 'bold' }), text(margin, 46, subtitle, { color: FAINT })]
  const named = new Map(panels.flatMap(({ series }) => series.map(({ name, color }) => [name, color] as const)))
  let x = margin
  for (const [name, color] of named) {
    parts.push(`<rect x="${x}" y="58" width="14" height="10" fill="${color}"/>`, text(x + 19, 67, name))
    x += 36 + 6.5 * name.length
  }
  if (panels.some(({ limit }) => limit > 0))
    parts.push(
      line(x, 63, x + 22, 63, LIMIT, 'stroke-dasharray="5 4" stroke-width="1.5"'),
      text(x + 27, 67, 'limit measured in the same run'),
    )
  let y = 84
  const drawn = panels.filter(panel => !isBars(panel))
  for (const [i, panel] of drawn.entries()) {
    const column = i % 2
    parts.push(`<g transform="translate(${margin + column * (LINES.width + 14)} ${y})">\n${lines(panel)}\n</g>`)
    if (column === 1 || i === drawn.length - 1) y += LINES.height + 8
  }
  for (const panel of panels.filter(isBars)) {
    parts.push(`<g transform="translate(${margin} ${y})">\n${bars(panel)}\n</g>`)
    y += barHeight(panel) + 8
  }
  const height = y + 8
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${n(height)}" viewBox="0 0 ${width} ${n(height)}" ${FONT}>`,
    `<rect width="${width}" height="${n(height)}" fill="#ffffff"/>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}
