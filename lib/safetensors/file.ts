import type { BigIntStats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { ArgumentError, SafetensorsError } from '../errors.ts'
import { native, type SafetensorsHeader } from '../native.ts'
import { MAX_TRANSFER } from '../replaceFile.ts'
import { arrayTypes, MAX_HEADER_SIZE, openFile, type SafetensorsInfo, type SafetensorsTensor, tensorError, withFile } from './format.ts'

/** What models load weights from: one file, or a folder of shards. */
export interface SafetensorsSource {
  names(): string[]
  has(name: string): boolean
  info(name: string): SafetensorsInfo
  read(name: string, options?: ReadOptions): Promise<SafetensorsTensor>
  readInto(name: string, target: Uint8Array, options?: ReadIntoOptions): Promise<void>
  close(): Promise<void>
}

export interface ReadOptions {
  /** Rejects with the signal's reason, at the latest after 64 MiB more. */
  signal?: AbortSignal | undefined
}

export interface ReadIntoOptions extends ReadOptions {
  /** The first byte of the tensor to read (default 0). */
  offset?: number | undefined
}

/**
 * An open safetensors file whose header has been checked. Tensors are read by position, not mapped: a mapped file that is cut kills the process with
 * SIGBUS, and one that is written over in place changes weights silently. Reads may run side by side. Close it, or declare it with `await using`.
 */
export class SafetensorsFile implements SafetensorsSource {
  readonly path: string
  /** The file's `__metadata__`, without a prototype; empty if it has none. */
  readonly metadata: Readonly<Record<string, string>>
  readonly #handle: FileHandle
  readonly #opened: BigIntStats
  readonly #dataOffset: number
  readonly #tensors: ReadonlyMap<string, SafetensorsInfo>
  readonly #reading = new Set<Promise<void>>()
  #closing: Promise<void> | undefined

  /** Use `readSafetensors`. */
  constructor(path: string, handle: FileHandle, opened: BigIntStats, header: SafetensorsHeader) {
    this.path = path
    this.metadata = Object.freeze(Object.assign(Object.create(null), Object.fromEntries(header.metadata)))
    this.#handle = handle
    this.#opened = opened
    this.#dataOffset = header.dataOffset
    this.#tensors = new Map(
      header.tensors.map(tensor => [tensor.name, Object.freeze({ ...tensor, shape: Object.freeze(tensor.shape) }) as SafetensorsInfo]),
    )
  }

  /** The names of all tensors, in the order in which they lie in the file. */
  names(): string[] {
    return [...this.#tensors.keys()]
  }

  has(name: string): boolean {
    return this.#tensors.has(name)
  }

  /** Dtype, shape and place of a tensor. Throws a SafetensorsError with reason `TensorNotFound`. */
  info(name: string): SafetensorsInfo {
    const tensor = this.#tensors.get(name)
    if (tensor === undefined) throw tensorError('TensorNotFound', this.path, name, 'is not in this file')
    return tensor
  }

  /** Reads a tensor into an array of its own. Rejects with a SafetensorsError that names file and tensor. */
  async read(name: string, options: ReadOptions = {}): Promise<SafetensorsTensor> {
    const { dtype, shape, begin, end } = this.info(name)
    let buffer: ArrayBuffer
    try {
      buffer = new ArrayBuffer(end - begin)
    } catch (cause) {
      throw tensorError(
        'TensorTooLarge',
        this.path,
        name,
        `its ${end - begin} bytes do not fit one array; read it in parts with readInto`,
        cause,
      )
    }
    await this.readInto(name, new Uint8Array(buffer), options)
    return { dtype, shape, data: new arrayTypes[dtype](buffer) } as SafetensorsTensor // The table pairs each dtype with its array.
  }

  /** Fills `target` with the tensor's bytes from `options.offset` on: a way to load a large tensor through one small buffer. */
  async readInto(name: string, target: Uint8Array, options: ReadIntoOptions = {}): Promise<void> {
    const { signal, offset = 0 } = options
    const { begin, end } = this.info(name)
    if (!Number.isSafeInteger(offset) || offset < 0 || offset > end - begin - target.byteLength)
      throw new ArgumentError(`[readInto] offset must be in [0, ${end - begin} - ${target.byteLength}], is ${offset}`)
    if (this.#closing) throw new SafetensorsError('Closed', 'is closed', { file: this.path, tensor: name })
    const reading = withFile(this.path, 'read', async () => {
      const done = await readFully(this.#handle, target, this.#dataOffset + begin + offset, signal)
      // The handle keeps the inode that was opened: a file renamed over the path does no harm, only a write or a cut in place does.
      const now = await this.#handle.stat({ bigint: true })
      if (done < target.byteLength || now.size !== this.#opened.size || now.mtimeNs !== this.#opened.mtimeNs)
        throw tensorError('FileChanged', this.path, name, 'the file was cut or written over since it was opened')
    })
    this.#reading.add(reading)
    await reading.finally(() => this.#reading.delete(reading))
  }

  /** Waits for the reads under way, then closes. May be called again. */
  close(): Promise<void> {
    // The handle itself waits for one operation only, and a read is several.
    this.#closing ??= Promise.allSettled(this.#reading).then(() => this.#handle.close())
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  [Symbol.dispose](): void {
    this.close().catch(() => {}) // Nobody waits for it, and a file that was only read has nothing to lose.
  }
}

/**
 * Opens a safetensors file and checks its whole header: every byte of the file belongs to exactly one tensor, and each tensor has as many as its shape
 * and dtype say. Rejects with a SafetensorsError.
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  return withFile(path, 'read', () =>
    openFile(path, async (handle, stats) => new SafetensorsFile(path, handle, stats, await readHeader(path, handle, Number(stats.size)))),
  )
}

async function readHeader(path: string, handle: FileHandle, fileSize: number): Promise<SafetensorsHeader> {
  const prefix = Buffer.alloc(8)
  await readFully(handle, prefix, 0)
  const length = prefix.readBigUInt64LE()
  // What cannot be a header is not read; the length alone then makes the parser say why.
  const bytes = Buffer.alloc(Math.min(fileSize, 8 + (length <= MAX_HEADER_SIZE && length <= fileSize ? Number(length) : 0)))
  const done = await readFully(handle, bytes, 0)
  try {
    return native.parseSafetensorsHeader(bytes.subarray(0, done), fileSize)
  } catch (cause) {
    const { code, tensor, message } = cause as { code?: string; tensor?: string; message: string }
    if (code === undefined) throw cause
    throw new SafetensorsError(code, message, { file: path, tensor }, { cause })
  }
}

/** Reads until `target` is full or the file ends. Returns the number of bytes read. */
async function readFully(handle: FileHandle, target: Uint8Array, position: number, signal?: AbortSignal): Promise<number> {
  let done = 0
  while (done < target.byteLength) {
    signal?.throwIfAborted()
    const { bytesRead } = await handle.read(target, done, Math.min(target.byteLength - done, MAX_TRANSFER), position + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done
}
