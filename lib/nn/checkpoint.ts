/** State dictionaries in safetensors files, under PyTorch's keys. */
import type { DType, TensorData } from '../dtype.ts'
import { UnsupportedError } from '../errors.ts'
import { readSafetensors, type SafetensorsDType, type SafetensorsSource, type WriteOptions, writeSafetensors } from '../safetensors.ts'
import { persistent } from '../scope.ts'
import { type Tensor, tensor } from '../tensor.ts'
import type { Module } from './module.ts'

const fileTypes: Record<DType, SafetensorsDType> = { f32: 'F32', bf16: 'BF16', f16: 'F16', i32: 'I32', u8: 'U8' }
const ownTypes = new Map(Object.entries(fileTypes).map(([own, file]) => [file, own as DType]))

/**
 * Writes the state dictionary as a safetensors file; the path holds the old file or all of the new one. A tied parameter is written once, under its
 * first key; `tied` in the metadata says which other keys it has, as JSON.
 */
export async function saveModule(
  module: Module,
  path: string,
  metadata: Readonly<Record<string, string>> = {},
  options: WriteOptions = {},
): Promise<void> {
  const first = new Map<Tensor, string>()
  const tied: Record<string, string> = {}
  for (const [key, value] of module.stateDict()) {
    const known = first.get(value)
    if (known === undefined) first.set(value, key)
    else tied[key] = known
  }
  const all = Object.keys(tied).length === 0 ? metadata : { ...metadata, tied: JSON.stringify(tied) }
  await writeSafetensors(
    path,
    [...first].map(([value, name]) => ({ name, dtype: fileTypes[value.dtype], shape: value.shape, data: () => value.readRaw() })),
    { format: 'pt', ...all },
    options,
  )
}

/**
 * Reads a safetensors file (or an open one, or shards) into a module. Keys that are tied in the module may stand in the file once or under each of their
 * names. Throws StateDictError if the tensors do not fit (`strict` as in `loadStateDict`), SafetensorsError if the file cannot be read.
 */
export async function loadModule(
  module: Module,
  source: string | SafetensorsSource,
  options: { strict?: boolean } = {},
): Promise<{ missing: string[]; unexpected: string[] }> {
  const file = typeof source === 'string' ? await readSafetensors(source) : source
  const own = module.stateDict()
  const state = new Map<string, Tensor>()
  try {
    for (const name of file.names()) {
      const { dtype, shape, data } = await file.read(name)
      const target = own.get(name)
      const ownType = ownTypes.get(dtype)
      if (ownType === undefined)
        throw new UnsupportedError(`[loadModule] ${name} must have dtype ${[...ownTypes.keys()].join(', ')}, is ${dtype}`)
      const place = target === undefined ? {} : { device: target.device }
      state.set(
        name,
        persistent(() => tensor(data as TensorData, shape, { dtype: ownType, ...place })),
      )
    }
    for (const [key, value] of own) {
      if (state.has(key)) continue
      const sibling = [...own].find(([other, tensor]) => tensor === value && state.has(other))
      if (sibling) state.set(key, state.get(sibling[0]) as Tensor)
    }
    return module.loadStateDict(state, options)
  } finally {
    for (const loaded of state.values()) loaded.dispose()
    if (typeof source === 'string') await file.close()
  }
}
