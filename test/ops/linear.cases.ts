import { type Activation, activations } from '../../lib/ops/activation.ts'
import { linear, linearOp, linearReference } from '../../lib/ops/linear.ts'
import { slice } from '../../lib/ops/view.ts'
import { defineCases, type Inputs, type OpCase } from './cases.ts'

const shapes: [string, number[], number][] = [
  ['rows', [17, 33], 29],
  ['dense', [3, 5, 16], 24],
  ['one row', [1, 40], 7],
  ['a vector', [12], 5],
  ['no rows', [0, 8], 4],
  ['nothing to sum', [4, 0], 3],
  ['no features', [4, 6], 0],
  ['many rows', [301, 20], 11],
]
const of = (name: string, x: number[], features: number, more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { x: { shape: x }, weight: { shape: [features, x[x.length - 1]!] }, bias: { shape: [features] } },
  call: t => linear(t.x!, t.weight!, t.bias),
  ...more,
})
const withActivation = (activation: Activation, residual: boolean) => (t: Inputs) =>
  linear(t.x!, t.weight!, t.bias, residual ? { activation, residual: t.residual } : { activation })

export default defineCases(linearOp, [
  ...shapes.map(([name, x, features]) => of(name, x, features)),
  { ...of('no bias', [9, 13], 10), inputs: { x: { shape: [9, 13] }, weight: { shape: [10, 13] } } },
  ...activations.flatMap(activation =>
    [false, true].map(residual => ({
      name: `${activation}${residual ? ' and a residual' : ''}`,
      inputs: {
        x: { shape: [2, 9, 19] },
        weight: { shape: [21, 19], scale: 0.4 },
        bias: { shape: [21] },
        ...(residual ? { residual: { shape: [2, 9, 21] } } : {}),
      },
      call: withActivation(activation, residual),
    })),
  ),
  of('an f32 bias, relu', [11, 8], 6, {
    inputs: { x: { shape: [11, 8] }, weight: { shape: [6, 8] }, bias: { shape: [6], dtype: 'f32', gradient: true } },
    call: withActivation('relu', false),
  }),
  of('gelu, only the bias wants a gradient', [11, 8], 6, {
    inputs: { x: { shape: [11, 8], gradient: false }, weight: { shape: [6, 8], gradient: false }, bias: { shape: [6] } },
    call: withActivation('gelu', false),
  }),
  of('silu, only the residual wants a gradient', [11, 8], 6, {
    inputs: {
      x: { shape: [11, 8], gradient: false },
      weight: { shape: [6, 8], gradient: false },
      bias: { shape: [6], gradient: false },
      residual: { shape: [11, 6] },
    },
    call: withActivation('silu', true),
  }),
  of('x and weight transposed', [9, 13], 10, {
    inputs: { x: { shape: [9, 13], transposed: true }, weight: { shape: [10, 13], transposed: true }, bias: { shape: [10] } },
    reference: (F, { x, weight, bias }) => ({ y: linearReference(F, x!, weight!, bias) }),
  }),
  // Tiles of the GPU's kernels are 64 or 128 wide; rows of 16 bytes are copied whole, others by elements.
  of('an edge of a tile less one, aligned', [63, 32], 56),
  of('whole tiles', [64, 32], 64, { call: withActivation('gelu', false) }),
  of('beyond a tile', [65, 40], 72, { call: withActivation('silu', false) }),
  of('large tiles', [130, 16], 200, { call: withActivation('relu', false) }),
  of('long sums over few tiles', [17, 1088], 24, {
    inputs: { x: { shape: [17, 1088] }, weight: { shape: [24, 1088], scale: 0.1 }, bias: { shape: [24] }, residual: { shape: [17, 24] } },
    call: withActivation('gelu', true),
  }),
  of('gradients that are long sums', [1100, 16], 24),
  of('a bias at an odd address', [9, 16], 24, {
    inputs: { x: { shape: [9, 16] }, weight: { shape: [24, 16] }, bias: { shape: [25] } },
    call: t => linear(t.x!, t.weight!, slice(t.bias!, 0, 1, 25)),
    reference: (F, { x, weight, bias }) => ({ y: linearReference(F, x!, weight!, F.slice(bias!, 0, 1, 25)) }),
  }),
  // Up to 16 rows of whole 16 bytes have a kernel of their own: eight rows or sixteen, blocks of eight columns, chunks of 64 bytes of k.
  ...(
    [
      [1, 8, 7],
      [1, 40, 8],
      [2, 32, 10],
      [7, 40, 12],
      [8, 136, 21],
      [9, 136, 8],
      [15, 72, 30],
      [16, 264, 33],
      [17, 32, 24],
    ] as const
  ).map(([rows, k, features]) => of(`${rows} aligned rows of ${k} to ${features}`, [rows, k], features)),
  ...[4, 13].flatMap(rows => [
    of(`${rows} rows, columns two times eight in a block`, [rows, 16], 521, { call: withActivation('gelu', false) }),
    of(`${rows} rows, a residual at an odd address`, [rows, 24], 18, {
      inputs: { x: { shape: [rows, 24] }, weight: { shape: [18, 24] }, residual: { shape: [rows, 18] } },
      call: t => linear(t.x!, t.weight!, undefined, { activation: 'relu', residual: t.residual }),
    }),
    of(`${rows} rows, longer sums than are loaded ahead`, [rows, 2304], 72, {
      inputs: { x: { shape: [rows, 2304] }, weight: { shape: [72, 2304], scale: 0.05 }, bias: { shape: [72] } },
      noGradient: 'its products have more rows',
    }),
  ]),
  of('as wide as a feed-forward layer', [33, 512], 260, {
    bench: { flops: 2 * 33 * 512 * 260 },
    skip: { device: /^simt/, reason: 'seconds on fibers: large tiles and long sums run the same kernels' },
  }),
])
