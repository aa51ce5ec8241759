import { randomBytes } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** Bytes a single read or write may ask for: Node counts them in 32 bits, and between two of them a job can be aborted. */
export const MAX_TRANSFER = 64 * 1024 * 1024

/**
 * Makes `path` hold all that `write` writes, or, if anything fails, what it held before: a temporary file in the same folder, fsync, rename, fsync of
 * the folder. The old file's bytes are never touched, so whoever has it open goes on reading them. A symbolic link at `path` is replaced, not
 * followed. A process that is killed may leave its temporary file, `.tilewise-<random>.tmp`.
 */
export async function replaceFile(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const folder = dirname(path)
  const temporary = join(folder, `.tilewise-${randomBytes(8).toString('hex')}.tmp`)
  const file = await open(temporary, 'wx') // Exclusive: a file or link of that name is never written through.
  try {
    try {
      await write(file)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {}) // The first error says more than that its leftover cannot be removed.
    throw error
  }
  const directory = await open(folder, 'r')
  await directory.sync().finally(() => directory.close())
}

/** Appends all of `bytes`, however often the system takes only a part of them. `signal` is looked at between the parts. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
  for (let offset = 0; offset < bytes.byteLength; ) {
    signal?.throwIfAborted()
    const { bytesWritten } = await file.write(bytes, offset, Math.min(bytes.byteLength - offset, MAX_TRANSFER))
    offset += bytesWritten
  }
}
