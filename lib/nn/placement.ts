/** Other dtypes and devices for the tensors of a module. */
import type { Device } from '../device.ts'
import { type FloatDType, isFloat, type TensorData } from '../dtype.ts'
import { ArgumentError } from '../errors.ts'
import { cast } from '../ops/copy.ts'
import { noGrad, persistent } from '../scope.ts'
import { Tensor, tensor } from '../tensor.ts'
import type { Module, ModuleEntry } from './module.ts'

/** Every place in a field that holds a tensor, with the tensor that stands there. */
function* places(module: Module): Generator<{ owner: Module; entry: ModuleEntry & { value: Tensor } }> {
  for (const [, owner] of module.modules())
    for (const entry of owner.entries()) if (entry.value instanceof Tensor) yield { owner, entry: entry as ModuleEntry & { value: Tensor } }
}

/** Puts `replacements` where the old tensors stand, and frees these. */
function replace(module: Module, replacements: ReadonlyMap<Tensor, Tensor>): void {
  for (const { owner, entry } of [...places(module)]) {
    const replacement = replacements.get(entry.value)
    if (replacement) (owner as unknown as Record<string, unknown>)[entry.field] = replacement
  }
  for (const [old, replacement] of replacements) {
    replacement.requiresGrad = old.requiresGrad
    old.dispose()
  }
}

export function convertModule<M extends Module>(module: M, dtype: FloatDType): M {
  if (!isFloat(dtype)) throw new ArgumentError(`[to] dtype must be a float dtype, is ${dtype}`)
  const replacements = new Map<Tensor, Tensor>()
  persistent(() =>
    noGrad(() => {
      for (const { entry } of places(module)) {
        const old = entry.value
        if (isFloat(old.dtype) && old.dtype !== dtype && !replacements.has(old)) replacements.set(old, cast(old, dtype))
      }
    }),
  )
  replace(module, replacements)
  return module
}

export async function moveModule<M extends Module>(module: M, device: Device): Promise<M> {
  const replacements = new Map<Tensor, Tensor>()
  for (const { entry } of places(module)) {
    const old = entry.value
    if (old.device === device || replacements.has(old)) continue
    const data = (await old.readRaw()) as TensorData
    replacements.set(
      old,
      persistent(() => tensor(data, old.shape, { device, dtype: old.dtype })),
    )
  }
  replace(module, replacements)
  return module
}
