import { SafetensorsError } from '../errors.ts'
import { replaceFile, writeAll } from '../replaceFile.ts'
import {
  arrayTypes,
  layoutOrder,
  MAX_HEADER_SIZE,
  MAX_RANK,
  quote,
  type SafetensorsArray,
  type SafetensorsDType,
  tensorError,
  withFile,
} from './format.ts'

export interface SafetensorsInput {
  name: string
  dtype: SafetensorsDType
  /** Dimensions, outermost first; `[]` for a single number. */
  shape: readonly number[]
  /** The dtype's array or its bytes; or a function that gives them when their turn comes, so that no more than one tensor need be in memory. */
  data: SafetensorsArray | (() => SafetensorsArray | Promise<SafetensorsArray>)
}

export interface WriteOptions {
  /** Rejects with the signal's reason and leaves the old file. */
  signal?: AbortSignal | undefined
  /** Called after each tensor with the bytes of tensor data written so far, and of all. */
  onProgress?: ((written: number, total: number) => void) | undefined
}

/**
 * Writes a safetensors file, byte for byte as the reference writer lays it out. Its path holds the old file or all of the new one, also after a power
 * cut: temporary file in the same folder, fsync, rename, fsync of the folder. Writing over a file that is open for reading, even one that the data
 * comes from, is safe. Rejects with a SafetensorsError, or with what a data function throws.
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<SafetensorsInput>,
  metadata: Readonly<Record<string, string>> = {},
  options: WriteOptions = {},
): Promise<void> {
  const { signal, onProgress } = options
  const laidOut = layOut(path, tensors)
  const header = encodeHeader(path, laidOut, metadata)
  const total = laidOut.at(-1)?.end ?? 0
  signal?.throwIfAborted()
  await withFile(path, 'written', () =>
    replaceFile(path, async file => {
      await writeAll(file, header, signal)
      for (const { tensor, begin, end } of laidOut) {
        const data = typeof tensor.data === 'function' ? await tensor.data() : tensor.data
        await writeAll(file, bytesOf(path, tensor, end - begin, data), signal)
        onProgress?.(end, total)
      }
      signal?.throwIfAborted()
    }),
  )
}

interface LaidOut {
  tensor: SafetensorsInput
  begin: number
  end: number
}

/** Checks the tensors, but for data that a function will give, and sorts them as the reference does: by alignment, then by the bytes of the name. */
function layOut(file: string, tensors: Iterable<SafetensorsInput>): LaidOut[] {
  const names = new Set<string>()
  const keyed = Array.from(tensors, tensor => {
    const { name, dtype, data } = tensor
    if (!isText(name) || name === '__metadata__')
      throw tensorError('InvalidName', file, String(name), 'a name must be a string without lone surrogates, and not __metadata__')
    if (names.has(name)) throw tensorError('DuplicateKey', file, name, 'is there twice')
    names.add(name)
    const order = layoutOrder.indexOf(dtype)
    if (order < 0)
      throw tensorError('UnknownDtype', file, name, `dtype must be one of ${layoutOrder.join(', ')}, is ${quote(String(dtype))}`)
    const size = byteSize(file, tensor)
    if (typeof data !== 'function') bytesOf(file, tensor, size, data)
    return { tensor, order, size, key: Buffer.from(name) }
  })
  keyed.sort((a, b) => a.order - b.order || Buffer.compare(a.key, b.key))
  let end = 0
  return keyed.map(({ tensor, size }) => {
    const begin = end
    end += size
    if (!Number.isSafeInteger(end)) throw tensorError('ValidationOverflow', file, tensor.name, 'the file would be over 2^53 bytes')
    return { tensor, begin, end }
  })
}

function byteSize(file: string, { name, dtype, shape }: SafetensorsInput): number {
  if (!Array.isArray(shape) || shape.length > MAX_RANK || !shape.every(dimension => Number.isSafeInteger(dimension) && dimension >= 0))
    throw tensorError('InvalidShape', file, name, `shape must be at most ${MAX_RANK} non-negative integers, is [${shape}]`)
  // Dimensions of 0 do not excuse the others, as in the reader: strides are products of them too.
  const size = shape.reduce((product, dimension) => product * (dimension || 1), arrayTypes[dtype].BYTES_PER_ELEMENT)
  if (!Number.isSafeInteger(size)) throw tensorError('ValidationOverflow', file, name, `shape [${shape}] is over 2^53 bytes`)
  return shape.includes(0) ? 0 : size
}

function bytesOf(file: string, { name, dtype, shape }: SafetensorsInput, size: number, data: SafetensorsArray): Uint8Array {
  if (!(data instanceof arrayTypes[dtype] || data instanceof Uint8Array))
    throw tensorError('InvalidTensorView', file, name, `data of ${dtype} must be a ${arrayTypes[dtype].name} or a Uint8Array`)
  if (data.byteLength !== size)
    throw tensorError('InvalidTensorView', file, name, `${dtype} of shape [${shape}] must have ${size} bytes, has ${data.byteLength}`)
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}

function encodeHeader(file: string, laidOut: readonly LaidOut[], metadata: Readonly<Record<string, string>>): Uint8Array {
  // Entry by entry: an object would put names that look like integers first.
  const entries = laidOut.map(
    ({ tensor: { name, dtype, shape }, begin, end }) =>
      `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`,
  )
  const pairs = Object.entries(metadata)
  for (const [key, value] of pairs)
    if (!isText(key) || !isText(value))
      throw new SafetensorsError('InvalidMetadata', `metadata entry ${quote(key)} must be a string without lone surrogates`, { file })
  if (pairs.length > 0) entries.unshift(`"__metadata__":${JSON.stringify(metadata)}`)
  const json = Buffer.from(`{${entries.join(',')}}`)
  const length = Math.ceil(json.byteLength / 8) * 8
  if (length > MAX_HEADER_SIZE)
    throw new SafetensorsError('HeaderTooLarge', `header of ${length} bytes is over the limit of ${MAX_HEADER_SIZE}`, { file })
  const header = Buffer.alloc(8 + length, ' ')
  header.writeBigUInt64LE(BigInt(length))
  json.copy(header, 8)
  return header
}

const isText = (value: unknown): value is string => typeof value === 'string' && !/\p{Surrogate}/u.test(value)
