import { join } from 'node:path'
import { SafetensorsError } from '../errors.ts'
import { type ReadIntoOptions, type ReadOptions, readSafetensors, type SafetensorsFile, type SafetensorsSource } from './file.ts'
import { MAX_HEADER_SIZE, openFile, quote, type SafetensorsInfo, type SafetensorsTensor, tensorError, withFile } from './format.ts'

const INDEX = 'model.safetensors.index.json'

/** The shards of a folder, read as if they were one file. Close it, or declare it with `await using`. */
export class SafetensorsIndex implements SafetensorsSource {
  readonly path: string
  /** The index's `metadata`, as it stands there: `total_size` in most. */
  readonly metadata: Readonly<Record<string, unknown>>
  /** The shards by file name. */
  readonly files: ReadonlyMap<string, SafetensorsFile>
  readonly #shardOf: ReadonlyMap<string, SafetensorsFile>

  /** Use `readIndex`. */
  constructor(
    path: string,
    metadata: Readonly<Record<string, unknown>>,
    files: ReadonlyMap<string, SafetensorsFile>,
    shardOf: ReadonlyMap<string, SafetensorsFile>,
  ) {
    this.path = path
    this.metadata = metadata
    this.files = files
    this.#shardOf = shardOf
  }

  /** The names of all tensors, in the order of the index. */
  names(): string[] {
    return [...this.#shardOf.keys()]
  }

  has(name: string): boolean {
    return this.#shardOf.has(name)
  }

  info(name: string): SafetensorsInfo {
    return this.#shard(name).info(name)
  }

  async read(name: string, options?: ReadOptions): Promise<SafetensorsTensor> {
    return this.#shard(name).read(name, options)
  }

  async readInto(name: string, target: Uint8Array, options?: ReadIntoOptions): Promise<void> {
    return this.#shard(name).readInto(name, target, options)
  }

  async close(): Promise<void> {
    await closeAll(this.files.values())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  [Symbol.dispose](): void {
    for (const file of this.files.values()) file[Symbol.dispose]()
  }

  #shard(name: string): SafetensorsFile {
    const shard = this.#shardOf.get(name)
    if (shard === undefined) throw tensorError('TensorNotFound', this.path, name, 'is not in this index')
    return shard
  }
}

/**
 * Opens the shards that `model.safetensors.index.json` in `folder` names and checks that index and shards agree: each tensor of the index is in its
 * shard, and no shard holds another. Shards are plain file names in the folder; a link there may lead elsewhere, as in Hugging Face's cache. Rejects
 * with a SafetensorsError.
 */
export async function readIndex(folder: string): Promise<SafetensorsIndex> {
  const path = join(folder, INDEX)
  const { metadata, weightMap } = await parseIndex(path)
  const files = new Map<string, SafetensorsFile>()
  try {
    const shardOf = new Map<string, SafetensorsFile>()
    for (const [tensor, shard] of weightMap) {
      if (!files.has(shard)) files.set(shard, await readSafetensors(join(folder, shard)))
      shardOf.set(tensor, files.get(shard)!)
    }
    checkShards(path, files, weightMap)
    return new SafetensorsIndex(path, metadata, files, shardOf)
  } catch (error) {
    await closeAll(files.values())
    throw error
  }
}

async function parseIndex(path: string): Promise<{ metadata: Readonly<Record<string, unknown>>; weightMap: Map<string, string> }> {
  const invalid = (message: string, cause?: unknown) => new SafetensorsError('InvalidIndex', message, { file: path }, { cause })
  const text = await withFile(path, 'read', () =>
    openFile(path, async (handle, { size }) => {
      if (size > MAX_HEADER_SIZE) throw invalid(`index of ${size} bytes is over the limit of ${MAX_HEADER_SIZE}`)
      const content = await handle.readFile('utf8')
      await handle.close()
      return content
    }),
  )
  let index: unknown
  try {
    index = JSON.parse(text)
  } catch (cause) {
    throw invalid('is not JSON', cause)
  }
  if (!isObject(index) || !isObject(index.weight_map)) throw invalid('must be an object with the object weight_map')
  if (index.metadata !== undefined && !isObject(index.metadata)) throw invalid('metadata must be an object')
  const weightMap = new Map<string, string>()
  for (const [tensor, shard] of Object.entries(index.weight_map)) {
    if (!isPlainFileName(shard))
      throw tensorError(
        'InvalidName',
        path,
        tensor,
        `its shard must be a plain file name in the folder of the index, is ${quote(String(shard))}`,
      )
    weightMap.set(tensor, shard)
  }
  return { metadata: index.metadata ?? {}, weightMap }
}

function checkShards(path: string, files: ReadonlyMap<string, SafetensorsFile>, weightMap: ReadonlyMap<string, string>): void {
  for (const [tensor, shard] of weightMap)
    if (!files.get(shard)!.has(tensor)) throw tensorError('MissingTensor', path, tensor, `is not in its shard ${quote(shard)}`)
  for (const [shard, file] of files)
    for (const tensor of file.names())
      if (weightMap.get(tensor) !== shard) {
        const other = weightMap.get(tensor)
        throw tensorError(
          'UnexpectedTensor',
          path,
          tensor,
          `is in the shard ${quote(shard)}, but the index ${other === undefined ? 'does not name it' : `has it in ${quote(other)}`}`,
        )
      }
}

async function closeAll(files: Iterable<SafetensorsFile>): Promise<void> {
  await Promise.all(Array.from(files, file => file.close()))
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

const isPlainFileName = (name: unknown): name is string =>
  typeof name === 'string' && name !== '' && name !== '.' && name !== '..' && !/[/\\\0]/.test(name)
