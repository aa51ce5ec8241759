/** Finding tensors that nobody frees. The garbage collector is only the detector here: freeing never depends on it. */
import { type Tensor, watchTensors } from './tensor.ts'

export interface Leak {
  /** `f32[64, 512]` */
  tensor: string
  bytes: number
  /** Where it was made. */
  stack: string
}

const warn = ({ tensor, bytes, stack }: Leak) =>
  process.emitWarning(
    `a tensor ${tensor} of ${bytes} bytes was collected without dispose(); its device memory is lost. Made\n${stack}`,
    'TilewiseLeak',
  )

/**
 * From here on, reports each tensor that the garbage collector takes before anybody has disposed it, with the stack where it was made: its memory on the
 * device stays taken until the process ends. Costs a few microseconds a tensor; off by default. Call the returned function to stop.
 */
export function debugLeaks(report: (leak: Leak) => void = warn): () => void {
  const registry = new FinalizationRegistry<Leak>(report)
  watchTensors({
    created(tensor: Tensor) {
      const stack = (new Error().stack ?? '').split('\n').slice(4).join('\n')
      registry.register(tensor, { tensor: `${tensor.dtype}[${tensor.shape.join(', ')}]`, bytes: tensor.bytes, stack }, tensor)
    },
    disposed(tensor: Tensor) {
      registry.unregister(tensor)
    },
  })
  return () => watchTensors(undefined)
}
