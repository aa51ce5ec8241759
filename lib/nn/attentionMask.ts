/** Masks of modules in the form that attention takes: PyTorch's shapes become [B, H, Tq, Tk]. */
import { ArgumentError } from '../errors.ts'
import { Mask } from '../mask.ts'
import { formatShape } from '../ops/check.ts'
import { reshape, slice } from '../ops/index.ts'
import type { Tensor } from '../tensor.ts'

/** What a mask has to fit. */
export interface MaskPlace {
  batch: number
  heads: number
  queries: number
  keys: number
  unbatched: boolean
}

/** The mask of a call: all that its arguments say, together. Throws ArgumentError for a tensor of another shape. */
export function attentionMask(
  { mask, keyPaddingMask, isCausal }: { mask?: Mask | undefined; keyPaddingMask?: Mask | undefined; isCausal?: boolean | undefined },
  place: MaskPlace,
): Mask | undefined {
  return together([
    mask && mapTensors(mask, tensor => scoresMask(tensor, place)),
    keyPaddingMask && mapTensors(keyPaddingMask, tensor => paddingMask(tensor, place)),
    isCausal ? Mask.causal() : undefined,
  ])
}

/** Key lengths, if the mask says nothing else. */
export function keyLengthsOf(mask: Mask): Int32Array | undefined {
  const { keyLengths, keep, bias, causal, left, right } = mask.parts
  return keep || bias || causal || left !== undefined || right !== undefined ? undefined : keyLengths
}

/** The first `queries` and `keys` of a mask that was made for more. */
export function fitMask(mask: Mask, queries: number, keys: number): Mask {
  return mapTensors(mask, tensor => {
    const cut = (t: Tensor, dim: number, size: number) =>
      t.rank >= -dim && (t.shape.at(dim) as number) > Math.max(size, 1) ? slice(t, dim, 0, size) : t
    return cut(cut(tensor, -2, queries), -1, keys)
  })
}

function together(masks: readonly (Mask | undefined)[]): Mask | undefined {
  const given = masks.filter(mask => mask !== undefined)
  return given.length === 0 ? undefined : given.reduce((a, b) => a.and(b))
}

function mapTensors(mask: Mask, change: (tensor: Tensor) => Tensor): Mask {
  const { causal, left, right, keyLengths, keep, bias } = mask.parts
  if (keep === undefined && bias === undefined) return mask
  const open = Number.POSITIVE_INFINITY
  return together([
    causal ? Mask.causal() : undefined,
    left === undefined && right === undefined ? undefined : Mask.window(left ?? open, right ?? open),
    keyLengths && Mask.keyLengths(keyLengths),
    keep && Mask.keep(change(keep)),
    bias && Mask.bias(change(bias)),
  ]) as Mask
}

/** [Tq, Tk], [B · H, Tq, Tk] or what broadcasts to [B, H, Tq, Tk]. */
function scoresMask(tensor: Tensor, { batch, heads, queries, keys, unbatched }: MaskPlace): Tensor {
  const { shape, rank } = tensor
  const fits = (expected: readonly number[]) => expected.every((size, i) => shape[i] === size || shape[i] === 1)
  if (rank === 2 && fits([queries, keys])) return tensor
  if (rank === 3 && fits([batch * heads, queries, keys]))
    return shape[0] === 1 ? tensor : reshape(tensor, [batch, heads, shape[1] as number, shape[2] as number])
  if (rank === 4 && fits([batch, heads, queries, keys])) return tensor
  const dense = unbatched ? `[${heads}, ${queries}, ${keys}]` : `[${batch * heads}, ${queries}, ${keys}]`
  throw new ArgumentError(
    `[MultiheadAttention] mask must be [${queries}, ${keys}], ${dense}, or broadcast to [${batch}, ${heads}, ${queries}, ${keys}], is ${formatShape(shape)}`,
  )
}

/** [B, Tk], or [Tk] of a single sequence. */
function paddingMask(tensor: Tensor, { batch, keys, unbatched }: MaskPlace): Tensor {
  const { shape, rank } = tensor
  const single = rank === 1 && batch === 1
  if ((single || (rank === 2 && shape[0] === batch && !unbatched)) && shape.at(-1) === keys) return reshape(tensor, [batch, 1, 1, keys])
  throw new ArgumentError(
    `[MultiheadAttention] keyPaddingMask must be ${unbatched ? `[${keys}]` : `[${batch}, ${keys}]`}, is ${formatShape(shape)}`,
  )
}
