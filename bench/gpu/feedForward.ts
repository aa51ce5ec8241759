/** The feed-forward block as one op, against two products with an activation between, eager and compiled. */
import { feedForward, type Tensor } from '../../lib/index.ts'
import { opRow, type Part } from './opRow.ts'
import { type GpuRow, sized } from './row.ts'

export const title = 'Feed-forward block'
export const axis = ''

interface Model {
  readonly name: string
  readonly tokens: number
  readonly width: number
  readonly hidden: number
  readonly activation: 'gelu' | 'geluTanh' | 'silu' | 'relu'
  readonly gated: boolean
  readonly quick?: boolean
}

const models: readonly Model[] = [
  { name: 'Transformer base', tokens: 16384, width: 512, hidden: 2048, activation: 'relu', gated: false },
  { name: 'GPT-2', tokens: 16384, width: 768, hidden: 3072, activation: 'geluTanh', gated: false, quick: true },
  { name: 'BERT', tokens: 16384, width: 768, hidden: 3072, activation: 'gelu', gated: false },
  { name: 'Llama-1B', tokens: 8192, width: 2048, hidden: 8192, activation: 'silu', gated: true },
  { name: 'Llama-8B', tokens: 8192, width: 4096, hidden: 14336, activation: 'silu', gated: true },
]

function row(model: Model, part: Part, small: boolean): GpuRow {
  const pick = sized(small)
  const { activation, gated, name, tokens, width, hidden } = model
  const [n, c, f] = [pick(tokens, 96), pick(width, 64), pick(hidden, 96)]
  const rowsIn = gated ? 2 * f : f
  return opRow({
    name: `${name} ${tokens}×${width}→${hidden}→${width} ${activation}${gated ? ', gated' : ''}, ${part === 'both' ? 'forward and backward' : part}`,
    part,
    bound: 'matrix',
    work: { flops: 2 * n * c * (rowsIn + f) * (part === 'both' ? 3 : 1) },
    quick: model.quick ?? false,
    plot: { panel: part === 'both' ? 'forward and backward' : part, x: name },
    twin: { name: 'feed_forward.block', args: { n, c, f, activation, gated }, compiles: true },
    inputs: [[n, c]],
    parameters: gated
      ? [
          [rowsIn, c],
          [c, f],
        ]
      : [[rowsIn, c], [rowsIn], [c, f], [c]],
    make:
      () =>
      ([x], parameters) => {
        const [weight1, bias1, weight2, bias2] = (gated ? [parameters[0], undefined, parameters[1], undefined] : parameters) as [
          Tensor,
          Tensor | undefined,
          Tensor,
          Tensor | undefined,
        ]
        return feedForward(x as Tensor, weight1, bias1, weight2, bias2, { activation, gated })
      },
  })
}

export function rows(small: boolean): GpuRow[] {
  return models.flatMap(model => (['forward', 'both'] as const).map(part => row(model, part, small)))
}
