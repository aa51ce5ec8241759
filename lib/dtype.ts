/** Element types. `f16` is computed by GPUs only; `u8` holds truth values and bytes. */
export type DType = 'f32' | 'bf16' | 'f16' | 'i32' | 'u8'

/** Numbers of the command stream; native/core/dtype.h has the same order. */
export const dtypeIds: Record<DType, number> = { f32: 0, bf16: 1, f16: 2, i32: 3, u8: 4 }
export const dtypes: readonly DType[] = ['f32', 'bf16', 'f16', 'i32', 'u8']

export const bytesPerElement: Record<DType, number> = { f32: 4, bf16: 2, f16: 2, i32: 4, u8: 1 }

export type FloatDType = 'f32' | 'bf16' | 'f16'

export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === 'f32' || dtype === 'bf16' || dtype === 'f16'
}

/** What `tensor.read()` gives: low-precision floats are widened to f32. */
export type TypedArrayOf<D extends DType> = D extends FloatDType ? Float32Array : D extends 'i32' ? Int32Array : Uint8Array

/** What a tensor is made from. Float32Array fills any float dtype; Uint16Array holds the raw bits of bf16 or f16. */
export type TensorData = Float32Array | Int32Array | Uint8Array | Uint16Array
