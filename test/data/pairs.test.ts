import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadPairs, readLines, readPairs, readTextFile } from '../../lib/data/pairs.ts'
import { DataError } from '../../lib/errors.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tilewise-pairs-'))
})
afterAll(() => rm(folder, { recursive: true }))

let files = 0
async function file(content: string | Uint8Array): Promise<string> {
  const path = join(folder, `pairs-${files++}.tsv`)
  await writeFile(path, content)
  return path
}

async function failure(promise: Promise<unknown>): Promise<DataError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(DataError)
  return error as DataError
}

async function lines(chunks: Uint8Array[], options?: { maxLineBytes?: number }): Promise<string[]> {
  const found: string[] = []
  for await (const line of readLines(chunks, options)) {
    found.push(line.text)
    expect(line.number).toBe(found.length)
  }
  return found
}

describe('readPairs', () => {
  const pairs = [
    { source: 'I drink tea.', target: '我喝茶。' },
    { source: 'naïve café 🙂', target: '𠮷' },
  ]

  it.each([
    ['LF', 'I drink tea.\t我喝茶。\nnaïve café 🙂\t𠮷\n'],
    ['CRLF', 'I drink tea.\t我喝茶。\r\nnaïve café 🙂\t𠮷\r\n'],
    ['no end of the last line', 'I drink tea.\t我喝茶。\nnaïve café 🙂\t𠮷'],
    ['a byte-order mark', '\ufeffI drink tea.\t我喝茶。\nnaïve café 🙂\t𠮷\n'],
    ['a blank final line', 'I drink tea.\t我喝茶。\nnaïve café 🙂\t𠮷\n\n'],
    ['blank final lines with CRLF', 'I drink tea.\t我喝茶。\r\nnaïve café 🙂\t𠮷\r\n\r\n\r\n'],
  ])('reads a file with %s', async (_, content) => {
    expect(await loadPairs(await file(content))).toEqual(pairs)
  })

  it.each([
    ['a line without a tab', 'a\tb\nno tab here\n', 2, 'has no tab'],
    ['more than one tab', 'a\tb\nc\td\te\tf\n', 2, 'has 3 tabs'],
    ['an empty source', 'a\tb\nc\td\n \tb\n', 3, 'source (before the tab) is empty'],
    ['an empty target', 'a\t\r\n', 1, 'target (after the tab) is empty'],
    ['a blank line in the middle', 'a\tb\n\n\nc\td\n', 2, 'is blank'],
  ])('names file and line of %s', async (_, content, line, message) => {
    const path = await file(content)
    const error = await failure(loadPairs(path))
    expect(error.message).toBe(`${path}:${line}: ${error.message.slice(`${path}:${line}: `.length)}`)
    expect(error.message).toContain(message)
    expect(error).toMatchObject({ code: 'TILEWISE_DATA', file: path, line, name: 'DataError' })
  })

  it.each([
    ['a lone continuation byte', [0x80]],
    ['Latin-1', [0xe9]],
    ['an overlong form', [0xc0, 0xaf]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['UTF-16', [0xff, 0xfe]],
  ])('names the line of bytes that are not UTF-8: %s', async (_, bytes) => {
    const path = await file(Buffer.concat([Buffer.from('你好\tb\nc\td\ne'), Buffer.from(bytes), Buffer.from('\tf\ng\th\n')]))
    expect((await failure(loadPairs(path))).message).toBe(`${path}:3: not valid UTF-8`)
  })

  it('takes a character cut off by the end of the file for invalid', async () => {
    const path = await file(Buffer.from('a\tb\nc\t你').subarray(0, -1))
    expect((await failure(loadPairs(path))).message).toBe(`${path}:2: not valid UTF-8`)
  })

  it.each([
    ['empty', ''],
    ['only a byte-order mark', '\ufeff'],
    ['only blank lines', '\n\r\n'],
  ])('rejects a file that is %s', async (_, content) => {
    const path = await file(content)
    expect((await failure(loadPairs(path))).message).toContain(`${path}: the file has no pairs`)
  })

  it('names a missing file and a folder', async () => {
    const missing = join(folder, 'missing.tsv')
    expect((await failure(loadPairs(missing))).message).toBe(`${missing}: no such file`)
    expect((await failure(loadPairs(folder))).message).toBe(`${folder}: is a folder, not a file`)
  })

  it('gives the pairs before a bad line, and closes the file when left early', async () => {
    const path = await file('a\tb\nc\td\nbad\n')
    const seen: string[] = []
    for await (const pair of readPairs(path)) {
      seen.push(pair.source)
      if (seen.length === 2) break
    }
    expect(seen).toEqual(['a', 'c'])
  })

  it('reads a file of many chunks whole and in order', async () => {
    const count = 60_000
    const path = await file(Array.from({ length: count }, (_, i) => `source ${i} ${'x'.repeat(i % 50)}\t目标 ${i}\n`).join(''))
    let i = 0
    for await (const pair of readPairs(path)) {
      if (pair.target !== `目标 ${i}` || !pair.source.startsWith(`source ${i} `)) expect.fail(`pair ${i} is ${JSON.stringify(pair)}`)
      i++
    }
    expect(i).toBe(count)
  })
})

describe('readLines', () => {
  it('gives the same lines however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: fc.constantFrom('a', 'é', '你', '🙂', ' ', '\t') })),
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        fc.array(fc.nat(40)),
        async (texts, end, ended, cuts) => {
          const bytes = Buffer.from(texts.join(end) + (ended && texts.length > 0 ? end : ''))
          const chunks: Uint8Array[] = []
          let start = 0
          for (const cut of cuts) {
            chunks.push(bytes.subarray(start, start + cut))
            start += cut
          }
          chunks.push(bytes.subarray(Math.min(start, bytes.length)))
          // A last line that is empty and has no end is no line.
          const expected = ended || texts.at(-1) !== '' ? texts : texts.slice(0, -1)
          expect(await lines(chunks)).toEqual(expected)
        },
      ),
    )
  })

  it('does not keep memory that the stream uses again', async () => {
    const chunk = Buffer.alloc(3)
    function* reuse() {
      for (const text of ['ab\n', 'cde', 'f\ng', 'h\n!']) {
        chunk.write(text)
        yield chunk
      }
    }
    const found: string[] = []
    for await (const line of readLines(reuse())) found.push(line.text)
    expect(found).toEqual(['ab', 'cdef', 'gh', '!'])
  })

  it('gives a line as soon as it has arrived', async () => {
    let asked = 0
    async function* stream() {
      asked++
      yield Buffer.from('first\nsec')
      asked++
      yield Buffer.from('ond\n')
    }
    const iterator = readLines(stream())
    expect((await iterator.next()).value).toEqual({ text: 'first', number: 1 })
    expect(asked).toBe(1)
    expect((await iterator.next()).value).toEqual({ text: 'second', number: 2 })
  })

  it('keeps blank lines, and a byte-order mark that is not at the start', async () => {
    expect(await lines([Buffer.from('\ufeffa\n\n\ufeffb\n\n')])).toEqual(['a', '', '\ufeffb', ''])
  })

  it('stops at a line that is too long, ended or not', async () => {
    const long = Buffer.from(`ab\n${'x'.repeat(101)}`)
    const message = 'input:2: the line is longer than 100 bytes'
    expect((await failure(lines([long], { maxLineBytes: 100 }))).message).toBe(message)
    expect((await failure(lines([Buffer.concat([long, Buffer.from('\n')])], { maxLineBytes: 100 }))).message).toBe(message)
    expect(await lines([Buffer.from(`${'é'.repeat(50)}\n`)], { maxLineBytes: 100 })).toHaveLength(1)
  })

  it('reads a plain text file', async () => {
    const found: string[] = []
    for await (const line of readTextFile(await file('one\r\ntwo'))) found.push(line.text)
    expect(found).toEqual(['one', 'two'])
  })
})
