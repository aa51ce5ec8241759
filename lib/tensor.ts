import type { Device } from './device.ts'
import type { DType, TensorData } from './dtype.ts'
import { bytesPerElement, dtypeIds, isFloat } from './dtype.ts'
import { ArgumentError, DisposedError } from './errors.ts'
import { Owned } from './scope.ts'

export type Shape = readonly number[]

/** The producer of a tensor on the autograd tape; lib/autograd/tape.ts. */
export interface GradientNode {
  retain(): void
  release(): void
}

/** Told of every tensor that is made and disposed; lib/leaks.ts. */
export interface TensorWatcher {
  created(tensor: Tensor): void
  disposed(tensor: Tensor): void
}
let watcher: TensorWatcher | undefined

export function watchTensors(watch: TensorWatcher | undefined): void {
  watcher = watch
}

/** A place on the device, shared by a tensor and by what the tape saved of it. Freed when the last holder lets go. */
export class SlotHandle {
  references = 1

  constructor(
    readonly device: Device,
    readonly index: number,
  ) {}

  retain(): void {
    this.references++
  }
  release(): void {
    if (--this.references === 0) this.device.freeSlot(this.index)
  }
}

/**
 * A tensor on a device. `Shape` may be literal (`Tensor<[8, 16]>`: checked by the compiler) or `number[]`; the runtime check is the authority.
 *
 * Device memory is freed by `dispose()`, by `using`, or at the end of the surrounding `scope()`; never by the garbage collector.
 */
export class Tensor<S extends Shape = Shape, D extends DType = DType> extends Owned {
  /** Set by `requireGrad` or because an input requires one. */
  requiresGrad = false
  /** The accumulated gradient of a leaf, f32. */
  grad: Tensor | undefined
  node: GradientNode | undefined
  outputIndex = 0
  #disposed = false

  constructor(
    readonly device: Device,
    readonly handle: SlotHandle,
    readonly shape: S,
    readonly dtype: D,
    /** In elements. */
    readonly strides: readonly number[],
    /** Of the first element in its buffer, in elements. */
    readonly offset: number,
  ) {
    super()
    watcher?.created(this)
  }

  get rank(): number {
    return this.shape.length
  }
  /** Number of elements. */
  get size(): number {
    let size = 1
    for (const dimension of this.shape) size *= dimension
    return size
  }
  get bytes(): number {
    return this.size * bytesPerElement[this.dtype]
  }
  get disposed(): boolean {
    return this.#disposed
  }
  get isContiguous(): boolean {
    let expected = 1
    for (let i = this.shape.length - 1; i >= 0; i--) {
      const dimension = this.shape[i] as number
      if (dimension !== 1 && this.strides[i] !== expected) return false
      expected *= dimension
    }
    return true
  }

  /** Makes this leaf collect a gradient in `grad`. */
  requireGrad(): this {
    if (!isFloat(this.dtype)) throw new ArgumentError(`[requireGrad] the tensor must have a float dtype, is ${this.dtype}`)
    this.requiresGrad = true
    return this
  }

  /** Frees the tensor. Harmless when done twice. What the tape or a view still needs of its memory stays until they are done. */
  override dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    watcher?.disposed(this)
    this.node?.release()
    this.grad?.dispose()
    this.grad = undefined
    this.handle.release()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }

  override toString(): string {
    return `Tensor(${this.dtype}[${this.shape.join(', ')}] on ${this.device.kind})`
  }
}

/** Throws if `tensor` was disposed; every use of a tensor passes here. */
export function assertLive(tensor: Tensor, where: string): void {
  if (tensor.disposed) throw new DisposedError(`[${where}] the tensor ${tensor.dtype}[${tensor.shape.join(', ')}] has been disposed`)
}

export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length)
  let stride = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride
    stride *= shape[i] as number
  }
  return strides
}

/** A new tensor whose elements are not set yet. `op` is the id of the op that will write it, for out-of-memory reports. */
export function allocate<S extends Shape, D extends DType>(device: Device, shape: S, dtype: D, op = 0): Tensor<S, D> {
  const index = device.takeSlot()
  device.commands.allocate(index, dtype, shape, op)
  return new Tensor(device, new SlotHandle(device, index), shape, dtype, contiguousStrides(shape), 0)
}

/** A tensor over the same memory, with other dimensions and strides. No gradient is recorded here: see lib/ops/view.ts. */
export function aliasView<S extends Shape, D extends DType>(
  base: Tensor<Shape, D>,
  shape: S,
  strides: readonly number[],
  offset: number,
): Tensor<S, D> {
  return viewOfSlot(base.device, base.handle.index, base.dtype, shape, strides, offset)
}

/** The same over the memory of a slot that has no tensor. */
export function viewOfSlot<S extends Shape, D extends DType>(
  device: Device,
  slot: number,
  dtype: D,
  shape: S,
  strides: readonly number[],
  offset: number,
): Tensor<S, D> {
  const index = device.takeSlot()
  device.commands.view(index, slot, shape, strides, offset)
  return new Tensor(device, new SlotHandle(device, index), shape, dtype, strides, offset)
}

