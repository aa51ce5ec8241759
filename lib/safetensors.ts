/** Weights in safetensors files: `readSafetensors`, `readIndex` for a folder of shards, `writeSafetensors`. */

export type { ReadIntoOptions, ReadOptions, SafetensorsFile, SafetensorsSource } from './safetensors/file.ts'
export { readSafetensors } from './safetensors/file.ts'
export type { SafetensorsArray, SafetensorsArrays, SafetensorsDType, SafetensorsInfo, SafetensorsTensor } from './safetensors/format.ts'
export type { SafetensorsIndex } from './safetensors/shards.ts'
export { readIndex } from './safetensors/shards.ts'
export type { SafetensorsInput, WriteOptions } from './safetensors/write.ts'
export { writeSafetensors } from './safetensors/write.ts'
