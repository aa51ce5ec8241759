/** A model folder: which files it has, and how it is written so that it never holds half a model. */
import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { DataError } from '../errors.ts'

export const CONFIG = 'config.json'
export const WEIGHTS = 'model.safetensors'
export const SOURCE_TOKENIZER = 'source.json'
export const TARGET_TOKENIZER = 'target.json'
/** What training has reported, one JSON object a line. Not needed to use the model. */
export const HISTORY = 'history.jsonl'

export const MODEL_FILES = [CONFIG, WEIGHTS, SOURCE_TOKENIZER, TARGET_TOKENIZER] as const

const code = (error: unknown) => (error instanceof Error && 'code' in error ? error.code : undefined)

/**
 * Checks that a model may be written to `folder`: it does not exist, or is a folder without a model, or `overwrite` is set. To be called before hours of
 * training. Throws `DataError`.
 */
export async function checkModelFolder(folder: string, options: { overwrite?: boolean } = {}): Promise<void> {
  let present: string[]
  try {
    present = await readdir(folder)
  } catch (cause) {
    if (code(cause) === 'ENOENT') return
    if (code(cause) === 'ENOTDIR') throw new DataError('is a file, a folder is needed', { file: folder }, { cause })
    throw new DataError(`cannot be read (${cause instanceof Error ? cause.message : cause})`, { file: folder }, { cause })
  }
  const files = [...MODEL_FILES, HISTORY].filter(name => present.includes(name))
  if (files.length > 0 && !options.overwrite)
    throw new DataError(`the folder already holds a model (${files.join(', ')})`, { file: folder })
}

/** Throws `DataError` that names what `folder` lacks of a model. */
export async function requireModelFolder(folder: string): Promise<void> {
  let present: string[]
  try {
    present = await readdir(folder)
  } catch (cause) {
    const reasons: Record<string, string> = { ENOENT: 'no such folder', ENOTDIR: 'is a file, a model folder is needed' }
    const reason = reasons[String(code(cause))] ?? `cannot be read (${cause instanceof Error ? cause.message : cause})`
    throw new DataError(reason, { file: folder }, { cause })
  }
  const missing = MODEL_FILES.filter(name => !present.includes(name))
  if (missing.length > 0)
    throw new DataError(`is not a model folder: ${missing.join(', ')} ${missing.length > 1 ? 'are' : 'is'} missing`, { file: folder })
}

/**
 * Writes files into `folder` together. All are written and synchronized in a folder of their own inside it, and only when every one is complete are they
 * renamed to their places, in the order given; so a failure leaves what was there. `write` gets the path to write to.
 */
export async function writeFolder(
  folder: string,
  files: readonly { name: string; write: (path: string) => Promise<void> }[],
): Promise<void> {
  const staging = join(folder, `.tilewise-${randomBytes(8).toString('hex')}.tmp`)
  let made: string | undefined
  try {
    made = await mkdir(folder, { recursive: true })
    await mkdir(staging)
    for (const { name, write } of files) await write(join(staging, name))
    for (const { name } of files) await rename(join(staging, name), join(folder, name))
    await rm(staging, { recursive: true })
    const directory = await open(folder, 'r')
    await directory.sync().finally(() => directory.close())
  } catch (cause) {
    // The first error says more than that its leftover cannot be removed.
    await rm(staging, { recursive: true, force: true }).catch(() => {})
    if (made !== undefined) await removeEmpty(folder, made).catch(() => {})
    if (!(cause instanceof Error && 'syscall' in cause)) throw cause
    throw new DataError(`the model cannot be written (${cause.message})`, { file: folder }, { cause })
  }
}

/** Removes folders that exist only because of a write that failed, from `folder` up to `top`, while nothing lies in them. */
async function removeEmpty(folder: string, top: string): Promise<void> {
  for (let path = resolve(folder); path.startsWith(resolve(top)); path = dirname(path)) await rmdir(path)
}
