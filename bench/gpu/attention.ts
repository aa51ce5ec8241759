/** Attention at 16k tokens a batch and 2048 features, so that every length does work of one kind; against each of PyTorch's backends. */
import { attention, Mask, type Tensor } from '../../lib/index.ts'
import { opRow } from './opRow.ts'
import { type GpuRow, sized } from './row.ts'

export const title = 'Attention'
export const axis = 'tokens in a sequence'

const TOKENS = 16384
const FEATURES = 2048

interface Case {
  readonly tokens: number
  readonly dim: number
  readonly causal: boolean
  /** Query heads that share a key head. */
  readonly group?: number
  readonly dropout?: number
  readonly part: 'forward' | 'backward'
}

function row(test: Case, small: boolean): GpuRow {
  const { tokens, dim, causal, group = 1, dropout = 0, part } = test
  const pick = sized(small)
  const length = pick(tokens, 16 + tokens / 128)
  const batch = pick(TOKENS / tokens, tokens <= 1024 ? 2 : 1)
  const heads = pick(FEATURES / dim, group)
  const q = [batch, length, heads, dim]
  const kv = [batch, length, heads / group, dim]
  const kind = `${causal ? 'causal' : 'full'}${group > 1 ? `, ${FEATURES / dim}/${FEATURES / dim / group} heads` : ''}${dropout > 0 ? ', dropout' : ''}`
  return opRow({
    name: `${TOKENS / tokens}×${tokens}, heads of ${dim}, ${kind}, ${part}`,
    part,
    bound: 'matrix',
    // Two products forward, five backward, half of each where later keys are hidden.
    work: { flops: ((part === 'forward' ? 4 : 10) * batch * heads * dim * length ** 2) / (causal ? 2 : 1) },
    quick: dim === 128 && causal && tokens === 4096 && group === 1 && dropout === 0,
    plot: { panel: `${part}, heads of ${dim}, ${kind}`, x: tokens },
    twin: {
      name: 'attention.dense',
      args: { batch, tokens: length, heads, kv_heads: heads / group, dim, causal, dropout },
    },
    random: dropout > 0,
    inputs: [q, kv, kv],
    make: () => inputs => {
      const [query, key, value] = inputs as [Tensor, Tensor, Tensor]
      return attention(query, key, value, { dropout, ...(causal ? { mask: Mask.causal() } : {}) }).output
    },
  })
}

export function rows(small: boolean): GpuRow[] {
  const lengths = [512, 1024, 2048, 4096, 8192, 16384]
  const parts = ['forward', 'backward'] as const
  const dense = parts.flatMap(part =>
    [64, 128, 256].flatMap(dim => [true, false].flatMap(causal => lengths.map(tokens => ({ tokens, dim, causal, part })))),
  )
  const grouped = parts.flatMap(part => [2048, 8192].map(tokens => ({ tokens, dim: 128, causal: true, group: 4, part })))
  const dropped = parts.flatMap(part =>
    [64, 128].flatMap(dim => [512, 2048].map(tokens => ({ tokens, dim, causal: false, dropout: 0.1, part }))),
  )
  return [...dense, ...grouped, ...dropped].map(each => row(each, small))
}
