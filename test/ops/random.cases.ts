import type { FloatDType } from '../../lib/dtype.ts'
import { normal, random, truncatedNormal, uniform } from '../../lib/ops/random.ts'
import { defineCases, type Inputs, type OpCase } from './cases.ts'

const shapes: [string, number[]][] = [
  ['a vector of odd length', [37]],
  ['one element', [1]],
  ['nothing', [0, 3]],
  ['long', [3, 1999]],
]
const like = (t: Inputs) => ({ device: t.like!.device, dtype: t.like!.dtype as FloatDType })
const of = (name: string, call: (shape: number[], t: Inputs) => unknown): OpCase[] =>
  shapes.map(([what, shape]) => ({ name: `${name}, ${what}`, inputs: { like: { shape: [1] } }, call: t => call(shape, t) }))

export default defineCases(random, [
  ...of('uniform', (shape, t) => uniform(shape, like(t))),
  ...of('uniform in [-3, 0.1)', (shape, t) => uniform(shape, { low: -3, high: 0.1, ...like(t) })),
  ...of('normal', (shape, t) => normal(shape, like(t))),
  ...of('normal, moved', (shape, t) => normal(shape, { mean: 2, std: 0.02, ...like(t) })),
  ...of('truncated normal', (shape, t) => truncatedNormal(shape, like(t))),
  ...of('truncated normal, moved', (shape, t) => truncatedNormal(shape, { mean: -1, std: 3, ...like(t) })),
])
