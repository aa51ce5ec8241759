/** Between dense tensors with padding and packed rows without. */
import { ArgumentError } from '../errors.ts'
import { gatherRows, reshape, scatterRows } from '../ops/index.ts'
import { Sequences } from '../sequences.ts'
import { type Tensor, tensor } from '../tensor.ts'

export interface Packed {
  /** [N, C]: the N tokens that are real, sequence after sequence. */
  readonly rows: Tensor
  readonly sequences: Sequences
  /** [N, C'] → [B, T, C'], zeros where there was padding. */
  readonly unpack: (rows: Tensor) => Tensor
}

/**
 * Leaves the padding out: x [B, T, C] of which sequence b has `lengths[b]` tokens, at its start. Throws ArgumentError if the lengths are not B integers
 * from 0 to T.
 */
export function pack(where: string, x: Tensor, lengths: ArrayLike<number>): Packed {
  const [batch, length, width] = x.shape as [number, number, number]
  const all = Array.from(lengths)
  if (all.length !== batch || all.some(each => !(Number.isInteger(each) && each >= 0 && each <= length)))
    throw new ArgumentError(`[${where}] key lengths must be ${batch} integers from 0 to ${length}, are [${all.join(', ')}]`)
  const sequences = Sequences.of(all, x.device)
  const flat = reshape(x, [batch * length, width]) // [B·T, C]
  if (sequences.total === batch * length)
    return { rows: flat, sequences, unpack: rows => reshape(rows, [batch, length, rows.shape[1] as number]) }
  const places = new Int32Array(sequences.total)
  let n = 0
  for (const [b, count] of all.entries()) for (let t = 0; t < count; t++) places[n++] = b * length + t
  const index = tensor(places, [sequences.total], { device: x.device }) // [N]
  return {
    rows: gatherRows(flat, index), // [N, C]
    sequences,
    unpack: rows => reshape(scatterRows(rows, index, batch * length), [batch, length, rows.shape[1] as number]), // [B, T, C']
  }
}
