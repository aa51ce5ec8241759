/** Attention of one new token to what a cache holds: every key and value is read once, so bandwidth is the limit. */
import { attention, type Tensor, tensor } from '../../lib/index.ts'
import { opRow } from './opRow.ts'
import { type GpuRow, sized } from './row.ts'
import { zipfBatch } from './zipf.ts'

export const title = 'Decode attention'
export const axis = 'keys in the cache'

interface Case {
  readonly name: string
  readonly heads: readonly [queries: number, keys: number, dim: number]
  readonly batch: number
  readonly length: number
}

const LLAMA_8B: Pick<Case, 'name' | 'heads'> = { name: 'Llama-8B', heads: [32, 8, 128] }

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

/** Sequences that have grown to unequal lengths by Zipf's law, in caches of one capacity or in pages. */
function partlyFilled(batch: number, capacity: number, pageSize: number | undefined, small: boolean): GpuRow {
  const pick = sized(small)
  const { name, heads } = LLAMA_8B
  const [b, most] = [pick(batch, 3), pick(capacity, 32)]
  const page = pageSize === undefined ? undefined : pick(pageSize, 8)
  const [h, kv, d] = pick(heads, [heads[0] / heads[1], 1, heads[2]] as const)
  const lengths = zipfBatch(Math.max(1, most / 64), most, b)
  const total = lengths.reduce((sum, length) => sum + length, 0)
  const pages = page === undefined ? 0 : (b * most) / page
  const cache = page === undefined ? [b, most, kv, d] : [pages, page, kv, d]
  const layout = page === undefined ? 'contiguous' : `pages of ${pageSize}`
  return opRow({
    name: `${name} ${heads[0]}/${heads[1]} heads of ${heads[2]}, batch ${batch}, ${capacity / 64} to ${capacity} keys by Zipf's law, ${layout}`,
    part: 'forward',
    bound: 'copy',
    work: { bytes: 2 * d * (2 * total * kv + 2 * b * h) },
    quick: page !== undefined && batch === 64,
    plot: { panel: `unequal lengths, up to ${capacity} keys`, x: `batch ${batch}, ${layout}` },
    twin: { name: 'decoding.partly_filled', args: { lengths, capacity: most, heads: h, kv_heads: kv, dim: d, page: page ?? 0 } },
    inputs: [[b, 1, h, d], cache, cache],
    make(bench) {
      const place = { device: bench.device, dtype: 'i32' } as const
      const cacheLengths = bench.own(tensor(Int32Array.from(lengths), [b], place))
      // Pages lie in no order, as after a while of serving. bench/gpu/torch/decoding.py draws the same.
      const table = Array.from({ length: pages }, (_, i) => (7919 * i + 131) % pages)
      const blockTable = page === undefined ? undefined : bench.own(tensor(Int32Array.from(table), [b, most / page], place))
      return inputs => {
        const [q, k, v] = inputs as [Tensor, Tensor, Tensor]
        return attention(q, k, v, { cacheLengths, blockTable }).output
      }
    },
  })
}

export function rows(small: boolean): GpuRow[] {
  const models = [
    { name: 'GPT-2', heads: [12, 12, 64], lengths: [256, 1024] },
    { name: 'Llama-1B', heads: [32, 8, 64], lengths: [512, 2048, 8192, 32768] },
    { ...LLAMA_8B, lengths: [512, 2048, 8192, 32768] },
  ] as const
  return [
    ...models.flatMap(({ name, heads, lengths }) =>
      [1, 8, 64].flatMap(batch => lengths.map(length => row({ name, heads, batch, length }, small))),
    ),
    ...[8, 64].flatMap(batch => [undefined, 16, 64].map(pageSize => partlyFilled(batch, 8192, pageSize, small))),
  ]
}
