/** Keys and values that are appended to every sequence: `addBiasKV`, then `addZeroAttn`. */
import { broadcastTo, concat, gatherRows, reshape, zeros } from '../ops/index.ts'
import { Sequences } from '../sequences.ts'
import { type Tensor, tensor } from '../tensor.ts'

export interface ExtraKeys {
  /** [1, 1, numKVHeads · headDim] */
  biasK: Tensor | undefined
  biasV: Tensor | undefined
  zero: boolean
}

/** k and v [B, Tk, Hkv, D], or packed [Nk, Hkv, D] with their sequences, made longer by the extra keys. */
export function appendExtraKeys(k: Tensor, v: Tensor, extra: ExtraKeys, sequences: Sequences | undefined) {
  if (sequences === undefined) return { k: appendDense(k, extra.biasK, extra.zero), v: appendDense(v, extra.biasV, extra.zero), sequences }
  const added = (extra.biasK ? 1 : 0) + (extra.zero ? 1 : 0)
  const longer = Sequences.of(
    sequences.lengths.map(length => length + added),
    k.device,
  )
  // Each sequence's own rows, then the rows behind the last one: bias and zero are there once, for all.
  const places = new Int32Array(longer.total)
  let from = 0
  let to = 0
  for (const length of sequences.lengths) {
    for (let i = 0; i < length; i++) places[to++] = from++
    for (let i = 0; i < added; i++) places[to++] = sequences.total + i
  }
  const index = tensor(places, [longer.total], { device: k.device })
  return { k: appendPacked(k, extra.biasK, extra.zero, index), v: appendPacked(v, extra.biasV, extra.zero, index), sequences: longer }
}

function appendDense(x: Tensor, bias: Tensor | undefined, zero: boolean): Tensor {
  const [batch, , heads, width] = x.shape as [number, number, number, number]
  const one = [batch, 1, heads, width]
  return concat(
    [
      x,
      ...(bias ? [broadcastTo(reshape(bias, [1, 1, heads, width]), one)] : []), // [B, 1, Hkv, D]
      ...(zero ? [zeros(one, { device: x.device, dtype: x.dtype })] : []),
    ],
    1,
  ) // [B, Tk + extra, Hkv, D]
}

function appendPacked(x: Tensor, bias: Tensor | undefined, zero: boolean, index: Tensor): Tensor {
  const row = [1, x.shape[1] as number, x.shape[2] as number]
  const rows = concat([x, ...(bias ? [reshape(bias, row)] : []), ...(zero ? [zeros(row, { device: x.device, dtype: x.dtype })] : [])], 0) // [Nk + extra, Hkv, D]
  return gatherRows(rows, index) // [Nk + B · extra, Hkv, D]
}
