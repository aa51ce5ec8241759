import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import ts from 'typescript'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ArgumentError, SafetensorsError } from '../lib/errors.ts'
import {
  readIndex,
  readSafetensors,
  type SafetensorsArray,
  type SafetensorsDType,
  type SafetensorsInput,
  writeSafetensors,
} from '../lib/safetensors.ts'

const FIXTURE = fileURLToPath(new URL('fixtures/safetensors/reference.safetensors', import.meta.url))

let folder: string
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tilewise-safetensors-'))
  path = join(folder, 'model.safetensors')
})
afterEach(() => rm(folder, { recursive: true }))

function encode(header: string | Uint8Array, data: number | Uint8Array = 0, length?: bigint): Buffer {
  const json = Buffer.from(header as string)
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(length ?? BigInt(json.byteLength))
  return Buffer.concat([prefix, json, typeof data === 'number' ? Buffer.alloc(data) : data])
}

const one = (dtype: string, shape: string, offsets: string) => `{"test":{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}}`
const VALID = one('I32', '[2,2]', '[0,16]')

/** The error that a job must reject with. */
async function failure(job: Promise<unknown>): Promise<SafetensorsError> {
  const error = await job.then(
    () => undefined,
    (cause: unknown) => cause,
  )
  expect(error).toBeInstanceOf(SafetensorsError)
  return error as SafetensorsError
}

async function reasonOf(bytes: Uint8Array): Promise<string> {
  await writeFile(path, bytes)
  const error = await failure(readSafetensors(path))
  expect(error.code).toBe('TILEWISE_SAFETENSORS')
  expect(error.file).toBe(path)
  expect(error.message.startsWith(`${path}: `)).toBe(true)
  return error.reason
}

const openDescriptors = async () => (await readdir('/proc/self/fd')).length
const float = (name: string, ...values: number[]): SafetensorsInput => ({
  name,
  dtype: 'F32',
  shape: [values.length],
  data: new Float32Array(values),
})

