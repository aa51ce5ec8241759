/** A decoder-only model's step for one new token of each sequence, from ops: what a server captures once and replays for every token. */
import {
  argmax,
  attention,
  embedding,
  feedForward,
  layerNormResidual,
  linear,
  qkv,
  rmsNormResidual,
  rotaryTables,
  type Tensor,
  tensor,
} from '../../lib/index.ts'
import { reshape } from '../../lib/ops/index.ts'
import type { Bench } from './bench.ts'

export interface DecoderSizes {
  readonly layers: number
  readonly width: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly hidden: number
  readonly vocabulary: number
  /** GPT-2: learned positions, LayerNorm, biases, GELU. Llama: RMSNorm, no biases, a gated block with SiLU. */
  readonly kind: 'gpt2' | 'llama'
}

/** Numbers that every token reads: the matrices. A tied table is read once, as the output projection. */
export function matrixParameters({ layers, width, heads, kvHeads, headDim, hidden, vocabulary, kind }: DecoderSizes): number {
  const projections = (2 * heads + 2 * kvHeads) * headDim * width
  return layers * (projections + (kind === 'llama' ? 3 : 2) * width * hidden) + vocabulary * width
}

interface Layer {
  readonly norms: readonly (readonly [weight: Tensor, bias: Tensor | undefined])[]
  readonly projection: readonly [weight: Tensor, bias: Tensor | undefined]
  readonly out: readonly [weight: Tensor, bias: Tensor | undefined]
  readonly up: readonly [weight: Tensor, bias: Tensor | undefined]
  readonly down: readonly [weight: Tensor, bias: Tensor | undefined]
  /** [B, length, Hkv, D] */
  readonly keys: Tensor
  readonly values: Tensor
}

/** A maker of the next ids [B] of the tokens `ids` [B] at the last of `length` places: the cache is full but for theirs. */
export function decoder(
  bench: Bench,
  sizes: DecoderSizes,
  batch: number,
  length: number,
): (ids: Tensor) => { ids: Tensor; logits: Tensor } {
  const { width, heads, kvHeads, headDim, hidden, vocabulary, kind } = sizes
  const llama = kind === 'llama'
  const matrix = (rows: number, columns: number) =>
    [bench.random([rows, columns], columns ** -0.5), llama ? undefined : bench.random([rows], 0.02)] as const
  const norm = () => [bench.random([width]), llama ? undefined : bench.random([width], 0.02)] as const
  const table = bench.random([vocabulary, width], 0.02)
  const positions = llama ? undefined : bench.random([length, width], 0.02)
  const own = (values: Int32Array) => bench.own(tensor(values, [batch], { device: bench.device, dtype: 'i32' }))
  const positionIds = own(new Int32Array(batch).fill(length - 1))
  const cacheLengths = own(new Int32Array(batch).fill(length))
  const slots = own(Int32Array.from({ length: batch }, (_, b) => (b + 1) * length - 1))
  // 500,000 is Llama 3's base.
  const angles = llama ? rotaryTables({ dim: headDim, length, base: 500_000, device: bench.device }) : undefined
  const rotary = angles && { cosines: bench.own(angles.cosines), sines: bench.own(angles.sines), positionIds }
  const layers: Layer[] = Array.from({ length: sizes.layers }, () => ({
    norms: [norm(), norm()],
    projection: matrix((heads + 2 * kvHeads) * headDim, width),
    out: matrix(width, heads * headDim),
    up: matrix(llama ? 2 * hidden : hidden, width),
    down: matrix(width, hidden),
    keys: bench.random([batch, length, kvHeads, headDim]),
    values: bench.random([batch, length, kvHeads, headDim]),
  }))
  const finalNorm = norm()
  const normalize = (x: Tensor, [weight, bias]: Layer['norms'][0], residual: Tensor | undefined) =>
    llama ? rmsNormResidual(x, weight, { eps: 1e-5, residual }) : layerNormResidual(x, weight, bias, { residual })
  const projections = { q: [heads, headDim], k: [kvHeads, headDim], v: [kvHeads, headDim] } as const

  return ids => {
    let x: Tensor = embedding(table, ids, positions ? { positions, positionIds } : {}) // [B, C]
    let residual: Tensor | undefined
    for (const layer of layers) {
      const before = normalize(x, layer.norms[0] as Layer['norms'][0], residual)
      const cache = { k: layer.keys, v: layer.values, slots }
      const { q } = qkv(before.y, layer.projection[0], layer.projection[1], projections, { rotary, cache }) // [B, H, D]
      const { output } = attention(reshape(q, [batch, 1, heads, headDim]), layer.keys, layer.values, { cacheLengths }) // [B, 1, H, D]
      const attended = linear(reshape(output, [batch, heads * headDim]), layer.out[0], layer.out[1])
      const after = normalize(attended, layer.norms[1] as Layer['norms'][0], before.sum)
      x = feedForward(after.y, layer.up[0], layer.up[1], layer.down[0], layer.down[1], {
        activation: llama ? 'silu' : 'geluTanh',
        gated: llama,
      })
      residual = after.sum
    }
    const logits = linear(normalize(x, finalNorm, residual).y, table) // [B, V]
    return { ids: argmax(logits), logits }
  }
}
