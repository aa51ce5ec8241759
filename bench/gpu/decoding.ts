/** Attention of one new token to what a cache holds: every key and value is read once, so bandwidth is the limit. */
import { attention, type Tensor } from '../../lib/index.ts'
import { opRow } from './opRow.ts'
import { type GpuRow, sized } from './row.ts'

export const title = 'Decode attention'
export const axis = 'keys in the cache'

interface Case {
  readonly name: string
  readonly heads: readonly [queries: number, keys: number, dim: number]
  readonly batch: number
  readonly length: number
}

function row({ name, heads, batch, length }: Case, small: boolean): GpuRow {
  const pick = sized(small)
  const [b, keys] = [pick(batch, Math.min(batch, 2)), pick(length, 16 + length / 128)]
  const [h, kv, d] = pick(heads, [heads[0] / heads[1], 1, heads[2]] as const)
  return opRow({
    name: `${name} ${heads[0]}/${heads[1]} heads of ${heads[2]}, batch ${batch}, ${length} keys`,
    part: 'forward',
    bound: 'copy',
    work: { bytes: 2 * b * d * (2 * keys * kv + 2 * h) },
    quick: name === 'Llama-8B' && batch !== 8 && length === 8192,
    plot: { panel: `${name}, batch ${batch}`, x: length },
    twin: { name: 'decoding.full_cache', args: { batch: b, length: keys, heads: h, kv_heads: kv, dim: d } },
    inputs: [
      [b, 1, h, d],
      [b, keys, kv, d],
      [b, keys, kv, d],
    ],
    make: () => inputs => {
      const [q, k, v] = inputs as [Tensor, Tensor, Tensor]
      return attention(q, k, v).output
    },
  })
}

export function rows(small: boolean): GpuRow[] {
  const models = [
    { name: 'GPT-2', heads: [12, 12, 64], lengths: [256, 1024] },
    { name: 'Llama-1B', heads: [32, 8, 64], lengths: [512, 2048, 8192, 32768] },
    { name: 'Llama-8B', heads: [32, 8, 128], lengths: [512, 2048, 8192, 32768] },
  ] as const
  return models.flatMap(({ name, heads, lengths }) =>
    [1, 8, 64].flatMap(batch => lengths.map(length => row({ name, heads, batch, length }, small))),
  )
}