describe('the reference’s own refusals', () => {
  test.each<[string, Uint8Array, string]>([
    [
      'test_metadata_incomplete_buffer: trailing bytes',
      Buffer.concat([encode(VALID, 16), Buffer.from('extra_bogus_data_for_polyglot_file')]),
      'MetadataIncompleteBuffer',
    ],
    ['test_metadata_incomplete_buffer: 2 bytes missing', encode(VALID, 14), 'MetadataIncompleteBuffer'],
    ['test_header_too_large', encode(VALID, 16, 0xffffff000000003cn), 'HeaderTooLarge'],
    ['test_header_too_small', Buffer.alloc(0), 'HeaderTooSmall'],
    ['test_header_too_small: 7 bytes', Buffer.alloc(7), 'HeaderTooSmall'],
    ['test_invalid_header_length', encode('', 0, 60n), 'InvalidHeaderLength'],
    ['test_invalid_header_non_utf8', encode(Uint8Array.of(0xff)), 'InvalidHeader'],
    ['test_invalid_header_not_json', encode('{'), 'InvalidHeaderPadding'],
    ['not JSON inside', encode('{"a":}'), 'InvalidHeaderDeserialization'],
    ['test_whitespace_padded_header: not spaces, which alone the format allows', encode('{}\r \t\n'), 'InvalidHeaderPadding'],
    ['test_whitespace_leading_padded_header: refused, the format wants { first', encode('\t\n{}\r '), 'InvalidHeaderStart'],
    ['test_invalid_info', encode(one('I32', '[2,2]', '[0, 4]'), 4), 'TensorInvalidInfo'],
    ['test_validation_overflow: shape', encode(one('I32', '[2,18446744073709551614]', '[0,16]'), 16), 'ValidationOverflow'],
    ['test_validation_overflow: bytes', encode(one('I32', '[2,9223372036854775807]', '[0,16]'), 16), 'ValidationOverflow'],
    ['test_serialization_fp4_misaligned', encode(one('F4', '[1,3]', '[0,2]'), 2), 'MisalignedSlice'],
    [
      'safetensors-cpp: a product of 4 modulo 2^64',
      encode(one('F32', '[4194305,4194305,211106198978564]', '[0,16]'), 16),
      'ValidationOverflow',
    ],
    ['negative offset', encode(one('U8', '[1]', '[-1,0]'), 1), 'InvalidOffset'],
    [
      'a ZIP file behind the tensors',
      encode(VALID, Buffer.concat([Buffer.alloc(16), Buffer.from('PK\x05\x06'), Buffer.alloc(18)])),
      'MetadataIncompleteBuffer',
    ],
    ['a script hidden behind NUL', encode('{}\0#!/bin/sh}'), 'InvalidHeaderDeserialization'],
    ['hole between tensors', encode(one('U8', '[1]', '[1,2]'), 2), 'InvalidOffset'],
    ['duplicate tensor', encode(`${VALID.slice(0, -1)},${VALID.slice(1)}`, 16), 'DuplicateKey'],
    ['metadata that is not a string', encode('{"__metadata__":{"a":1}}'), 'InvalidMetadata'],
    ['unknown dtype', encode(one('F33', '[1]', '[0,4]'), 4), 'UnknownDtype'],
    ['float in shape', encode(one('U8', '[1.0]', '[0,1]'), 1), 'InvalidShape'],
  ])('%s', async (_, bytes, reason) => {
    expect(await reasonOf(bytes)).toBe(reason)
  })

  test('test_json_attack: ten tensors on one range', async () => {
    const entries = Array.from({ length: 10 }, (_, i) => `"weight_${i}":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}`)
    expect(await reasonOf(encode(`{${entries}}`, 16))).toBe('InvalidOffset')
  })

  test('a dtype that the format knows but Tilewise does not is named, with its tensor', async () => {
    await writeFile(path, encode(one('F8_E4M3', '[4]', '[0,4]'), 4))
    const error = await failure(readSafetensors(path))
    expect(error).toMatchObject({
      reason: 'UnsupportedDtype',
      tensor: 'test',
      message: `${path}: tensor "test": dtype F8_E4M3 is not supported`,
    })
  })

  test('safetensors_abuse_attempt_1: a length of 1000 in a small file', async () => {
    expect(await reasonOf(encode(VALID, 16, 1000n))).toBe('InvalidHeaderLength')
  })

  test('safetensors_abuse_attempt_2: ten million tensors are over the limit and not read', async () => {
    const file = await open(path, 'w')
    await file.write(encode('{', 0, 700_000_000n))
    await file.truncate(1_400_000_008) // Sparse: takes no room.
    await file.close()
    const before = process.memoryUsage().rss
    expect((await failure(readSafetensors(path))).reason).toBe('HeaderTooLarge')
    expect(process.memoryUsage().rss - before).toBeLessThan(100e6)
  })

  test('safetensors_abuse_attempt_3: a hundred thousand tensors on one range, refused within seconds', async () => {
    const entries = Array.from({ length: 100_000 }, (_, i) => `"weight_${i}":{"dtype":"F32","shape":[200,200],"data_offsets":[0,160000]}`)
    const bytes = encode(`{${entries}}`, 160_000)
    const start = performance.now()
    expect(await reasonOf(bytes)).toBe('InvalidOffset')
    expect(performance.now() - start).toBeLessThan(5000)
  })

  test('a flipped bit or changed byte anywhere gives a valid file or a SafetensorsError', async () => {
    const valid = await readFile(FIXTURE)
    const headerEnd = 8 + Number(valid.readBigUInt64LE())
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(headerEnd - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), async changes => {
        const bytes = Buffer.from(valid)
        for (const [position, value] of changes) bytes[position] = value
        await writeFile(path, bytes)
        const file = await readSafetensors(path).catch((error: unknown) => {
          expect(error).toBeInstanceOf(SafetensorsError)
        })
        if (!file) return
        for (const name of file.names()) await file.read(name)
        await file.close()
      }),
      { numRuns: 300 },
    )
  })

  test('a refused file is closed', async () => {
    await writeFile(path, encode('{'))
    const before = await openDescriptors()
    for (let i = 0; i < 20; i++) await failure(readSafetensors(path))
    expect(await openDescriptors()).toBe(before)
  })
})

