import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { SafetensorsError } from '../errors.ts'

/** What the tensors of a file come as: F16 and BF16 as their bits, BOOL as bytes of 0 and 1. */
export interface SafetensorsArrays {
  U64: BigUint64Array
  I64: BigInt64Array
  F64: Float64Array
  F32: Float32Array
  U32: Uint32Array
  I32: Int32Array
  BF16: Uint16Array
  F16: Uint16Array
  U16: Uint16Array
  I16: Int16Array
  I8: Int8Array
  U8: Uint8Array
  BOOL: Uint8Array
}

export type SafetensorsDType = keyof SafetensorsArrays
export type SafetensorsArray = SafetensorsArrays[SafetensorsDType]

/** Where a file keeps a tensor: `begin` and `end` in bytes from the start of the tensor data. */
export interface SafetensorsInfo {
  readonly name: string
  readonly dtype: SafetensorsDType
  readonly shape: readonly number[]
  readonly begin: number
  readonly end: number
}

/** A tensor read from a file; `dtype` tells the compiler which array `data` is. */
export type SafetensorsTensor = {
  [D in SafetensorsDType]: { readonly dtype: D; readonly shape: readonly number[]; readonly data: SafetensorsArrays[D] }
}[SafetensorsDType]

type ArrayConstructor = { readonly BYTES_PER_ELEMENT: number; new (buffer: ArrayBuffer): SafetensorsArray }

/** In the order in which the reference writer lays tensors out: by falling alignment, so that each is aligned to its own element. */
export const arrayTypes: Readonly<Record<SafetensorsDType, ArrayConstructor>> = {
  U64: BigUint64Array,
  I64: BigInt64Array,
  F64: Float64Array,
  F32: Float32Array,
  U32: Uint32Array,
  I32: Int32Array,
  BF16: Uint16Array,
  F16: Uint16Array,
  U16: Uint16Array,
  I16: Int16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
}

export const layoutOrder: readonly string[] = Object.keys(arrayTypes)

/** The format's limits, as in native/core/safetensors.h. */
export const MAX_HEADER_SIZE = 100_000_000
export const MAX_RANK = 64

/** A name out of a file, fit for one line of a log. */
export const quote = (name: string): string => JSON.stringify(name.length <= 96 ? name : `${name.slice(0, 96)}…`)

export function tensorError(reason: string, file: string, tensor: string, message: string, cause?: unknown): SafetensorsError {
  return new SafetensorsError(reason, `tensor ${quote(tensor)}: ${message}`, { file, tensor }, cause === undefined ? {} : { cause })
}

/** Runs a job on `file`; an error of the system becomes a SafetensorsError that names it. Aborting is passed through as it is. */
export async function withFile<T>(file: string, verb: string, job: () => Promise<T>): Promise<T> {
  try {
    return await job()
  } catch (cause) {
    if (!(cause instanceof Error && 'syscall' in cause)) throw cause
    throw new SafetensorsError('Io', `cannot be ${verb} (${cause.message})`, { file }, { cause })
  }
}

/** Opens a regular file, runs a job on it and closes it if the job fails. */
export async function openFile<T>(file: string, job: (handle: FileHandle, stats: BigIntStats) => Promise<T>): Promise<T> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK) // A named pipe must not block the open.
  try {
    const stats = await handle.stat({ bigint: true })
    if (!stats.isFile()) throw new SafetensorsError('NotAFile', 'is not a regular file', { file })
    return await job(handle, stats)
  } catch (error) {
    await handle.close()
    throw error
  }
}
