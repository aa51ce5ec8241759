/**
 * The residual stream of a stack. A block's result is not added to it at once: the norm that comes next does that in the same pass, also when it
 * belongs to the next layer.
 */
import { add, dropout } from '../ops/index.ts'
import type { Tensor } from '../tensor.ts'
import type { Norm } from './norm.ts'

export interface Stream {
  readonly x: Tensor
  /** Result of the last block, to be added after dropout. */
  readonly pending?: Pending
}

export interface Pending {
  readonly rows: Tensor
  /** 0 outside training. */
  readonly dropout: number
}

/** norm(stream), and the stream with nothing pending. */
export function enter(stream: Stream, norm: Norm): { y: Tensor; x: Tensor } {
  const { x, pending } = stream
  if (pending === undefined) return { y: norm.forward(x), x }
  const { y, sum } = norm.forwardResidual(pending.rows, { residual: x, dropout: pending.dropout })
  return { y, x: sum }
}

/** norm(stream), when the stream ends there: after a block with post-norm, or before a final norm. */
export function settle({ x, pending }: Stream, norm: Norm | undefined): Tensor {
  if (norm) return pending ? norm.forwardAdded(pending.rows, { residual: x, dropout: pending.dropout }) : norm.forward(x)
  if (pending === undefined) return x
  return add(x, pending.dropout > 0 ? dropout(pending.rows, pending.dropout) : pending.rows)
}

/** Runs a stack and frees each layer's stream once the next one is there; what the tape needs of it stays. */
export function runLayers<L>(layers: readonly L[], start: Stream, run: (layer: L, stream: Stream) => Stream): Stream {
  let stream = start
  for (const layer of layers) {
    const next = run(layer, stream)
    for (const tensor of [stream.x, stream.pending?.rows]) {
      if (tensor && tensor !== start.x && tensor !== next.x) tensor.dispose()
    }
    stream = next
  }
  return stream
}