describe('what the reference allows', () => {
  test('test_zero_sized_tensor and test_empty_shapes_allowed', async () => {
    await writeFile(path, encode(one('I32', '[2,0]', '[0, 0]')))
    await using empty = await readSafetensors(path)
    expect(await empty.read('test')).toEqual({ dtype: 'I32', shape: [2, 0], data: new Int32Array(0) })
    await writeFile(join(folder, 'scalar'), encode(one('I32', '[]', '[0,4]'), Buffer.from(Int32Array.of(7).buffer)))
    await using scalar = await readSafetensors(join(folder, 'scalar'))
    expect(await scalar.read('test')).toEqual({ dtype: 'I32', shape: [], data: Int32Array.of(7) })
  })

  test('no tensors, padded by spaces (test_empty, test_whitespace_padded_header)', async () => {
    await writeFile(path, encode('{"__metadata__":{"framework":"pt"}}    '))
    await using file = await readSafetensors(path)
    expect(file.names()).toEqual([])
    expect(file.metadata).toEqual({ framework: 'pt' })
  })

  test('names that JavaScript objects treat specially', async () => {
    const names = ['__proto__', 'constructor', '10', '9', '', 'a\0b', 'toString']
    await writeSafetensors(
      path,
      names.map((name, i) => float(name, i)),
      { ['__proto__']: 'p', constructor: 'c' },
    )
    await using file = await readSafetensors(path)
    expect(file.names().sort()).toEqual([...names].sort())
    for (const [i, name] of names.entries()) expect((await file.read(name)).data).toEqual(Float32Array.of(i))
    expect(Object.entries(file.metadata)).toEqual([
      ['__proto__', 'p'],
      ['constructor', 'c'],
    ])
    expect(file.metadata.valueOf).toBeUndefined()
    expect(file.has('valueOf')).toBe(false)
  })
})

describe('the reference library', () => {
  test('its file is read bit by bit', async () => {
    await using file = await readSafetensors(FIXTURE)
    const bits = async (name: string) => (await file.read(name)).data
    expect(file.metadata).toEqual({ format: 'pt' })
    expect(await bits('f64')).toEqual(Float64Array.of(0, -0, 1.5, -2.25, Infinity, -Infinity, NaN, 65504, 2 ** -1074))
    expect(await file.read('f32')).toEqual({
      dtype: 'F32',
      shape: [2, 4],
      data: Float32Array.of(0, -0, 1.5, -2.25, Infinity, -Infinity, NaN, 65504),
    })
    expect(await file.read('f16')).toEqual({
      dtype: 'F16',
      shape: [2, 2, 2],
      data: Uint16Array.of(0, 0x8000, 0x3e00, 0xc080, 0x7c00, 0xfc00, 0x7e00, 0x7bff),
    })
    expect(await file.read('bf16')).toEqual({
      dtype: 'BF16',
      shape: [8, 1],
      data: Uint16Array.of(0, 0x8000, 0x3fc0, 0xc010, 0x7f80, 0xff80, 0x7fc0, 0x4780),
    })
    expect(await bits('i64')).toEqual(BigInt64Array.of(-(2n ** 63n), -1n, 0n, 2n ** 63n - 1n))
    expect(await bits('u64')).toEqual(BigUint64Array.of(0n, 2n ** 63n - 1n))
    expect(await bits('i32')).toEqual(Int32Array.of(-(2 ** 31), 2 ** 31 - 1))
    expect(await bits('u32')).toEqual(Uint32Array.of(2 ** 32 - 1, 5))
    expect(await bits('i16')).toEqual(Int16Array.of(-(2 ** 15), 2 ** 15 - 1, 7))
    expect(await bits('u16')).toEqual(Uint16Array.of(2 ** 16 - 1, 5))
    expect(await bits('i8')).toEqual(Int8Array.of(-128, 127, 3))
    expect(await bits('u8')).toEqual(Uint8Array.of(0, 255, 1))
    expect(await file.read('bool')).toEqual({ dtype: 'BOOL', shape: [3], data: Uint8Array.of(1, 0, 1) })
    expect(await file.read('scalar')).toEqual({ dtype: 'F32', shape: [], data: Float32Array.of(42) })
    expect(await file.read('empty')).toEqual({ dtype: 'F32', shape: [2, 0, 3], data: new Float32Array(0) })
    expect(file.names()).toHaveLength(20)
  })

  test('our writer makes the same file byte for byte (test_serialization_forced_alignement)', async () => {
    await using file = await readSafetensors(FIXTURE)
    const tensors = await Promise.all(file.names().map(async name => ({ name, ...(await file.read(name)) })))
    await writeSafetensors(path, tensors.reverse(), file.metadata)
    expect(await readFile(path)).toEqual(await readFile(FIXTURE))
  })
})

