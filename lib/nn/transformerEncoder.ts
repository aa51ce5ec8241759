import type { Shape, Tensor } from '../tensor.ts'
import type { Wide } from '../types/shape.ts'
import type { AttentionInputOptions } from './attentionInputs.ts'
import { expectCount } from './check.ts'
import { type SourceOptions, withRows } from './layerInputs.ts'
import { LayerParts, type TransformerLayerOptions } from './layerOptions.ts'
import { Module, type Placement } from './module.ts'
import type { Norm } from './norm.ts'
import { runLayers, settle } from './residual.ts'
import { TransformerEncoderLayer } from './transformerEncoderLayer.ts'

export interface TransformerStackOptions<C extends number = number> extends TransformerLayerOptions<C> {
  numLayers: number
  /** A norm after the last layer. Default: with `norm: 'pre'`, whose stream nothing else would normalize. */
  finalNorm?: boolean
}

/** A stack of encoder layers, each with a start of its own: torch.nn.TransformerEncoder, with its keys (`layers.0…`, `norm`). */
export class TransformerEncoder<C extends number = number> extends Module {
  readonly layers: readonly TransformerEncoderLayer<C>[]
  readonly norm: Norm | undefined
  readonly dModel: C

  constructor(options: TransformerStackOptions<C>, place: Placement = {}) {
    super()
    const { numLayers, finalNorm = options.norm === 'pre' } = options
    expectCount('TransformerEncoder', 'numLayers', numLayers, 0)
    this.dModel = options.dModel
    this.layers = Array.from({ length: numLayers }, () => new TransformerEncoderLayer(options, place))
    this.norm = finalNorm ? new LayerParts('TransformerEncoder', options, place).makeNorm() : undefined
  }

  /**
   * [B, T, dModel], [T, dModel], or packed [N, dModel] with `sequences` → the same. Given key lengths, nothing is computed for padding, and the result has
   * zeros there.
   */
  forward<S extends Shape>(src: Wide<S, C>, options: SourceOptions = {}): Tensor<S> {
    return withRows('TransformerEncoder', this.dModel, src as Tensor, options, (x, context) => this.run(x, context)) as Tensor<S>
  }

  /** [B, T, C] or packed [N, C] → the same. */
  run(x: Tensor, context: AttentionInputOptions): Tensor {
    return settle(
      runLayers(this.layers, { x }, (layer, stream) => layer.run(stream, context)),
      this.norm,
    )
  }
}
