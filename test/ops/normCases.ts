/** The cases that layer norm and RMS norm share. */
import type { NormOptions, NormResult } from '../../lib/ops/norm.ts'
import type { InputSpec, Inputs, OpCase } from './cases.ts'

/** A call by inputs named x, weight, bias and residual, of which all but x may be missing. */
export function normCases(call: (t: Inputs, options: NormOptions) => NormResult, withBias: boolean): OpCase[] {
  const run =
    (options: NormOptions = {}) =>
    (t: Inputs) =>
      call(t, t.residual ? { ...options, residual: t.residual } : options)
  const parameters = (width: number, spec: Partial<InputSpec> = {}): Record<string, InputSpec> => ({
    weight: { shape: [width], ...spec },
    ...(withBias ? { bias: { shape: [width], ...spec } } : {}),
  })
  const shapes = [[5, 1], [3, 2], [4, 31], [70, 32], [7, 33], [2, 3, 5, 17], [1, 4099], [300, 129], [19], [0, 7]]
  const of = (shape: number[]) => ({ x: { shape }, ...parameters(shape.at(-1) as number) })
  return [
    ...shapes.map(shape => ({ name: `[${shape}]`, inputs: of(shape), call: run({ eps: 1e-3 }) })),
    ...[1e-5, 1e-12, 0.5].map(eps => ({ name: `eps ${eps}`, inputs: of([6, 24]), call: run({ eps }) })),
    // Rows in 16-byte pieces on a GPU: of a few lanes, of a warp and one piece more, of a block, and too long for its registers.
    ...[
      [200, 8],
      [37, 64],
      [9, 512],
      [3, 520],
      [2, 1024],
      [70, 1032],
      [2, 4096],
      [2, 8200],
      [2, 16392],
    ].map(shape => ({
      name: `aligned [${shape}]`,
      inputs: { ...of(shape), residual: { shape } },
      call: run({ eps: 1e-3, dropout: 0.2 }),
    })),
    // More rows than the warps and the blocks that are resident.
    ...[
      [300, 264],
      [70, 1032],
    ].map(shape => ({ name: `aligned, alone, many [${shape}]`, inputs: of(shape), call: run({ eps: 1e-3 }) })),
    { name: 'aligned, alone [50,264]', inputs: of([50, 264]), call: run({ eps: 1e-3 }) },
    { name: 'without parameters', inputs: { x: { shape: [9, 35] } }, call: run() },
    { name: 'weight only', inputs: { x: { shape: [9, 35] }, weight: { shape: [35] } }, call: run() },
    ...(withBias ? [{ name: 'bias only', inputs: { x: { shape: [9, 35] }, bias: { shape: [35] } }, call: run() }] : []),
    { name: 'f32 parameters', inputs: { x: { shape: [9, 67] }, ...parameters(67, { dtype: 'f32', gradient: true }) }, call: run() },
    { name: 'parameters without gradient', inputs: { x: { shape: [9, 67] }, ...parameters(67, { gradient: false }) }, call: run() },
    { name: 'x without gradient', inputs: { x: { shape: [9, 67], gradient: false }, ...parameters(67) }, call: run() },
    { name: 'a large mean', inputs: { x: { shape: [8, 65], fill: { values: farRows } }, ...parameters(65) }, call: run(), dtypes: ['f32'] },
    {
      name: 'rows of one value',
      inputs: { x: { shape: [2, 9], fill: { values: [...new Array(9).fill(3.25), ...new Array(9).fill(0)] } } },
      call: run(),
    },
    ...[
      [5, 1],
      [41, 66],
      [2, 3, 129],
      [0, 6],
    ].map(shape => ({ name: `residual [${shape}]`, inputs: { ...of(shape), residual: { shape } }, call: run({ eps: 1e-3 }) })),
    { name: 'residual without gradient', inputs: { ...of([5, 66]), residual: { shape: [5, 66], gradient: false } }, call: run() },
    {
      name: 'x of a residual without gradient',
      inputs: { x: { shape: [5, 66], gradient: false }, residual: { shape: [5, 66] } },
      call: run(),
    },
    { name: 'residual and dropout', inputs: { ...of([37, 131]), residual: { shape: [37, 131] } }, call: run({ dropout: 0.1 }) },
    { name: 'dropout without a residual', inputs: of([21, 67]), call: run({ dropout: 0.5 }) },
    {
      name: 'dropout where only x has a gradient',
      inputs: { x: { shape: [9, 67] }, residual: { shape: [9, 67], gradient: false } },
      call: run({ dropout: 0.3 }),
    },
    {
      name: 'dropout where only the residual has a gradient',
      inputs: { x: { shape: [9, 67], gradient: false }, residual: { shape: [9, 67] } },
      call: run({ dropout: 0.3 }),
    },
    { name: 'dropout of everything', inputs: { ...of([4, 10]), residual: { shape: [4, 10] } }, call: run({ dropout: 1 }) },
    ...[
      ['2048 rows of 512', [2048, 512]],
      ['4096 rows of 512', [4096, 512]],
    ].map(([name, shape]) => ({
      name: name as string,
      inputs: of(shape as number[]),
      call: run(),
      dtypes: [],
      bench: { bytes: 4 * 2 * (shape as number[]).reduce((a, b) => a * b) },
    })),
    {
      name: '4096 rows of 512 with residual and dropout',
      inputs: { ...of([4096, 512]), residual: { shape: [4096, 512] } },
      call: run({ dropout: 0.1 }),
      dtypes: [],
      bench: { bytes: 4 * 4 * 4096 * 512 },
    },
  ]
}

/** Rows around 0, 100, 200 …: E[x²] - E[x]² would lose the spread. */
const farRows = Array.from({ length: 8 * 65 }, (_, i) => Math.floor(i / 65) * 100 + ((i * i * 7) % 13) / 8)
