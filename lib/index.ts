/** Tilewise: Transformers for Node.js on the GPU. Tensors, devices and ops; modules live in `tilewise/nn`. */
export {
  Capture,
  type Device,
  type DeviceKind,
  type DeviceOptions,
  device,
  type GpuReport,
  gpuReport,
  type MemoryStatistics,
} from './device.ts'
export type { DType, FloatDType, TensorData, TypedArrayOf } from './dtype.ts'
export * from './errors.ts'
export { generatorState, restoreGenerator, seed } from './generator.ts'
export { debugLeaks, type Leak } from './leaks.ts'
export type { Mark } from './mark.ts'
export { Mask } from './mask.ts'
export * from './ops/index.ts'
export * from './safetensors.ts'
export { keep, noGrad, persistent, scope } from './scope.ts'
export { Sequences } from './sequences.ts'
export { empty, type Shape, Tensor, type TensorOptions, tensor } from './tensor.ts'
