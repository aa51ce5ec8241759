/** From embeddings to the heads of attention. */
import { linear, qkv, reshape, slice } from '../ops/index.ts'
import type { Tensor } from '../tensor.ts'
import type { AttentionSizes } from './attentionOptions.ts'

/** Weights of the three projections: one matrix with the rows of queries, keys and values in this order, or one for each. */
export interface ProjectionWeights {
  inProjWeight: Tensor | undefined
  qProjWeight: Tensor | undefined
  kProjWeight: Tensor | undefined
  vProjWeight: Tensor | undefined
  /** The biases of all three, in one vector. */
  inProjBias: Tensor | undefined
}

/** [..., heads, headDim] each */
export interface Heads {
  q: Tensor
  k: Tensor
  v: Tensor
}

const rows = (tensor: Tensor, start: number, end: number) =>
  start === 0 && end === tensor.shape[0] ? tensor : slice(tensor, 0, start, end)

type Part = 'q' | 'k' | 'v'

/**
 * Projects query, key and value. Inputs that are the same tensor share one matrix product if their weights are packed: all three in self-attention,
 * key and value in cross-attention. Without `query` only k and v are made (and the other way round).
 */
export function project(
  sizes: AttentionSizes,
  weights: ProjectionWeights,
  inputs: { query?: Tensor; key?: Tensor; value?: Tensor },
): Partial<Heads> {
  const { numHeads, numKVHeads, headDim, queryRows, keyRows } = sizes
  const { inProjWeight, inProjBias } = weights
  const heads = { q: [numHeads, headDim], k: [numKVHeads, headDim], v: [numKVHeads, headDim] } as const
  const start = { q: 0, k: queryRows, v: queryRows + keyRows }
  const end = { q: queryRows, k: queryRows + keyRows, v: queryRows + 2 * keyRows }
  const own = { q: weights.qProjWeight, k: weights.kProjWeight, v: weights.vProjWeight }
  const given: [Part, Tensor | undefined][] = [
    ['q', inputs.query],
    ['k', inputs.key],
    ['v', inputs.value],
  ]

  const result: Partial<Heads> = {}
  let group: Part[] = []
  for (const [index, [part, input]] of given.entries()) {
    if (input === undefined) continue
    group.push(part)
    const next = given[index + 1]
    if (inProjWeight && next && next[1] === input) continue
    const first = group[0] as Part
    const weight = inProjWeight ? rows(inProjWeight, start[first], end[part]) : (own[part] as Tensor)
    const bias = inProjBias && rows(inProjBias, start[first], end[part])
    const made = qkv(input, weight, bias, Object.fromEntries(group.map(each => [each, heads[each]])))
    for (const each of group) result[each] = made[each] as Tensor
    group = []
  }
  return result
}

/** [..., heads, headDim] → [..., embedDim] */
export function mergeHeads(x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor {
  const rows = reshape(x, [...x.shape.slice(0, -2), (x.shape.at(-2) as number) * (x.shape.at(-1) as number)])
  return linear(rows, weight, bias)
}
