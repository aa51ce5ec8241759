/** The projections of attention in one product, against addmm and split. */
import { qkv, rotaryTables, type Tensor } from '../../lib/index.ts'
import { opRow, type Part } from './opRow.ts'
import { type GpuRow, sized } from './row.ts'

export const title = 'Query, key and value projections'
export const axis = ''

interface Model {
  readonly name: string
  readonly batch: number
  readonly tokens: number
  readonly width: number
  readonly heads: readonly [queries: number, keys: number, dim: number]
  readonly bias: boolean
  readonly quick?: boolean
}

const models: readonly Model[] = [
  { name: 'GPT-2 and BERT', batch: 16, tokens: 1024, width: 768, heads: [12, 12, 64], bias: true, quick: true },
  { name: 'Llama-1B', batch: 4, tokens: 2048, width: 2048, heads: [32, 8, 64], bias: false },
  { name: 'Llama-8B', batch: 4, tokens: 2048, width: 4096, heads: [32, 8, 128], bias: false },
]

/** Llama 3's base of the angles. */
const BASE = 500_000

function row(model: Model, part: Part, rotary: boolean, small: boolean): GpuRow {
  const pick = sized(small)
  const [queries, keys, dim] = pick(model.heads, [model.heads[0] / model.heads[1], 1, model.heads[2]] as const)
  const [batch, tokens, c] = [pick(model.batch, 2), pick(model.tokens, 48), pick(model.width, 64)]
  const f = (queries + 2 * keys) * dim
  return opRow({
    name: `${model.name} ${model.batch}×${model.tokens}×${model.width}→${model.heads[0]}+2×${model.heads[1]} heads of ${dim}${rotary ? ', rotary' : ''}, ${part}`,
    part,
    bound: 'matrix',
    work: { flops: 2 * batch * tokens * c * f * (part === 'backward' ? 2 : 1) },
    quick: model.quick ?? false,
    plot: { panel: part, x: `${model.name}${rotary ? ', rotary' : ''}` },
    twin: {
      name: 'qkv.projections',
      args: { batch, tokens, c, queries, keys, dim, bias: model.bias, rotary: rotary ? BASE : 0 },
      compiles: rotary,
    },
    inputs: [[batch, tokens, c]],
    parameters: model.bias ? [[f, c], [f]] : [[f, c]],
    packedGradients: true,
    make(bench) {
      const heads = { q: [queries, dim], k: [keys, dim], v: [keys, dim] } as const
      const angles = rotary ? rotaryTables({ dim, length: tokens, base: BASE, device: bench.device }) : undefined
      for (const table of angles ? [angles.cosines, angles.sines] : []) bench.own(table)
      return ([x], [weight, bias]) => {
        const { q, k, v } = qkv(x as Tensor, weight as Tensor, bias, heads, { rotary: angles })
        return [q, k, v]
      }
    },
  })
}

export function rows(small: boolean): GpuRow[] {
  const parts = ['forward', 'backward'] as const
  return models.flatMap(model => [
    ...parts.map(part => row(model, part, false, small)),
    // Learned positions in the other models.
    ...(model.name.startsWith('Llama') ? parts.map(part => row(model, part, true, small)) : []),
  ])
}
