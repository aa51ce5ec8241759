import { ArgumentError } from '../errors.ts'
import { clipByNorm, fill, globalNorm, schema } from '../native.generated.ts'
import { allocate, assertLive, type Tensor } from '../tensor.ts'

/**
 * Scales all gradients of `parameters` by min(1, maxNorm / (norm + 1e-6)), in place, where norm is the 2-norm over all of them together;
 * torch.nn.utils.clip_grad_norm_. Returns the norm before clipping (f32 []), which is computed on the device: nothing waits for it.
 *
 * Parameters without a gradient are skipped; without any the norm is 0. `maxNorm` may be Infinity: the norm is computed and nothing changed.
 * A NaN among the gradients makes the norm NaN and with it every gradient, so that it shows in the next loss; an infinite norm makes finite
 * gradients 0 and infinite ones NaN.
 */
export function clipGradNorm(parameters: Iterable<Tensor>, maxNorm: number): Tensor<readonly [], 'f32'> {
  if (!(maxNorm >= 0)) throw new ArgumentError(`[clipGradNorm] maxNorm must not be negative, is ${maxNorm}`)
  const all = [...parameters]
  const [first] = all
  if (first === undefined) throw new ArgumentError('[clipGradNorm] parameters must hold at least one tensor')
  const gradients: Tensor[] = []
  for (const parameter of all) {
    assertLive(parameter, 'clipGradNorm')
    if (parameter.device !== first.device) throw new ArgumentError('[clipGradNorm] parameters must be on one device')
    if (parameter.grad) gradients.push(parameter.grad)
  }
  const norm = allocate(first.device, [] as const, 'f32', schema.globalNorm.id)
  if (gradients.length === 0) {
    fill({ y: norm, value: 0 })
    return norm
  }
  globalNorm({ xs: gradients, norm })
  if (maxNorm !== Number.POSITIVE_INFINITY) clipByNorm({ xs: gradients, norm, maxNorm })
  return norm
}