describe('reading', () => {
  test('an unknown tensor, a closed file, a wrong offset', async () => {
    await writeSafetensors(path, [float('w', 1, 2)])
    const file = await readSafetensors(path)
    expect(await failure(file.read('v'))).toMatchObject({ reason: 'TensorNotFound', tensor: 'v', file: path })
    await expect(file.readInto('w', new Uint8Array(9))).rejects.toThrow('[readInto] offset must be in [0, 8 - 9], is 0')
    await expect(file.readInto('w', new Uint8Array(4), { offset: 5 })).rejects.toThrow(ArgumentError)
    await expect(file.readInto('w', new Uint8Array(4), { offset: -1 })).rejects.toThrow(ArgumentError)
    const pending = file.read('w')
    await Promise.all([file.close(), file.close()])
    expect((await pending).data).toEqual(Float32Array.of(1, 2))
    expect(await failure(file.read('w'))).toMatchObject({ reason: 'Closed' })
  })

  test('readInto fills a part', async () => {
    await writeSafetensors(path, [float('a', 0), float('w', 1, 2, 3)])
    await using file = await readSafetensors(path)
    const target = new Float32Array(2)
    await file.readInto('w', new Uint8Array(target.buffer), { offset: 4 })
    expect(target).toEqual(Float32Array.of(2, 3))
  })

  test('using and await using close the file', async () => {
    await writeSafetensors(path, [float('w', 1)])
    const before = await openDescriptors()
    {
      await using file = await readSafetensors(path)
      expect(file.has('w')).toBe(true)
      expect(await openDescriptors()).toBe(before + 1)
    }
    expect(await openDescriptors()).toBe(before)
    {
      using file = await readSafetensors(path)
      expect((await file.read('w')).shape).toEqual([1])
    }
    await expect.poll(openDescriptors).toBe(before)
  })

  test('a file cut while it is open', async () => {
    await writeSafetensors(path, [float('a', 1), float('b', ...new Array(5000).fill(2))])
    await using file = await readSafetensors(path)
    await truncate(path, 300)
    expect(await failure(file.read('b'))).toMatchObject({ reason: 'FileChanged', tensor: 'b', file: path })
    expect(await failure(file.read('a'))).toMatchObject({ reason: 'FileChanged', tensor: 'a' })
  })

  test('a file written over in place while it is open', async () => {
    await writeSafetensors(path, [float('a', 1)])
    await using file = await readSafetensors(path)
    const bytes = await readFile(path)
    await writeFile(path, bytes.fill(0, bytes.byteLength - 4))
    await utimes(path, new Date(), new Date(Date.now() + 1000)) // The clock of a file may stand still for some milliseconds.
    expect(await failure(file.read('a'))).toMatchObject({ reason: 'FileChanged', tensor: 'a' })
  })

  test('what is not a file', async () => {
    expect(await failure(readSafetensors(join(folder, 'none')))).toMatchObject({ reason: 'Io', file: join(folder, 'none') })
    expect(await failure(readSafetensors(folder))).toMatchObject({ reason: 'NotAFile' })
    const [code] = await once(spawn('mkfifo', [path]), 'close')
    expect(code).toBe(0)
    expect(await failure(readSafetensors(path))).toMatchObject({ reason: 'NotAFile' })
  })

  test('an aborted read', async () => {
    await writeSafetensors(path, [float('w', 1)])
    await using file = await readSafetensors(path)
    await expect(file.read('w', { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
  })
})

describe('writing', () => {
  const itemSize: Record<SafetensorsDType, number> = {
    F64: 8,
    F32: 4,
    F16: 2,
    BF16: 2,
    I64: 8,
    I32: 4,
    I16: 2,
    I8: 1,
    U64: 8,
    U32: 4,
    U16: 2,
    U8: 1,
    BOOL: 1,
  }

  test('what is written is read back, and every tensor is aligned to its element', async () => {
    const tensorArbitrary = fc
      .record({
        name: fc.string({ unit: 'binary', maxLength: 12 }).filter(name => name !== '__metadata__'),
        dtype: fc.constantFrom(...(Object.keys(itemSize) as SafetensorsDType[])),
        shape: fc.array(fc.nat(5), { maxLength: 4 }),
      })
      .chain(({ name, dtype, shape }) => {
        const size = shape.reduce((product, dimension) => product * dimension, itemSize[dtype])
        return fc.uint8Array({ minLength: size, maxLength: size }).map(data => ({ name, dtype, shape, data }))
      })
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(tensorArbitrary, { selector: tensor => tensor.name, maxLength: 8 }),
        fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), { maxKeys: 4 }),
        async (tensors, metadata) => {
          await writeSafetensors(path, tensors, metadata)
          await using file = await readSafetensors(path)
          expect(Object.entries(file.metadata)).toEqual(Object.entries(metadata))
          expect(file.names().sort()).toEqual(tensors.map(tensor => tensor.name).sort())
          for (const { name, dtype, shape, data } of tensors) {
            const tensor = await file.read(name)
            expect([tensor.dtype, tensor.shape]).toEqual([dtype, shape])
            expect(new Uint8Array(tensor.data.buffer)).toEqual(data)
            expect(file.info(name).begin % itemSize[dtype]).toBe(0)
          }
        },
      ),
      { numRuns: 200 },
    )
  })

  test('data from functions, one at a time, with progress', async () => {
    const order: string[] = []
    const progress: [number, number][] = []
    const lazy = (name: string, value: number): SafetensorsInput => ({
      ...float(name, value),
      data: async () => {
        order.push(name)
        return Float32Array.of(value)
      },
    })
    await writeSafetensors(path, [lazy('b', 2), lazy('a', 1)], {}, { onProgress: (...step) => progress.push(step) })
    expect(order).toEqual(['a', 'b'])
    expect(progress).toEqual([
      [4, 8],
      [8, 8],
    ])
    await using file = await readSafetensors(path)
    expect((await file.read('b')).data).toEqual(Float32Array.of(2))
  })

  test('a view into a larger buffer', async () => {
    await writeSafetensors(path, [{ name: 'w', dtype: 'I16', shape: [2], data: Int16Array.of(1, 2, 3, 4).subarray(1, 3) }])
    await using file = await readSafetensors(path)
    expect((await file.read('w')).data).toEqual(Int16Array.of(2, 3))
  })

  test.each<[string, SafetensorsInput[], Record<string, string>, string, string | undefined]>([
    ['two tensors of one name', [float('w', 1), float('w', 2)], {}, 'DuplicateKey', 'w'],
    ['the name __metadata__', [float('__metadata__', 1)], {}, 'InvalidName', '__metadata__'],
    ['a name that UTF-8 cannot hold', [float('\ud800', 1)], {}, 'InvalidName', '\ud800'],
    ['too little data (InvalidTensorView)', [{ ...float('w', 1), shape: [2] }], {}, 'InvalidTensorView', 'w'],
    ['the array of another dtype', [{ ...float('w', 1), data: Int32Array.of(1) }], {}, 'InvalidTensorView', 'w'],
    ['an unknown dtype', [{ ...float('w', 1), dtype: 'F8_E4M3' as 'U8' }], {}, 'UnknownDtype', 'w'],
    ['a negative dimension', [{ ...float('w', 1), shape: [-1] }], {}, 'InvalidShape', 'w'],
    ['a fraction', [{ ...float('w', 1), shape: [0.5] }], {}, 'InvalidShape', 'w'],
    ['a shape that overflows', [{ ...float('w', 1), shape: [2 ** 40, 2 ** 40] }], {}, 'ValidationOverflow', 'w'],
    ['a shape that overflows beside a 0', [{ ...float('w'), shape: [0, 2 ** 40, 2 ** 40] }], {}, 'ValidationOverflow', 'w'],
    ['metadata that is not a string', [], { a: 1 as unknown as string }, 'InvalidMetadata', undefined],
    ['test_invalid_header_size_serialization', [], { a: 'a'.repeat(100_000_000) }, 'HeaderTooLarge', undefined],
  ])('refuses %s', async (_, tensors, metadata, reason, tensor) => {
    expect(await failure(writeSafetensors(path, tensors, metadata))).toMatchObject({ reason, tensor, file: path })
    expect(await readdir(folder)).toEqual([])
  })

  test('test_serialize_to_file_same_path_with_active_mmap: over the open file that the data comes from', async () => {
    await writeSafetensors(path, [float('w', 1, 2, 3), float('v', 4)])
    await using source = await readSafetensors(path)
    const copies = source.names().map(name => ({ ...source.info(name), data: async () => (await source.read(name)).data }))
    await writeSafetensors(path, copies)
    {
      await using file = await readSafetensors(path)
      expect((await file.read('w')).data).toEqual(Float32Array.of(1, 2, 3))
    }
    await writeSafetensors(path, [float('w', 9)])
    expect((await source.read('w')).data).toEqual(Float32Array.of(1, 2, 3))
    await using file = await readSafetensors(path)
    expect((await file.read('w')).data).toEqual(Float32Array.of(9))
  })

  test.each<[string, () => SafetensorsArray | Promise<SafetensorsArray>, string]>([
    [
      'throws',
      () => {
        throw new Error('lost device')
      },
      'lost device',
    ],
    ['gives too little', () => new Float32Array(3), 'tensor "z": F32 of shape [4] must have 16 bytes, has 12'],
  ])('leaves the old file and nothing else when a data function %s', async (_, data, message) => {
    await writeSafetensors(path, [float('w', 1)])
    const before = await readFile(path)
    await expect(writeSafetensors(path, [float('a', 1), { ...float('z', 1, 2, 3, 4), data }])).rejects.toThrow(message)
    expect(await readFile(path)).toEqual(before)
    expect(await readdir(folder)).toEqual(['model.safetensors'])
  })

  test('leaves the old file and nothing else when it is aborted', async () => {
    await writeSafetensors(path, [float('w', 1)])
    const before = await readFile(path)
    const controller = new AbortController()
    const job = writeSafetensors(
      path,
      [float('a', 1), float('b', 1)],
      {},
      { signal: controller.signal, onProgress: () => controller.abort(new Error('enough')) },
    )
    await expect(job).rejects.toThrow('enough')
    expect(await readFile(path)).toEqual(before)
    expect(await readdir(folder)).toEqual(['model.safetensors'])
  })

  test('a folder that is not there, a path that is a folder', async () => {
    const missing = join(folder, 'none', 'x.safetensors')
    expect(await failure(writeSafetensors(missing, []))).toMatchObject({ reason: 'Io', file: missing })
    await mkdir(path)
    expect(await failure(writeSafetensors(path, []))).toMatchObject({ reason: 'Io', file: path })
    expect(await readdir(folder)).toEqual(['model.safetensors'])
  })

  test('replaces a link, does not follow it', async () => {
    const target = join(folder, 'blob')
    await writeFile(target, 'untouched')
    await symlink(target, path)
    await writeSafetensors(path, [float('w', 1)])
    expect(await readFile(target, 'utf8')).toBe('untouched')
    expect((await stat(path)).isFile()).toBe(true)
  })
})

