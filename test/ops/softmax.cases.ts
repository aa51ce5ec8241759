import { softmax, softmaxRows } from '../../lib/ops/softmax.ts'
import { defineCases, type Inputs, type OpCase } from './cases.ts'

const { NEGATIVE_INFINITY } = Number
const call = (t: Inputs) => softmax(t.x!)

/** Rows whose numbers are hard: shared by softmax and log-softmax. */
export const rowCases = (call: (t: Inputs) => unknown): OpCase[] => [
  ...[[5, 1], [3, 2], [4, 31], [2, 32], [3, 33], [7, 129], [2, 3, 5, 17], [2, 5000], [131], [0, 5], [3, 0]].map(shape => ({
    name: `[${shape}]`,
    inputs: { x: { shape, scale: 3 } },
    call,
  })),
  // Rows in 16-byte pieces on a GPU: of one, a few and all lanes of a warp, of a block, and too long for its registers.
  ...[
    [70, 8],
    [33, 72],
    [3, 1024],
    [2, 1032],
    [2, 4096],
    [2, 16392],
  ].map(shape => ({
    name: `aligned [${shape}]`,
    inputs: { x: { shape, scale: 3 } },
    call,
  })),
  {
    name: 'numbers far apart',
    inputs: { x: { shape: [6, 40], scale: 1e4 } },
    call,
    noGradient: 'it is 0 but for how y rounds beside 1',
  },
  {
    name: 'large numbers',
    inputs: { x: { shape: [3, 40], fill: { values: Array.from({ length: 120 }, (_, i) => 1e4 + ((i * i) % 7)) } } },
    call,
  },
  { name: 'equal numbers', inputs: { x: { shape: [2, 37], fill: { values: new Array(74).fill(88.8) } } }, call },
  { name: 'large equal numbers', inputs: { x: { shape: [2, 3], fill: { values: [1e4, 1e4, 1e4, -1e4, -1e4, -1e4] } } }, call },
]

export default defineCases(softmaxRows, [
  ...rowCases(call),
  {
    name: 'some -inf',
    inputs: { x: { shape: [2, 4], fill: { values: [NEGATIVE_INFINITY, 1, 2, NEGATIVE_INFINITY, 3, NEGATIVE_INFINITY, -1, 0.5] } } },
    call,
  },
  {
    name: 'a row of -inf',
    inputs: { x: { shape: [2, 3], fill: { values: [NEGATIVE_INFINITY, NEGATIVE_INFINITY, NEGATIVE_INFINITY, 1, 2, 0] } } },
    call,
  },
  ...[0.125, -2, 0].map(scale => ({
    name: `scale ${scale}`,
    inputs: { x: { shape: [5, 43] } },
    call: (t: Inputs) => softmax(t.x!, { scale }),
  })),
  { name: 'a strided input', inputs: { x: { shape: [3, 6, 35], transposed: true } }, call, reference: rows },
  { name: 'rows of attention', inputs: { x: { shape: [512, 512] } }, call, dtypes: [], bench: { bytes: 2 * 4 * 512 * 512 } },
])

function rows<T>(F: Parameters<typeof softmaxRows.reference<T>>[0], { x }: Record<string, T>) {
  return softmaxRows.reference(F, { x: x as T, y: x as T, scale: 1 })
}
