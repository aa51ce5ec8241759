import { Mask } from '../../lib/mask.ts'
import { attention } from '../../lib/ops/attention.ts'
import { type AttentionWeightsOptions, attentionWeights, weightsOp } from '../../lib/ops/attentionWeights.ts'
import { Sequences } from '../../lib/sequences.ts'
import { defineCases, type InputSpec, type Inputs, type OpCase } from './cases.ts'

type Options = Omit<AttentionWeightsOptions, 'mask' | 'sequences'>

function of(
  name: string,
  [tq, tk, heads, kvHeads, dim]: [number, number, number, number, number],
  {
    mask,
    lengths,
    batch = 2,
    ...options
  }: Options & { mask?: (t: Inputs) => Mask; lengths?: { q: number[]; k: number[] }; batch?: number },
  inputs: Record<string, InputSpec> = {},
): OpCase {
  return {
    name,
    inputs: {
      q: { shape: lengths ? [tq, heads, dim] : [batch, tq, heads, dim] },
      k: { shape: lengths ? [tk, kvHeads, dim] : [batch, tk, kvHeads, dim] },
      ...inputs,
    },
    call: t => {
      const { device } = t.q!
      const sequences = lengths && { q: Sequences.of(lengths.q, device), k: Sequences.of(lengths.k, device) }
      const all = { ...options, sequences, mask: mask?.(t) }
      attentionWeights(t.q!, t.k!, attention(t.q!, t.k!, t.k!, all).logSumExp, all)
    },
  }
}

export default defineCases(weightsOp, [
  of('plain', [5, 7, 2, 2, 8], {}),
  of('averaged', [5, 7, 4, 2, 8], { average: true }),
  of('averaged over one head', [5, 7, 1, 1, 8], { average: true }),
  of('one query', [1, 70, 2, 1, 8], {}),
  of('several blocks', [131, 140, 2, 2, 5], { batch: 1 }),
  of('causal, several blocks', [131, 140, 2, 1, 5], { batch: 1, average: true, mask: () => Mask.causal() }),
  of('rows that see nothing', [70, 9, 2, 2, 8], { mask: () => Mask.causal(), scale: 0.5 }),
  of(
    'all masks',
    [9, 12, 2, 2, 8],
    {
      extraKeys: 1,
      mask: t =>
        Mask.window(4, 2)
          .and(Mask.keyLengths([11, 3]))
          .and(Mask.keep(t.keep!))
          .and(Mask.bias(t.bias!)),
    },
    {
      keep: { shape: [2, 1, 9, 11], dtype: 'u8', fill: { bernoulli: 0.7 }, gradient: false },
      bias: { shape: [2, 9, 1], dtype: 'f32' },
    },
  ),
  of('ragged', [14, 19, 2, 2, 8], { lengths: { q: [5, 0, 9], k: [7, 4, 8] }, mask: () => Mask.causal() }),
  of('ragged, averaged', [14, 19, 4, 2, 8], { lengths: { q: [5, 0, 9], k: [7, 4, 8] }, average: true, mask: () => Mask.window(1, 1) }),
  of('no sequences', [5, 7, 2, 2, 8], { batch: 0 }),
  of('no keys', [5, 0, 2, 2, 8], {}),
  of('no queries', [0, 7, 2, 2, 8], {}),
])
