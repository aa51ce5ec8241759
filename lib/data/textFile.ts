import { DataError } from '../errors.ts'
import { replaceFile, writeAll } from '../replaceFile.ts'

/**
 * Writes a text file so that its path holds either the old content or all of the new (see `replaceFile`). Pieces are written as they come, so a
 * large file need not be in memory at once. Throws DataError naming the file.
 */
export async function writeTextFile(path: string, pieces: Iterable<string>): Promise<void> {
  const encoder = new TextEncoder()
  try {
    await replaceFile(path, async file => {
      let buffer: string[] = []
      let length = 0
      for (const piece of pieces) {
        buffer.push(piece)
        length += piece.length
        if (length >= 1 << 16) {
          await writeAll(file, encoder.encode(buffer.join('')))
          buffer = []
          length = 0
        }
      }
      await writeAll(file, encoder.encode(buffer.join('')))
    })
  } catch (cause) {
    if (cause instanceof DataError) throw cause
    throw new DataError(`cannot be written (${cause instanceof Error ? cause.message : cause})`, { file: path }, { cause })
  }
}
