/** Gradients as they arise inside a model. */
import { attach, TapeNode } from '../lib/autograd/tape.ts'
import { empty, type Tensor } from '../lib/index.ts'
import { aliasView, type Shape } from '../lib/tensor.ts'

/**
 * `x` as an activation inside a model: its gradient arrives and is freed. A leaf would add it into an f32 tensor instead, which no model does and
 * PyTorch's side, where gradients are assigned, does not pay for.
 */
export function activation(x: Tensor): Tensor {
  const y = aliasView(x, x.shape, x.strides, x.offset)
  attach(new TapeNode('activation', [], [], () => []), [y])
  return y
}

/** Backward from several outputs at once, each with its gradient. */
export function goBack(outputs: readonly Tensor[], gradients: readonly Tensor[]): void {
  const [output] = outputs as [Tensor]
  if (outputs.length === 1) {
    output.backward(gradients[0])
    return
  }
  const end = empty([1], { device: output.device })
  attach(new TapeNode('outputs', outputs, [], () => gradients), [end])
  end.backward()
}

/** Gradients of the heads of one packed projection: views of one buffer, as the backward of attention makes them. */
export function packed(shapes: readonly Shape[], random: (shape: Shape) => Tensor): Tensor[] {
  const width = (shape: Shape) => shape.slice(-2).reduce((product, dimension) => product * dimension, 1)
  const leading = (shapes[0] as Shape).slice(0, -2)
  const buffer = random([...leading, shapes.reduce((sum, shape) => sum + width(shape), 0)])
  let offset = 0
  return shapes.map(shape => {
    const strides = [...buffer.strides.slice(0, -1), shape.at(-1) as number, 1]
    const view = aliasView(buffer, shape, strides, offset)
    offset += width(shape)
    return view
  })
}
