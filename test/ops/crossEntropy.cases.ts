import { type CrossEntropyOptions, crossEntropy, crossEntropyOp } from '../../lib/ops/crossEntropy.ts'
import { defineCases, type InputSpec, type Inputs, type OpCase } from './cases.ts'

const run =
  (options: CrossEntropyOptions = {}) =>
  (t: Inputs) =>
    crossEntropy(t.logits!, t.targets!, t.classWeight ? { ...options, classWeight: t.classWeight } : options)

const targets = (shape: number[], classes: number): InputSpec => ({ shape, dtype: 'i32', fill: { int: [0, classes] } })
const inputs = (shape: number[], logits: Partial<InputSpec> = {}) => ({
  logits: { shape, scale: 3, ...logits },
  targets: targets(shape.slice(0, -1), shape.at(-1) as number),
})
const weighted = (shape: number[]) => ({
  ...inputs(shape),
  classWeight: { shape: shape.slice(-1), dtype: 'f32', fill: 'positive', gradient: false } as InputSpec,
})
const reductions = ['mean', 'sum', 'none'] as const
/** Every third target is -1. */
const someIgnored = (rows: number, classes: number): InputSpec => ({
  shape: [rows],
  dtype: 'i32',
  fill: { values: Array.from({ length: rows }, (_, i) => (i % 3 === 0 ? -1 : (i * 7) % classes)) },
})

const cases: OpCase[] = [
  ...[[5, 1], [7, 2], [64, 31], [3, 32], [2, 3, 33], [2, 4097], [3, 9001], [1, 50257], [11]].map(shape => ({
    name: `[${shape}]`,
    inputs: inputs(shape),
    call: run(),
  })),
  // Rows in 16-byte pieces on a GPU: of one, a few and all lanes of a warp, of a block, of several rounds of it.
  ...[
    [40, 8],
    [9, 72],
    [3, 1024],
    [5, 1032],
    [2, 16392],
  ].map(shape => ({
    name: `aligned [${shape}], class weights`,
    inputs: weighted(shape),
    call: run({ labelSmoothing: 0.1 }),
  })),
  ...reductions.flatMap(reduction =>
    [0, 0.1, 1].flatMap(labelSmoothing => [
      { name: `${reduction}, smoothing ${labelSmoothing}`, inputs: inputs([2, 3, 37]), call: run({ reduction, labelSmoothing }) },
      {
        name: `${reduction}, smoothing ${labelSmoothing}, class weights`,
        inputs: weighted([6, 37]),
        call: run({ reduction, labelSmoothing }),
      },
      {
        name: `${reduction}, smoothing ${labelSmoothing}, ignored targets`,
        inputs: { ...weighted([10, 21]), targets: someIgnored(10, 21) },
        call: run({ reduction, labelSmoothing, ignoreIndex: -1 }),
      },
    ]),
  ),
  ...reductions.map(reduction => ({
    name: `${reduction}, nothing counts`,
    inputs: { ...inputs([3, 5]), targets: { shape: [3], dtype: 'i32', fill: { values: [2, 2, 2] } } as InputSpec },
    call: run({ reduction, ignoreIndex: 2, labelSmoothing: 0.1 }),
  })),
  ...reductions.map(reduction => ({ name: `${reduction} of no rows`, inputs: inputs([0, 5]), call: run({ reduction }) })),
  { name: 'a class that is ignored', inputs: inputs([40, 4]), call: run({ ignoreIndex: 0 }) },
  { name: 'a normalizer', inputs: { ...inputs([10, 21]), targets: someIgnored(10, 21) }, call: run({ ignoreIndex: -1, normalizer: 31 }) },
  { name: 'a normalizer with class weights', inputs: weighted([4, 9]), call: run({ normalizer: 0.5, labelSmoothing: 0.2 }) },
  { name: 'smoothing over several pieces', inputs: weighted([3, 9001]), call: run({ labelSmoothing: 0.1 }) },
  {
    name: 'large equal logits, several pieces',
    inputs: inputs([2, 8200], { fill: { values: Array.from({ length: 2 * 8200 }, (_, i) => 1e4 + Math.floor((i % 8200) / 4096)) } }),
    call: run({ labelSmoothing: 0.1 }),
  },
  ...[0, 0.1].map(labelSmoothing => ({
    name: `logits of ±1e4, smoothing ${labelSmoothing}`,
    inputs: inputs([7, 11], { fill: { values: Array.from({ length: 77 }, (_, i) => ((i * i) % 5 < 2 ? 1e4 : -1e4)) } }),
    call: run({ labelSmoothing, reduction: 'none' }),
  })),
  {
    name: 'classes that are ruled out',
    inputs: {
      logits: {
        shape: [2, 4],
        fill: { values: [Number.NEGATIVE_INFINITY, 1, 2, Number.NEGATIVE_INFINITY, 3, Number.NEGATIVE_INFINITY, -1, 0.5] },
      },
      targets: { shape: [2], dtype: 'i32', fill: { values: [1, 0] } },
    },
    call: run(),
  },
  {
    name: '1280 rows of 6000 classes',
    inputs: inputs([1280, 6000]),
    call: run({ labelSmoothing: 0.1 }),
    dtypes: [],
    bench: { bytes: 4 * 1280 * 6000 },
  },
]

export default defineCases(crossEntropyOp, cases)
