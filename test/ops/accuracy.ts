/** The rule of docs/numerics.md: how far a run may be from the reference in float64. */
import { type Arr, sizeOf } from '../reference/float64.ts'
import type { FloatCase, OpCase, OpCases } from './cases.ts'
import { evaluate, type Run } from './runCase.ts'

/** The largest error of an output or a gradient, and what the rule makes of it. */
export interface Deviation {
  what: string
  error: number
  /** What the reference loses when each of its steps is rounded to the run's dtype. */
  lost: number
  /** How many times that is allowed, and one rounding of the largest value. */
  factor: number
  rounding: number
}

export const allowed = ({ lost, factor, rounding }: Deviation) => factor * lost + rounding
/** What was used of what is allowed: above 1 is too much. */
export const share = (deviation: Deviation) => (deviation.error === 0 ? 0 : deviation.error / allowed(deviation))

const worst = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  let error = 0
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number]
    if (Object.is(x, y) || x === y || (Number.isNaN(x) && Number.isNaN(y))) continue
    const difference = Math.abs(x - y)
    error = Math.max(error, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference)
  }
  return error
}
export const largest = (a: ArrayLike<number>) =>
  Array.from(a).reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0)
/** One rounding of the output's precision (four in f32, where polynomial functions are good to a few units in the last place). */
const oneRounding = { f32: 4 * 2 ** -23, bf16: 2 ** -8, f16: 2 ** -11 }

type Evaluated = ReturnType<typeof evaluate>
let last: { data: object; exact: Evaluated; low: Evaluated } | undefined

/** The references of a run. Devices compute a case one after the other on the same numbers, so the last ones are kept: they take most of the time. */
function references(...[test, op, run, dtype, data, upstream]: Parameters<typeof deviations>): { exact: Evaluated; low: Evaluated } {
  if (last?.data === data) return last
  last = undefined // frees it before the next is made
  const exact = evaluate(test, op, run, data, 'f64', upstream)
  const low = evaluate(test, op, run, data, dtype, upstream)
  if (!exact.looked && !low.looked) last = { data, exact, low }
  return { exact, low }
}

/** All outputs, then all gradients of a run. Throws where one has not the reference's size. */
export function deviations(
  test: OpCase,
  op: OpCases['op'],
  run: Run,
  dtype: FloatCase,
  data: Record<string, number[]>,
  upstream: (name: string, size: number) => number[],
): Deviation[] {
  const { exact, low } = references(test, op, run, dtype, data, upstream)
  const deviation = (what: string, actual: Float64Array, right: Arr['data'], rounded: Arr['data'], factor: number): Deviation => {
    if (actual.length !== right.length) throw new Error(`${what}: ${actual.length} elements, the reference has ${right.length}`)
    return { what, error: worst(actual, right), lost: worst(rounded, right), factor, rounding: oneRounding[dtype] * largest(right) }
  }
  const outputs = Object.entries(exact.outputs).flatMap(([name, arr]) =>
    arr ? [deviation(`output ${name}`, run.outputs[name] as Float64Array, arr.data, (low.outputs[name] as Arr).data, 2)] : [],
  )
  const gradients = Object.entries(run.gradients).map(([name, gradient]) =>
    deviation(`gradient of ${name}`, gradient, exact.gradients[name] as Float64Array, low.gradients[name] as Float64Array, 3),
  )
  return [...outputs, ...gradients]
}

/**
 * The deviations of several draws, each with the most that was lost in any of them. On a handful of numbers what a rounded computation loses is
 * chance, and now and then it is next to nothing.
 */
export function together(draws: readonly (readonly Deviation[])[]): Deviation[] {
  return draws.flatMap(draw => draw.map((own, i) => ({ ...own, lost: Math.max(...draws.map(each => (each[i] as Deviation).lost)) })))
}

export const elements = ({ inputs }: OpCase) => Object.values(inputs).reduce((total, { shape }) => total + sizeOf(shape), 0)
