import { matmul, matmulOp } from '../../lib/ops/matmul.ts'
import { broadcastTo, permute, slice } from '../../lib/ops/view.ts'
import { defineCases, type OpCase } from './cases.ts'

const of = (name: string, a: number[], b: number[], more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { a: { shape: a }, b: { shape: b } },
  call: t => matmul(t.a!, t.b!),
  ...more,
})

export default defineCases(matmulOp, [
  of('matrices', [17, 33], [33, 9]),
  of('a batch', [5, 7, 11], [5, 11, 3]),
  of('two batch dimensions', [2, 3, 4, 9], [2, 3, 9, 6]),
  of('one b for all', [2, 3, 4, 9], [9, 6]),
  of('one b of rank 3 for all', [4, 5, 9], [1, 9, 6]),
  of('single rows with one b', [6, 1, 10], [10, 8]),
  of('one a for all', [7, 5], [3, 5, 4]),
  of('both repeat', [2, 1, 4, 5], [3, 5, 6]),
  of('alpha', [3, 7, 8], [3, 8, 5], { call: t => matmul(t.a!, t.b!, { alpha: -0.25 }) }),
  of('inner size 1', [2, 5, 1], [2, 1, 4]),
  of('one column', [2, 5, 6], [2, 6, 1]),
  of('no rows', [2, 0, 6], [2, 6, 3]),
  of('no batch', [0, 4, 6], [0, 6, 3]),
  of('nothing to sum', [2, 4, 0], [2, 0, 3]),
  of('long sums', [3, 700], [700, 5]),
  of('vector and matrix', [7], [7, 4], {
    reference: (F, { a, b }) => ({ c: F.matmul(F.reshape(a!, [1, 7]), b!) }),
  }),
  of('batch and vector', [3, 4, 7], [7], {
    reference: (F, { a, b }) => ({ c: F.matmul(a!, F.reshape(b!, [7, 1])) }),
  }),
  of('a transposed', [3, 6, 8], [3, 8, 5], {
    inputs: { a: { shape: [3, 6, 8], transposed: true }, b: { shape: [3, 8, 5] } },
    reference: (F, { a, b }) => ({ c: F.matmul(a!, b!) }),
  }),
  of('both transposed, one b for all', [3, 6, 8], [8, 5], {
    inputs: { a: { shape: [3, 6, 8], transposed: true }, b: { shape: [8, 5], transposed: true } },
    reference: (F, { a, b }) => ({ c: F.matmul(a!, b!) }),
  }),
  of('heads as strided views', [2, 5, 3, 4], [2, 6, 3, 4], {
    call: t => matmul(permute(t.a!, [0, 2, 1, 3]), permute(t.b!, [0, 2, 3, 1])),
    reference: (F, { a, b }) => ({
      c: F.matmul(F.transpose(a!, 1, 2), F.transpose(F.transpose(b!, 1, 2), 2, 3)),
    }),
  }),
  of('no unit stride', [5, 4, 3], [3, 7], {
    call: t => matmul(permute(t.a!, [2, 0, 1]), slice(t.b!, 0, 0, 3).transpose().slice(0, 0, 4).transpose()),
    inputs: { a: { shape: [5, 3, 4] }, b: { shape: [3, 7] } },
    reference: (F, { a, b }) => ({
      c: F.matmul(F.transpose(F.transpose(a!, 1, 2), 0, 1), F.slice(b!, 1, 0, 4)),
    }),
  }),
  of('a repeated by a view', [1, 6], [6, 5], {
    call: t => matmul(broadcastTo(t.a!, [4, 6]), t.b!),
    reference: (F, { a, b }) => ({ c: F.matmul(F.broadcast(a!, [4, 6]), b!) }),
  }),
  // Tiles of the GPU's kernels, in each of the four layouts.
  of('whole tiles', [64, 32], [32, 64]),
  of('an aligned batch', [3, 20, 16], [3, 16, 24]),
  of('a batch of long sums', [2, 10, 1088], [2, 1088, 16]),
  of('large tiles', [150, 40], [40, 248]),
  ...[
    [true, false],
    [false, true],
    [true, true],
  ].map(([a, b]) =>
    of(`large tiles${a ? ', a transposed' : ''}${b ? ', b transposed' : ''}`, [152, 40], [40, 248], {
      inputs: { a: { shape: [152, 40], transposed: a! }, b: { shape: [40, 248], transposed: b! } },
      reference: (F, { a, b }) => ({ c: F.matmul(a!, b!) }),
    }),
  ),
  // Small products of a batch, whole vectors wide: the CPU multiplies them without packing.
  of('a batch of small products', [5, 17, 24], [5, 24, 48]),
  of('a batch of small products, alpha', [3, 6, 32], [3, 32, 16], { call: t => matmul(t.a!, t.b!, { alpha: -0.25 }) }),
  ...[
    [true, false],
    [false, true],
    [true, true],
  ].map(([a, b]) =>
    of(`a batch of small products${a ? ', a transposed' : ''}${b ? ', b transposed' : ''}`, [3, 19, 48], [3, 48, 80], {
      inputs: { a: { shape: [3, 19, 48], transposed: a! }, b: { shape: [3, 48, 80], transposed: b! } },
      reference: (F, { a, b }) => ({ c: F.matmul(a!, b!) }),
    }),
  ),
  // Up to 16 rows have a kernel of their own where b's columns are contiguous.
  ...[1, 6, 11].map(rows =>
    of(`a batch of ${rows} rows, b transposed`, [2, 3, rows, 24], [2, 3, 24, 11], {
      inputs: { a: { shape: [2, 3, rows, 24] }, b: { shape: [2, 3, 24, 11], transposed: true } },
      call: t => matmul(t.a!, t.b!, { alpha: 0.5 }),
      reference: (F, { a, b }) => ({ c: F.mul(F.matmul(a!, b!), 0.5) }),
    }),
  ),
  of('few rows, one b for all, transposed', [3, 2, 4, 16], [2, 16, 9], {
    inputs: { a: { shape: [3, 2, 4, 16] }, b: { shape: [2, 16, 9], transposed: true } },
    reference: (F, { a, b }) => ({ c: F.matmul(a!, b!) }),
  }),
  of('few rows, part of rows of 16 bytes', [5, 24], [24, 9], {
    inputs: { a: { shape: [5, 24] }, b: { shape: [24, 9], transposed: true } },
    call: t => matmul(slice(t.a!, 1, 0, 19), slice(t.b!, 0, 0, 19)),
    reference: (F, { a, b }) => ({ c: F.matmul(F.slice(a!, 1, 0, 19), F.slice(b!, 0, 0, 19)) }),
  }),
  of('infinities in few rows, b transposed', [2, 8], [8, 2], {
    inputs: {
      a: {
        shape: [2, 8],
        fill: { values: [Number.POSITIVE_INFINITY, 1.1, -2.3, 0.7, Number.NEGATIVE_INFINITY, 0.001, 3, 5, ...Array(8).fill(0.3)] },
      },
      b: {
        shape: [8, 2],
        transposed: true,
        fill: { values: [0.3, 1.7, -0.11, 5.3, 2.9, 0.013, 1, 2, -0.7, 1.1, 0.2, 0.4, 0.9, Number.POSITIVE_INFINITY, 2, 3] },
      },
    },
    reference: (F, { a, b }) => ({ c: F.matmul(a!, b!) }),
    noGradient: 'it is NaN or infinite throughout',
  }),
  of('infinities', [2, 3], [3, 2], {
    inputs: {
      a: { shape: [2, 3], fill: { values: [Number.POSITIVE_INFINITY, 1.1, -2.3, 0.7, Number.NEGATIVE_INFINITY, 0.001] } },
      b: { shape: [3, 2], fill: { values: [0.3, 1.7, -0.11, 5.3, 2.9, 0.013] } },
    },
    noGradient: 'it is NaN or infinite throughout',
  }),
  of('many small products', [70, 6, 5], [70, 5, 6], { bench: { flops: 2 * 70 * 6 * 5 * 6 } }),
])
