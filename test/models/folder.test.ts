import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { DataError } from '../../lib/errors.ts'
import { checkModelFolder, requireModelFolder, writeFolder } from '../../lib/models/folder.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tilewise-folder-'))
})
afterEach(() => rm(root, { recursive: true }))

const text = (name: string, content: string) => ({ name, write: (path: string) => writeFile(path, content) })

it('writes all files, also into a folder that holds others', async () => {
  const folder = join(root, 'a', 'b')
  await writeFolder(folder, [text('one', '1'), text('two', '2')])
  await writeFile(join(folder, 'notes.txt'), 'mine')
  await writeFolder(folder, [text('one', '3')])
  expect((await readdir(folder)).sort()).toEqual(['notes.txt', 'one', 'two'])
  expect(await readFile(join(folder, 'one'), 'utf8')).toBe('3')
  expect(await readFile(join(folder, 'notes.txt'), 'utf8')).toBe('mine')
})

it('leaves everything as it was when one file cannot be written', async () => {
  const folder = join(root, 'model')
  const fail = { name: 'two', write: () => Promise.reject(new Error('disk on fire')) }
  await expect(writeFolder(join(folder, 'deep', 'er'), [text('one', '1'), fail])).rejects.toThrow('disk on fire')
  expect(await readdir(root)).toEqual([])
  await writeFolder(folder, [text('one', 'old')])
  await expect(writeFolder(folder, [text('one', 'new'), fail])).rejects.toThrow('disk on fire')
  expect(await readdir(folder)).toEqual(['one'])
  expect(await readFile(join(folder, 'one'), 'utf8')).toBe('old')
})

it('names the folder when the system refuses', async () => {
  await writeFile(join(root, 'file'), '')
  await expect(writeFolder(join(root, 'file'), [text('one', '1')])).rejects.toThrow(DataError)
  await expect(writeFolder(join(root, 'file', 'below'), [text('one', '1')])).rejects.toThrow(join(root, 'file', 'below'))
})

it('says whether a model may be written', async () => {
  const folder = join(root, 'model')
  await checkModelFolder(folder)
  await mkdir(folder)
  await writeFile(join(folder, 'notes.txt'), '')
  await checkModelFolder(folder)
  await writeFile(join(folder, 'config.json'), '')
  await expect(checkModelFolder(folder)).rejects.toThrow(`${folder}: the folder already holds a model (config.json)`)
  await checkModelFolder(folder, { overwrite: true })
  await expect(checkModelFolder(join(folder, 'notes.txt'))).rejects.toThrow('is a file, a folder is needed')
})

it('says what a folder lacks', async () => {
  const folder = join(root, 'model')
  await expect(requireModelFolder(folder)).rejects.toThrow(`${folder}: no such folder`)
  await writeFolder(folder, [text('config.json', ''), text('source.json', ''), text('target.json', '')])
  await expect(requireModelFolder(folder)).rejects.toThrow('model.safetensors is missing')
  await expect(requireModelFolder(join(folder, 'config.json'))).rejects.toThrow('is a file, a model folder is needed')
  await writeFile(join(folder, 'model.safetensors'), '')
  await requireModelFolder(folder)
})