describe('replaceFile in a process of its own', () => {
  /** Starts a script that may import replaceFile, compiled here since Node 20 does not read TypeScript. */
  async function start(script: string, shell = '') {
    const source = await readFile(fileURLToPath(new URL('../lib/replaceFile.ts', import.meta.url)), 'utf8')
    const { outputText } = ts.transpileModule(source, { compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext } })
    const scripts = await mkdtemp(join(folder, 'scripts-'))
    await writeFile(join(scripts, 'replaceFile.mjs'), outputText)
    await writeFile(join(scripts, 'main.mjs'), `import { replaceFile, writeAll } from './replaceFile.mjs'\n${script}`)
    return spawn('bash', ['-c', `${shell} exec "$0" "$1" "$2"`, process.execPath, join(scripts, 'main.mjs'), path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  }

  test('a disk that takes only a part: the old file stays, no temporary file is left', async () => {
    await writeFile(path, 'old')
    const child = await start(
      `const error = await replaceFile(process.argv[2], file => writeAll(file, new Uint8Array(1 << 20))).catch(error => error)
       process.exit(error.code === 'EFBIG' ? 42 : 1)`,
      'ulimit -f 64;', // Files of at most 64 KiB: the first write is cut short, the second fails.
    )
    expect((await once(child, 'exit'))[0]).toBe(42)
    expect(await readFile(path, 'utf8')).toBe('old')
    expect((await readdir(folder)).filter(name => name.endsWith('.tmp'))).toEqual([])
  })

  test('killed at any moment: the file is a whole old one or a whole new one', async () => {
    const SIZE = 4 << 20
    await writeFile(path, Buffer.alloc(SIZE, 255))
    const child = async () =>
      start(`for (let i = 0; ; i++) {
        await replaceFile(process.argv[2], async file => { for (let part = 0; part < 4; part++) await writeAll(file, Buffer.alloc(${SIZE / 4}, i)) })
        if (i === 0) console.log('one')
      }`)
    for (let round = 0; round < 6; round++) {
      const process = await child()
      await once(process.stdout, 'data')
      await new Promise(resolve => setTimeout(resolve, round * 7))
      process.kill('SIGKILL')
      await once(process, 'exit')
      const bytes = await readFile(path)
      expect(bytes.byteLength).toBe(SIZE)
      expect(bytes.equals(Buffer.alloc(SIZE, bytes[0]))).toBe(true)
    }
  })
})

describe('shards', () => {
  const index = (weightMap: unknown, metadata?: unknown) =>
    writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata, weight_map: weightMap }))

  test('are read as one file', async () => {
    await writeSafetensors(join(folder, 'm-1.safetensors'), [float('a', 1), float('b', 2)])
    await writeSafetensors(join(folder, 'm-2.safetensors'), [float('c', 3)])
    await index({ c: 'm-2.safetensors', a: 'm-1.safetensors', b: 'm-1.safetensors' }, { total_size: 12 })
    const before = await openDescriptors()
    {
      await using shards = await readIndex(folder)
      expect(shards.names()).toEqual(['c', 'a', 'b'])
      expect(shards.metadata).toEqual({ total_size: 12 })
      expect([...shards.files.keys()]).toEqual(['m-2.safetensors', 'm-1.safetensors'])
      expect((await shards.read('c')).data).toEqual(Float32Array.of(3))
      expect(shards.info('b')).toMatchObject({ dtype: 'F32', shape: [1], begin: 4, end: 8 })
      const target = new Uint8Array(4)
      await shards.readInto('a', target)
      expect(new Float32Array(target.buffer)).toEqual(Float32Array.of(1))
      expect(await failure(shards.read('d'))).toMatchObject({ reason: 'TensorNotFound', tensor: 'd' })
    }
    expect(await openDescriptors()).toBe(before)
  })

  test('may be links, as in the Hugging Face cache', async () => {
    await mkdir(join(folder, 'snapshot'))
    await writeSafetensors(join(folder, 'blob'), [float('a', 1)])
    await symlink('../blob', join(folder, 'snapshot', 'm.safetensors'))
    await writeFile(join(folder, 'snapshot', 'model.safetensors.index.json'), '{"weight_map":{"a":"m.safetensors"}}')
    await using shards = await readIndex(join(folder, 'snapshot'))
    expect((await shards.read('a')).data).toEqual(Float32Array.of(1))
  })

  test.each([
    '../m.safetensors',
    '/etc/passwd',
    'sub/m.safetensors',
    '..',
    '.',
    '',
    'm\0.safetensors',
    '..\\m.safetensors',
    7,
    null,
    ['m.safetensors'],
  ])('refuses the shard %j', async shard => {
    await index({ a: shard })
    expect(await failure(readIndex(folder))).toMatchObject({ reason: 'InvalidName', tensor: 'a' })
  })

  test.each<[string, string, string]>([
    ['is not JSON', '{', 'InvalidIndex'],
    ['is a list', '[]', 'InvalidIndex'],
    ['has no weight_map', '{}', 'InvalidIndex'],
    ['has a list for weight_map', '{"weight_map":[]}', 'InvalidIndex'],
    ['has a string for metadata', '{"weight_map":{},"metadata":"x"}', 'InvalidIndex'],
    ['names a shard that is not there', '{"weight_map":{"a":"none.safetensors"}}', 'Io'],
    ['is deep', '['.repeat(1e6), 'InvalidIndex'],
  ])('refuses an index that %s', async (_, text, reason) => {
    await writeFile(join(folder, 'model.safetensors.index.json'), text)
    expect(await failure(readIndex(folder))).toMatchObject({ reason })
  })

  test('refuses an index over the limit, a missing one, and one that is a folder', async () => {
    expect(await failure(readIndex(folder))).toMatchObject({ reason: 'Io' })
    await index({})
    await truncate(join(folder, 'model.safetensors.index.json'), 100_000_001)
    expect(await failure(readIndex(folder))).toMatchObject({ reason: 'InvalidIndex' })
    await rm(join(folder, 'model.safetensors.index.json'))
    await mkdir(join(folder, 'model.safetensors.index.json'))
    expect(await failure(readIndex(folder))).toMatchObject({ reason: 'NotAFile' })
  })

  test('every tensor is there exactly once, and what is refused is closed', async () => {
    await writeSafetensors(join(folder, '1'), [float('a', 1), float('b', 2)])
    await writeSafetensors(join(folder, '2'), [float('a', 3)])
    const before = await openDescriptors()
    await index({ a: '1', b: '1', c: '2' })
    expect(await failure(readIndex(folder))).toMatchObject({ reason: 'MissingTensor', tensor: 'c' })
    await index({ a: '1' })
    expect(await failure(readIndex(folder))).toMatchObject({ reason: 'UnexpectedTensor', tensor: 'b' })
    await index({ b: '1', a: '2' })
    expect((await failure(readIndex(folder))).message).toContain('tensor "a": is in the shard "1", but the index has it in "2"')
    await writeFile(join(folder, 'model.safetensors.index.json'), '{"weight_map":{"a":"1","b":"1","a":"2"}}')
    expect(await failure(readIndex(folder))).toMatchObject({ reason: 'UnexpectedTensor', tensor: 'a' })
    expect(await openDescriptors()).toBe(before)
  })

  test('a shard that is a bad file is named', async () => {
    await writeFile(join(folder, '1'), encode('{'))
    await index({ a: '1' })
    expect(await failure(readIndex(folder))).toMatchObject({ reason: 'InvalidHeaderPadding', file: join(folder, '1') })
  })
})
