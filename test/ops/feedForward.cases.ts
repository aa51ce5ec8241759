import { activations } from '../../lib/ops/activation.ts'
import { type FeedForwardOptions, feedForward, feedForwardOp } from '../../lib/ops/feedForward.ts'
import { defineCases, type InputSpec, type OpCase } from './cases.ts'

const of = (
  name: string,
  x: number[],
  hidden: number,
  options: FeedForwardOptions,
  more: Partial<OpCase> & { specs?: Record<string, Partial<InputSpec>>; out?: number } = {},
): OpCase => {
  const { specs = {}, out = x[x.length - 1]!, ...rest } = more
  const features = x[x.length - 1]!
  const width = options.gated ? 2 * hidden : hidden
  return {
    name,
    inputs: {
      x: { shape: x, ...specs.x },
      weight1: { shape: [width, features], scale: 0.4, ...specs.weight1 },
      bias1: { shape: [width], ...specs.bias1 },
      weight2: { shape: [out, hidden], scale: 0.4, ...specs.weight2 },
      bias2: { shape: [out], ...specs.bias2 },
    },
    call: t => feedForward(t.x!, t.weight1!, t.bias1, t.weight2!, t.bias2, options),
    ...rest,
  }
}
const fixed = { gradient: false }

export default defineCases(feedForwardOp, [
  ...activations.flatMap(activation =>
    [false, true].flatMap(gated =>
      [0, 0.3].map(dropout =>
        of(`${activation}${gated ? ', gated' : ''}${dropout ? ', dropout' : ''}`, [2, 9, 10], 23, { activation, gated, dropout }),
      ),
    ),
  ),
  // Up to 16 rows of whole 16 bytes have a kernel of their own, which finds gate and up in one block.
  ...[1, 5, 12].flatMap(rows => [
    of(`${rows} aligned rows`, [rows, 16], 24, { activation: 'geluTanh', dropout: 0.3 }),
    of(`${rows} aligned rows, gated`, [rows, 40], 72, { activation: 'silu', gated: true }, { out: 16 }),
    of(`${rows} aligned rows, gated, hidden rows of 21`, [rows, 16], 21, { activation: 'silu', gated: true, dropout: 0.3 }),
  ]),
  of('ragged rows', [33, 12], 31, { activation: 'gelu' }),
  of('another width out', [7, 12], 20, { activation: 'silu', gated: true }, { out: 5 }),
  of('one row', [1, 12], 20, {}),
  of('no rows', [0, 12], 20, { dropout: 0.5 }),
  of('no hidden features', [3, 4], 0, {}),
  of('nothing to sum', [3, 0], 5, { activation: 'gelu' }, { out: 4 }),
  of('everything dropped', [3, 4], 6, { dropout: 1 }),
  of('more rows than one pass takes', [1030, 3], 4, { activation: 'gelu', dropout: 0.1 }),
  of('a hidden row longer than a tile', [3, 4], 1030, { activation: 'relu2', dropout: 0.2 }),
  {
    ...of('no biases', [6, 10], 14, { activation: 'silu' }),
    inputs: { x: { shape: [6, 10] }, weight1: { shape: [14, 10] }, weight2: { shape: [10, 14] } },
  },
  of('f32 biases', [6, 10], 14, {}, { specs: { bias1: { dtype: 'f32', gradient: true }, bias2: { dtype: 'f32', gradient: true } } }),
  of('x fixed', [6, 10], 14, { activation: 'gelu' }, { specs: { x: fixed } }),
  of(
    'only x wants a gradient',
    [6, 10],
    14,
    { activation: 'gelu' },
    {
      specs: { weight1: fixed, bias1: fixed, weight2: fixed, bias2: fixed },
    },
  ),
  of('only bias2 wants a gradient', [6, 10], 14, { dropout: 0.1 }, { specs: { x: fixed, weight1: fixed, bias1: fixed, weight2: fixed } }),
  of(
    'no gradient',
    [600, 6],
    9,
    { activation: 'geluTanh', gated: true, dropout: 0.1 },
    {
      specs: { x: fixed, weight1: fixed, bias1: fixed, weight2: fixed, bias2: fixed },
      noGradient: 'the path that stores nothing is the one compared',
    },
  ),
  of(
    'no gradient, without a gate',
    [600, 6],
    9,
    { activation: 'gelu' },
    {
      specs: { x: fixed, weight1: fixed, bias1: fixed, weight2: fixed, bias2: fixed },
      noGradient: 'the path that stores nothing is the one compared',
    },
  ),
  of('halves of a tile that lie side by side', [20, 16], 32, { activation: 'gelu', gated: true }),
  of('long sums over few tiles', [20, 1088], 24, { activation: 'gelu', gated: true, dropout: 0.2 }, { specs: { weight1: { scale: 0.1 } } }),
  of('large tiles', [250, 32], 120, { activation: 'silu', gated: true, dropout: 0.1 }),
  of('wide', [20, 64], 256, { activation: 'gelu', dropout: 0.1 }, { bench: { flops: 4 * 20 * 64 * 256 } }),
])
