import { open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { DataError } from '../errors.ts'

/**
 * Writes a text file so that its path holds either the old content or all of the new: a temporary file beside it, fsync, rename, fsync of the folder.
 * Pieces are written as they come, so a large file need not be in memory at once.
 */
export async function writeTextFile(path: string, pieces: Iterable<string>): Promise<void> {
  const folder = dirname(path)
  const temporary = join(folder, `.${basename(path)}.${process.pid}.tmp`)
  try {
    const file = await open(temporary, 'w')
    try {
      let buffer: string[] = []
      let length = 0
      for (const piece of pieces) {
        buffer.push(piece)
        length += piece.length
        if (length >= 1 << 16) {
          await file.write(buffer.join(''))
          buffer = []
          length = 0
        }
      }
      await file.write(buffer.join(''))
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    const directory = await open(folder, 'r')
    await directory.sync().finally(() => directory.close())
  } catch (cause) {
    await rm(temporary, { force: true })
    if (cause instanceof DataError) throw cause
    throw new DataError(`cannot be written (${cause instanceof Error ? cause.message : cause})`, { file: path }, { cause })
  }
}
