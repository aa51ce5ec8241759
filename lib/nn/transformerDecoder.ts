import type { Shape, Tensor } from '../tensor.ts'
import type { Wide } from '../types/shape.ts'
import { expectCount } from './check.ts'
import { type DecoderContext, type DecoderLayerCache, type TargetOptions, withTarget } from './decoderInputs.ts'
import { LayerParts } from './layerOptions.ts'
import { Module, type Placement } from './module.ts'
import type { Norm } from './norm.ts'
import { runLayers, settle } from './residual.ts'
import { TransformerDecoderLayer } from './transformerDecoderLayer.ts'
import type { TransformerStackOptions } from './transformerEncoder.ts'

/** A stack of decoder layers, each with a start of its own: torch.nn.TransformerDecoder, with its keys (`layers.0…`, `norm`). */
export class TransformerDecoder<C extends number = number> extends Module {
  readonly layers: readonly TransformerDecoderLayer<C>[]
  readonly norm: Norm | undefined
  readonly dModel: C

  constructor(options: TransformerStackOptions<C>, place: Placement = {}) {
    super()
    const { numLayers, finalNorm = options.norm === 'pre' } = options
    expectCount('TransformerDecoder', 'numLayers', numLayers, 0)
    this.dModel = options.dModel
    this.layers = Array.from({ length: numLayers }, () => new TransformerDecoderLayer(options, place))
    this.norm = finalNorm ? new LayerParts('TransformerDecoder', options, place).makeNorm() : undefined
  }

  /**
   * tgt [B, Tq, dModel] and memory [B, Tk, dModel], both without B, or packed rows with `tgtSequences` and `memorySequences` → like tgt. Given key lengths,
   * nothing is computed for padding, and the result has zeros there.
   */
  forward<S extends Shape, M extends Shape>(tgt: Wide<S, C>, memory: Wide<M, C>, options: TargetOptions = {}): Tensor<S> {
    const run = (x: Tensor, context: DecoderContext) => this.run(x, context)
    return withTarget('TransformerDecoder', this.dModel, tgt as Tensor, memory as Tensor, options, run) as Tensor<S>
  }

  /** [B, Tq, C] or packed [Nq, C] → the same. `caches`: one a layer. */
  run(x: Tensor, context: DecoderContext, caches?: readonly DecoderLayerCache[]): Tensor {
    let index = 0
    const stream = runLayers(this.layers, { x }, (layer, current) => layer.run(current, context, caches?.[index++]))
    return settle(stream, this.norm)
  }
}