type Nested = number | boolean | readonly Nested[]

export interface TensorOptions<D extends DType = DType> {
  device?: Device
  /** Default: by the data; f32 for numbers. */
  dtype?: D
  requiresGrad?: boolean
}

function checkShape(where: string, shape: Shape): void {
  for (const dimension of shape) {
    if (!Number.isInteger(dimension) || dimension < 0 || dimension > 0x7fffffff)
      throw new ArgumentError(`[${where}] shape must hold integers from 0 to 2^31 - 1, is [${shape.join(', ')}]`)
  }
  if (shape.length > 6) throw new ArgumentError(`[${where}] a tensor has at most 6 dimensions, shape has ${shape.length}`)
  if (shape.reduce((product, dimension) => product * dimension, 4) > Number.MAX_SAFE_INTEGER)
    throw new ArgumentError(`[${where}] shape [${shape.join(', ')}] has more than 2^53 bytes`)
}

function flatten(data: Nested, shape: number[], depth: number, out: number[]): void {
  if (typeof data === 'number' || typeof data === 'boolean') {
    if (depth !== shape.length) throw new ArgumentError(`[tensor] data must be a regular nested array: a number stands at depth ${depth}`)
    out.push(Number(data))
    return
  }
  if (shape.length === depth && out.length === 0) shape.push(data.length)
  if (data.length !== shape[depth])
    throw new ArgumentError(
      `[tensor] data must be a regular nested array: ${shape[depth]} elements expected at depth ${depth}, got ${data.length}`,
    )
  for (const entry of data) flatten(entry, shape, depth + 1, out)
}

const dtypeOfData = (data: TensorData): DType =>
  data instanceof Float32Array ? 'f32' : data instanceof Int32Array ? 'i32' : data instanceof Uint8Array ? 'u8' : 'bf16'

function typed(values: number[], dtype: DType): TensorData {
  return dtype === 'i32' ? Int32Array.from(values) : dtype === 'u8' ? Uint8Array.from(values) : Float32Array.from(values)
}

let defaultDevice: (() => Device) | undefined

/** lib/device.ts tells where tensors go when no device is named. */
export function setDefaultDevice(choose: () => Device): void {
  defaultDevice = choose
}

export function resolveDevice(device: Device | undefined): Device {
  return device ?? (defaultDevice as () => Device)()
}

/**
 * A tensor from numbers: a nested array (`tensor([[1, 2], [3, 4]])`), or a typed array with a shape. The data is copied before the call returns,
 * typed arrays over shared memory too. Float32Array fills any float dtype; Uint16Array holds raw bf16 or f16 bits.
 * Throws ArgumentError if data and shape disagree.
 */
export function tensor<const S extends Shape, D extends DType = DType>(data: TensorData, shape: S, options?: TensorOptions<D>): Tensor<S, D>
export function tensor<D extends DType = 'f32'>(data: Nested, options?: TensorOptions<D>): Tensor<Shape, D>
export function tensor(data: TensorData | Nested, shapeOrOptions?: Shape | TensorOptions, maybeOptions?: TensorOptions): Tensor {
  let options = maybeOptions ?? {}
  let shape: Shape
  let values: TensorData
  if (ArrayBuffer.isView(data)) {
    if (!Array.isArray(shapeOrOptions)) throw new ArgumentError('[tensor] shape must be given for a typed array')
    shape = [...shapeOrOptions]
    values = data
  } else {
    options = (shapeOrOptions as TensorOptions | undefined) ?? {}
    const found: number[] = []
    const flat: number[] = []
    flatten(data, found, 0, flat)
    shape = found
    values = typed(flat, options.dtype ?? 'f32')
  }
  checkShape('tensor', shape)
  const dtype = options.dtype ?? dtypeOfData(values)
  const source = dtypeOfData(values)
  const fits = source === dtype || (source === 'f32' && isFloat(dtype)) || (source === 'bf16' && dtype === 'f16')
  if (!fits) throw new ArgumentError(`[tensor] data for dtype ${dtype} must not be a ${values.constructor.name}`)
  const size = shape.reduce((product, dimension) => product * dimension, 1)
  if (values.length !== size)
    throw new ArgumentError(`[tensor] data must have ${size} elements for shape [${shape.join(', ')}], has ${values.length}`)
  const device = resolveDevice(options.device)
  const result = allocate(device, shape, dtype)
  device.write(result, dtypeIds[source === 'bf16' ? dtype : source], values)
  if (options.requiresGrad) result.requireGrad()
  return result
}

/** A tensor whose elements are not set: for outputs. */
export function empty<const S extends Shape, D extends DType = 'f32'>(shape: S, options: TensorOptions<D> = {}): Tensor<S, D> {
  checkShape('empty', shape)
  const result = allocate(resolveDevice(options.device), shape, (options.dtype ?? 'f32') as D)
  if (options.requiresGrad) result.requireGrad()
  return result
}
