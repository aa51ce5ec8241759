import { createReadStream } from 'node:fs'
import { DataError } from '../errors.ts'

/** One sentence and its translation. */
export interface Pair {
  source: string
  target: string
}

/** A line of text and its number in the input, from 1. */
export interface Line {
  text: string
  number: number
}

export interface LineOptions {
  /** What errors call the input, for example the file's path. Default `input`. */
  name?: string
  /** A longer line is an error, so that a file without line ends cannot fill the memory. Bytes, default 1 MiB. */
  maxLineBytes?: number
}

const LF = 0x0a
const BOM = '\ufeff'

/**
 * The lines of a byte stream (a file, `process.stdin`): UTF-8, ended by LF or CRLF, an optional byte-order mark at the start, the last line with or
 * without an end. Lines are given as soon as they have arrived; memory holds one chunk and one unfinished line.
 *
 * Throws `DataError` with the line's number for bytes that are not UTF-8 and for a line longer than `maxLineBytes`.
 */
export async function* readLines(
  input: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: LineOptions = {},
): AsyncGenerator<Line, void, void> {
  const { name = 'input', maxLineBytes = 1 << 20 } = options
  let number = 0
  let rest: Uint8Array[] = [] // pieces of the line that has not ended yet
  let restBytes = 0
  for await (const chunk of input) {
    const end = chunk.lastIndexOf(LF) + 1
    if (end > 0) {
      const block = restBytes === 0 ? chunk.subarray(0, end) : Buffer.concat([...rest, chunk.subarray(0, end)])
      for (const text of decodeLines(block.subarray(0, block.length - 1), number, name, maxLineBytes)) yield { text, number: ++number }
      rest = []
      restBytes = 0
    }
    if (end < chunk.length) {
      // A copy (Buffer's own slice is a view): the stream may use the chunk's memory again.
      rest.push(new Uint8Array(chunk.subarray(end)))
      restBytes += chunk.length - end
      if (restBytes > maxLineBytes) throw tooLong(name, number + 1, maxLineBytes)
    }
  }
  if (restBytes > 0) {
    for (const text of decodeLines(Buffer.concat(rest), number, name, maxLineBytes)) yield { text, number: ++number }
  }
}

/** Decodes whole lines at once, which is several times faster than one by one; only to find a bad line are they taken singly. */
function decodeLines(block: Uint8Array, before: number, name: string, maxLineBytes: number): string[] {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let text: string
  try {
    text = decoder.decode(block)
  } catch (cause) {
    let start = 0
    for (let line = before + 1; ; line++) {
      const found = block.indexOf(LF, start)
      const end = found < 0 ? block.length : found
      try {
        decoder.decode(block.subarray(start, end))
      } catch {
        throw new DataError('not valid UTF-8', { file: name, line }, { cause })
      }
      start = end + 1
    }
  }
  const lines = text.split('\n')
  for (let i = 0; i < lines.length; i++) {
    let line = lines[i] as string
    if (line.length * 3 > maxLineBytes && Buffer.byteLength(line) > maxLineBytes) throw tooLong(name, before + i + 1, maxLineBytes)
    if (line.endsWith('\r')) line = line.slice(0, -1)
    if (before + i === 0 && line.startsWith(BOM)) line = line.slice(1)
    lines[i] = line
  }
  return lines
}

const tooLong = (file: string, line: number, bytes: number) => new DataError(`the line is longer than ${bytes} bytes`, { file, line })

/** The bytes of a file, with errors that name it. */
async function* readBytes(path: string): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* createReadStream(path, { highWaterMark: 1 << 18 })
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    const reasons: Record<string, string> = {
      ENOENT: 'no such file',
      EISDIR: 'is a folder, not a file',
      EACCES: 'may not be read (permission denied)',
    }
    const reason = reasons[String(code)] ?? `cannot be read (${cause instanceof Error ? cause.message : cause})`
    throw new DataError(reason, { file: path }, { cause })
  }
}

/** The lines of a text file; see `readLines`. */
export function readTextFile(path: string, options: Omit<LineOptions, 'name'> = {}): AsyncGenerator<Line, void, void> {
  return readLines(readBytes(path), { ...options, name: path })
}

/**
 * Streams the pairs of a file with `source TAB target` on each line (see `readLines` for the encoding). Blank lines are allowed at the end only.
 * Sides are given as they stand, spaces included.
 *
 * Throws `DataError` naming file and line for: a missing file, a file without pairs, a line with no tab or several, an empty side, bytes that are not UTF-8.
 */
export async function* readPairs(path: string, options: Omit<LineOptions, 'name'> = {}): AsyncGenerator<Pair, void, void> {
  let blank = 0
  let count = 0
  for await (const { text, number } of readTextFile(path, options)) {
    if (text === '') {
      blank ||= number
      continue
    }
    if (blank > 0) throw new DataError('the line is blank (expected source TAB target)', { file: path, line: blank })
    yield parsePair(text, path, number)
    count++
  }
  if (count === 0) throw new DataError('the file has no pairs (expected source TAB target on each line)', { file: path })
}

function parsePair(text: string, file: string, line: number): Pair {
  const fields = text.split('\t')
  if (fields.length === 1) throw new DataError('the line has no tab (expected source TAB target)', { file, line })
  if (fields.length > 2) throw new DataError(`the line has ${fields.length - 1} tabs (expected source TAB target)`, { file, line })
  const [source, target] = fields as [string, string]
  if (source.trim() === '') throw new DataError('the source (before the tab) is empty', { file, line })
  if (target.trim() === '') throw new DataError('the target (after the tab) is empty', { file, line })
  return { source, target }
}

/** All pairs of a file at once; see `readPairs`. */
export async function loadPairs(path: string, options: Omit<LineOptions, 'name'> = {}): Promise<Pair[]> {
  const pairs: Pair[] = []
  for await (const pair of readPairs(path, options)) pairs.push(pair)
  return pairs
}
