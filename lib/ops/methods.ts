/** The methods that tensors have because ops and autograd exist. Kept apart so that lib/tensor.ts stays below both. */
import { backward } from '../autograd/tape.ts'
import { type DType, isFloat, type TypedArrayOf } from '../dtype.ts'
import { ArgumentError } from '../errors.ts'
import { copy } from '../native.generated.ts'
import { allocate, assertLive, type Shape, Tensor } from '../tensor.ts'
import type { Broadcast, BroadcastsWith, Permuted, Reshaped, Transposed } from '../types/shape.ts'
import * as binary from './binary.ts'
import { cast, contiguous } from './copy.ts'
import { max, mean, min, type ReduceOptions, sum } from './reduce.ts'
import { broadcastTo, permute, reshape, slice, transpose } from './view.ts'

declare module '../tensor.ts' {
  interface Tensor<S extends Shape, D extends DType> {
    /** The elements, row-major, once everything before has been computed; low-precision floats as Float32Array. Rejects with what went wrong. */
    read(): Promise<TypedArrayOf<D>>
    /** The elements as the device holds them: Uint16Array bits for bf16 and f16. */
    readRaw(): Promise<Float32Array | Uint16Array | Int32Array | Uint8Array>
    /** The only element. */
    item(): Promise<number>
    /** Adds the derivative of this tensor by every leaf that requires it to the leaf's `grad`. `gradient`: default 1 for a single element. */
    backward(gradient?: Tensor): void
    add<B extends Shape = []>(b: BroadcastsWith<S, B> | number): Tensor<Broadcast<S, B>>
    sub<B extends Shape = []>(b: BroadcastsWith<S, B> | number): Tensor<Broadcast<S, B>>
    mul<B extends Shape = []>(b: BroadcastsWith<S, B> | number): Tensor<Broadcast<S, B>>
    div<B extends Shape = []>(b: BroadcastsWith<S, B> | number): Tensor<Broadcast<S, B>>
    sum(): Tensor<readonly []>
    sum(options?: ReduceOptions): Tensor
    mean(): Tensor<readonly []>
    mean(options?: ReduceOptions): Tensor
    max(): Tensor<readonly []>
    max(options?: ReduceOptions): Tensor
    min(): Tensor<readonly []>
    min(options?: ReduceOptions): Tensor
    reshape<const T extends Shape>(shape: T): Tensor<Reshaped<T>, D>
    permute<const O extends Shape>(order: O): Tensor<Permuted<S, O>, D>
    transpose(): Tensor<Transposed<S>, D>
    transpose(i?: number, j?: number): Tensor<Shape, D>
    slice(dim: number, start: number, end: number): Tensor<Shape, D>
    broadcastTo<const T extends Shape>(shape: T): Tensor<T, D>
    contiguous(): Tensor<S, D>
    cast<E extends DType>(dtype: E): Tensor<S, E>
  }
}

async function elements(tensor: Tensor, raw: boolean) {
  assertLive(tensor, 'read')
  let source = tensor
  if (!tensor.isContiguous) {
    source = allocate(tensor.device, tensor.shape, tensor.dtype)
    copy({ x: tensor, y: source })
  }
  const reading = tensor.device.read(source, raw)
  if (source !== tensor) source.dispose()
  return reading
}

const methods: Omit<Partial<Tensor>, 'grad' | 'node'> & ThisType<Tensor> = {
  async read() {
    const { dtype, bytes } = await elements(this, false)
    return dtype === 'i32' ? new Int32Array(bytes) : dtype === 'u8' ? new Uint8Array(bytes) : new Float32Array(bytes)
  },
  async readRaw() {
    const { dtype, bytes } = await elements(this, true)
    if (dtype === 'bf16' || dtype === 'f16') return new Uint16Array(bytes)
    return dtype === 'i32' ? new Int32Array(bytes) : dtype === 'u8' ? new Uint8Array(bytes) : new Float32Array(bytes)
  },
  async item() {
    if (this.size !== 1) throw new ArgumentError(`[item] the tensor must have one element, is [${this.shape.join(', ')}]`)
    return (await this.read())[0] as number
  },
  backward(gradient) {
    backward(this, gradient)
  },
  add(b) {
    return binary.add(this, b)
  },
  sub(b) {
    return binary.sub(this, b)
  },
  mul(b) {
    return binary.mul(this, b)
  },
  div(b) {
    return binary.div(this, b)
  },
  sum(options?: ReduceOptions) {
    return sum(this, options) as Tensor<readonly []>
  },
  mean(options?: ReduceOptions) {
    return mean(this, options) as Tensor<readonly []>
  },
  max(options?: ReduceOptions) {
    return max(this, options) as Tensor<readonly []>
  },
  min(options?: ReduceOptions) {
    return min(this, options) as Tensor<readonly []>
  },
  reshape(shape) {
    return reshape(this, shape)
  },
  permute(order) {
    return permute(this, order)
  },
  transpose(i?: number, j?: number) {
    return transpose(this, i, j)
  },
  slice(dim, start, end) {
    return slice(this, dim, start, end)
  },
  broadcastTo(shape) {
    return broadcastTo(this, shape)
  },
  contiguous() {
    return contiguous(this)
  },
  cast(dtype) {
    if (!isFloat(this.dtype) && !isFloat(dtype) && dtype !== 'i32' && dtype !== 'u8')
      throw new ArgumentError(`[cast] dtype must be known, is ${dtype}`)
    return cast(this, dtype)
  },
}
Object.assign(Tensor.prototype, methods)
