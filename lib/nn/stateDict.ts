/** State dictionaries, and their safetensors files. */
import { isFloat } from '../dtype.ts'
import { StateDictError } from '../errors.ts'
import { copy } from '../native.generated.ts'
import { formatShape, sameShape } from '../ops/check.ts'
import type { Tensor } from '../tensor.ts'
import type { Module } from './module.ts'

/** Tensors by PyTorch's keys. */
export type StateDict = Map<string, Tensor>

export function loadStateDict(module: Module, state: ReadonlyMap<string, Tensor>, strict: boolean) {
  const own = module.stateDict()
  const missing = [...own.keys()].filter(key => !state.has(key))
  const unexpected = [...state.keys()].filter(key => !own.has(key))
  const mismatched: string[] = []
  for (const [key, target] of own) {
    const source = state.get(key)
    if (source === undefined) continue
    if (!sameShape(source.shape, target.shape))
      mismatched.push(`${key} must be ${formatShape(target.shape)}, is ${formatShape(source.shape)}`)
    else if (source.dtype !== target.dtype && !(isFloat(source.dtype) && isFloat(target.dtype)))
      mismatched.push(`${key} must have dtype ${target.dtype}, is ${source.dtype}`)
    else if (source.device !== target.device)
      mismatched.push(`${key} must be on the module's device (${target.device.kind}), is on another (${source.device.kind})`)
  }
  if (mismatched.length > 0 || (strict && missing.length + unexpected.length > 0)) throw new StateDictError(missing, unexpected, mismatched)
  for (const [key, target] of own) {
    const source = state.get(key)
    if (source && source !== target) copy({ x: source, y: target })
  }
  return { missing, unexpected }
}
