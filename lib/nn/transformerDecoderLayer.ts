import { reshape } from '../ops/index.ts'
import { scope } from '../scope.ts'
import type { Shape, Tensor } from '../tensor.ts'
import type { Wide } from '../types/shape.ts'
import { type DecoderContext, type DecoderLayerCache, type TargetOptions, withTarget } from './decoderInputs.ts'
import type { FeedForward } from './feedForward.ts'
import { LayerParts, type TransformerLayerOptions } from './layerOptions.ts'
import { Module, type Placement } from './module.ts'
import type { MultiheadAttention } from './multiheadAttention.ts'
import type { Norm } from './norm.ts'
import { enter, type Stream, settle } from './residual.ts'

/**
 * Self-attention, attention to the memory, then feed-forward, each with dropout, residual and norm: torch.nn.TransformerDecoderLayer, with its keys
 * (`self_attn`, `multihead_attn`, `linear1`, `linear2`, `norm1` to `norm3`) and its places of dropout.
 */
export class TransformerDecoderLayer<C extends number = number> extends Module {
  static override readonly stateKeys: Readonly<Record<string, string>> = {
    selfAttn: 'self_attn',
    multiheadAttn: 'multihead_attn',
    feedForward: '',
  }

  readonly norm: 'pre' | 'post'
  readonly dropout: number
  readonly selfAttn: MultiheadAttention<C>
  readonly multiheadAttn: MultiheadAttention<C>
  readonly feedForward: FeedForward<C>
  readonly norm1: Norm
  readonly norm2: Norm
  readonly norm3: Norm

  constructor(options: TransformerLayerOptions<C>, place: Placement = {}) {
    super()
    const parts = new LayerParts('TransformerDecoderLayer', options, place)
    this.norm = parts.norm
    this.dropout = parts.dropout
    this.selfAttn = parts.attention()
    this.multiheadAttn = parts.attention()
    this.feedForward = parts.feedForward()
    this.norm1 = parts.makeNorm()
    this.norm2 = parts.makeNorm()
    this.norm3 = parts.makeNorm()
  }

  /**
   * tgt [B, Tq, dModel] and memory [B, Tk, dModel], both without B, or packed rows with `tgtSequences` and `memorySequences` → like tgt. Given key lengths,
   * nothing is computed for padding, and the result has zeros there.
   */
  forward<S extends Shape, M extends Shape>(tgt: Wide<S, C>, memory: Wide<M, C>, options: TargetOptions = {}): Tensor<S> {
    const width = this.selfAttn.sizes.embedDim
    const run = (x: Tensor, context: DecoderContext) => settle(this.run({ x }, context), undefined)
    return withTarget('TransformerDecoderLayer', width, tgt as Tensor, memory as Tensor, options, run) as Tensor<S>
  }

  /** One layer of a stack. With a cache, the rows are those of as many new tokens of each sequence. */
  run(stream: Stream, context: DecoderContext, cache?: DecoderLayerCache): Stream {
    return scope(() => {
      const dropout = this.training ? this.dropout : 0
      const blocks = [
        { norm: this.norm1, run: (x: Tensor) => this.#attendSelf(x, context, cache) },
        { norm: this.norm2, run: (x: Tensor) => this.#attendMemory(x, context, cache) },
        { norm: this.norm3, run: (x: Tensor) => this.feedForward.forward<Shape>(x as never) as Tensor },
      ]
      let current = stream
      for (const { norm, run } of blocks) {
        if (this.norm === 'pre') {
          const { x, y } = enter(current, norm)
          current = { x, pending: { rows: run(y), dropout } }
        } else {
          current = { x: settle({ x: current.x, pending: { rows: run(current.x), dropout } }, norm) }
        }
      }
      return current
    })
  }

  #attendSelf(x: Tensor, { self, cross }: DecoderContext, cache: DecoderLayerCache | undefined): Tensor {
    if (cache === undefined) return this.selfAttn.forward<Shape>(x as never, x as never, x as never, self).output
    // The cache holds as many tokens of every sequence, so self-attention is dense; only the memory's sequences differ in length.
    const batch = (cross.sequences as { q: { count: number } }).q.count
    const dense = reshape(x, [batch, (x.shape[0] as number) / batch, x.shape[1] as number]) // [B, T, C]
    const { output } = this.selfAttn.forward<Shape>(dense as never, dense as never, dense as never, { ...self, cache: cache.self })
    return reshape(output, x.shape) // [N, C]
  }

  #attendMemory(x: Tensor, { memory, cross }: DecoderContext, cache: DecoderLayerCache | undefined): Tensor {
    const options = { ...cross, cache: cache?.cross }
    return this.multiheadAttn.forward<Shape>(x as never, memory as never, memory as never, options).output
  }
}
