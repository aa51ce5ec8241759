import { scope } from '../scope.ts'
import type { Shape, Tensor } from '../tensor.ts'
import type { Wide } from '../types/shape.ts'
import type { AttentionInputOptions } from './attentionInputs.ts'
import type { FeedForward } from './feedForward.ts'
import { type SourceOptions, withRows } from './layerInputs.ts'
import { LayerParts, type TransformerLayerOptions } from './layerOptions.ts'
import { Module, type Placement } from './module.ts'
import type { MultiheadAttention } from './multiheadAttention.ts'
import type { Norm } from './norm.ts'
import { enter, type Stream, settle } from './residual.ts'

/**
 * Self-attention, then feed-forward, each with dropout, residual and norm: torch.nn.TransformerEncoderLayer, with its keys (`self_attn`, `linear1`, `linear2`,
 * `norm1`, `norm2`) and its places of dropout. A gated block's `linear1` holds the rows of the gate, then those of the other factor.
 */
export class TransformerEncoderLayer<C extends number = number> extends Module {
  static override readonly stateKeys: Readonly<Record<string, string>> = { selfAttn: 'self_attn', feedForward: '' }

  readonly norm: 'pre' | 'post'
  readonly dropout: number
  readonly selfAttn: MultiheadAttention<C>
  readonly feedForward: FeedForward<C>
  readonly norm1: Norm
  readonly norm2: Norm

  constructor(options: TransformerLayerOptions<C>, place: Placement = {}) {
    super()
    const parts = new LayerParts('TransformerEncoderLayer', options, place)
    this.norm = parts.norm
    this.dropout = parts.dropout
    this.selfAttn = parts.attention()
    this.feedForward = parts.feedForward()
    this.norm1 = parts.makeNorm()
    this.norm2 = parts.makeNorm()
  }

  /**
   * [B, T, dModel], [T, dModel], or packed [N, dModel] with `sequences` → the same. Given key lengths, nothing is computed for padding, and the result has
   * zeros there.
   */
  forward<S extends Shape>(src: Wide<S, C>, options: SourceOptions = {}): Tensor<S> {
    const { dModel } = this
    return withRows('TransformerEncoderLayer', dModel, src as Tensor, options, (x, context) =>
      settle(this.run({ x }, context), undefined),
    ) as Tensor<S>
  }

  get dModel(): number {
    return this.selfAttn.sizes.embedDim
  }

  /** One layer of a stack. */
  run(stream: Stream, context: AttentionInputOptions): Stream {
    return scope(() => {
      const dropout = this.training ? this.dropout : 0
      const attend = (x: Tensor) => ({
        rows: this.selfAttn.forward<Shape>(x as never, x as never, x as never, context).output as Tensor,
        dropout,
      })
      const feed = (x: Tensor) => ({ rows: this.feedForward.forward<Shape>(x as never) as Tensor, dropout })
      if (this.norm === 'pre') {
        const first = enter(stream, this.norm1)
        const second = enter({ x: first.x, pending: attend(first.y) }, this.norm2)
        return { x: second.x, pending: feed(second.y) }
      }
      const x = settle({ x: stream.x, pending: attend(stream.x) }, this.norm1)
      return { x: settle({ x, pending: feed(x) }, this.norm2) }
    })
  }
}
