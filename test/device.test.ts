import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import {
  ArgumentError,
  add,
  DeviceError,
  DisposedError,
  device,
  gpuReport,
  mul,
  OutOfMemoryError,
  sum,
  tensor,
  transpose,
  UnsupportedError,
  zeros,
} from '../lib/index.ts'

const cpu = device('cpu')

describe('device', () => {
  it('auto says what it chose and why', () => {
    const { refusal } = gpuReport()
    const chosen = device('auto')
    expect(chosen.kind).toBe(refusal === '' ? 'cuda' : 'cpu')
    const { name, detail } = chosen.information
    expect(chosen.reason).toBe(`${refusal === '' ? 'a GPU can be used' : refusal}: ${name}, ${detail}`)
    expect(device('auto')).toBe(chosen)
  })
  it('reports GPUs without needing a driver', () => {
    const { built, driver, runtime, kernels, refusal, gpus } = gpuReport()
    if (built)
      expect({ runtime, kernels }).toEqual({ runtime: expect.stringMatching(/^\d+\.\d$/), kernels: expect.stringContaining('sm_80') })
    else expect(refusal).toBe('this build has no CUDA device')
    if (built && driver === '') expect(refusal).toBe('this machine has no NVIDIA driver')
    expect(refusal === '').toBe(gpus.some(gpu => gpu.refusal === ''))
    for (const gpu of gpus) expect(gpu.capability).toMatch(/^\d+\.\d$/)
  })
  it('cuda is refused with the reason where it cannot be used, and a GPU that is not there always', () => {
    const { refusal, gpus } = gpuReport()
    if (refusal !== '') expect(() => device('cuda')).toThrow(`[device] 'cuda' cannot be used: ${refusal}`)
    else expect(device('cuda', { index: gpus.find(gpu => gpu.refusal === '')?.index ?? 0 }).kind).toBe('cuda')
    expect(() => device('cuda', { index: 99 })).toThrow(UnsupportedError)
    expect(() => device('cuda', { index: -1 })).toThrow('[device] index must be a non-negative integer, is -1')
  })
  it('refuses kinds and options that it does not have, by name', () => {
    expect(() => device('tpu' as 'cpu')).toThrow("[device] kind must be 'auto', 'cpu' or 'cuda', is 'tpu'")
    expect(() => device('cpu', { threads: -1 })).toThrow('[device] threads must be a non-negative integer, is -1')
  })
  it('has the same bits with any number of threads for element-wise work', async () => {
    const data = Float32Array.from({ length: 100_000 }, (_, i) => Math.sin(i))
    const run = async (threads: number) => mul(tensor(data, [100_000], { device: device('cpu', { threads }) }), 3).read()
    expect(await run(1)).toEqual(await run(2))
  })
})

describe('errors', () => {
  it('bad arguments throw at the call and queue nothing', async () => {
    const x = zeros([2, 3], { device: cpu })
    // @ts-expect-error the compiler sees it too
    expect(() => add(x, zeros([4], { device: cpu }))).toThrow('[add] b must broadcast with a: shapes [2, 3] and [4] differ at dimension -1')
    expect(() => add(x, 'no' as never)).toThrow('[add] b must be a Tensor, is string')
    expect(() => add(x, tensor([1], { device: cpu, dtype: 'i32' }))).toThrow('[add] b must have dtype f32 as a has, is i32')
    expect(() => add(x, zeros([3], { device: device('cpu', { threads: 1 }) }))).toThrow('tensors of one op share a device')
    expect(Array.from(await add(x, 1).read())).toEqual([1, 1, 1, 1, 1, 1])
  })
  it('a disposed tensor is refused wherever it goes', async () => {
    const x = zeros([2], { device: cpu })
    x.dispose()
    expect(() => add(x, 1)).toThrow(DisposedError)
    await expect(x.read()).rejects.toThrow('[read] the tensor f32[2] has been disposed')
  })
  it('data must fit: shapes, types, regular nesting, and no more than 2^31 a dimension', () => {
    expect(() => tensor(new Float32Array(3), [2, 2], { device: cpu })).toThrow('[tensor] data must have 4 elements for shape [2, 2], has 3')
    expect(() => tensor([[1, 2], [3]], { device: cpu })).toThrow('[tensor] data must be a regular nested array')
    expect(() => tensor(new Int32Array(1), [1], { device: cpu, dtype: 'f32' })).toThrow(
      '[tensor] data for dtype f32 must not be a Int32Array',
    )
    expect(() => zeros([-1], { device: cpu })).toThrow(ArgumentError)
    expect(() => zeros([1.5], { device: cpu })).toThrow(ArgumentError)
    expect(() => zeros([2 ** 31], { device: cpu })).toThrow(ArgumentError)
    expect(() => zeros([2 ** 30, 2 ** 30, 2 ** 30], { device: cpu })).toThrow(
      '[empty] shape [1073741824, 1073741824, 1073741824] has more than 2^53 bytes',
    )
    expect(() => zeros([1, 1, 1, 1, 1, 1, 1], { device: cpu })).toThrow('[empty] a tensor has at most 6 dimensions, shape has 7')
  })
})

describe('out of memory', () => {
  it('fails the op and what depends on it, names the owners, and leaves the device working', async () => {
    const small = device('cpu', { memoryLimit: 1 << 20 })
    const x = zeros([1000], { device: small })
    const held = zeros([100_000], { device: small })
    const broken = add(zeros([200_000], { device: small }), 1)
    const dependent = sum(broken)
    const error = await dependent.item().catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(OutOfMemoryError)
    expect((error as OutOfMemoryError).message).toMatch(/out of memory: a f32 tensor \[200000\] needs 800000 bytes/)
    expect((error as OutOfMemoryError).detail).toMatch(/live \d+ bytes; largest: \w+ 400000/)
    expect(Array.from((await add(x, 1).read()).slice(0, 3))).toEqual([1, 1, 1])
    held.dispose()
    broken.dispose()
    expect(await sum(zeros([200_000], { device: small })).item()).toBe(0)
  })
  it('counts live, cached and peak bytes, and trims', async () => {
    const own = device('cpu', { memoryLimit: 1 << 24 })
    const x = zeros([1024], { device: own })
    await own.synchronize()
    expect(own.memory()).toMatchObject({ live: 4096, limit: 1 << 24 })
    x.dispose()
    await own.synchronize()
    expect(own.memory()).toMatchObject({ live: 0, cached: 4096, peak: 4096 })
    own.trim()
    own.resetPeak()
    await own.synchronize()
    expect(own.memory()).toMatchObject({ live: 0, cached: 0, peak: 0 })
  })
})

describe('data', () => {
  it('is copied before the call returns, from shared memory too', async () => {
    const shared = new Float32Array(new SharedArrayBuffer(16))
    shared.set([1, 2, 3, 4])
    const t = tensor(shared, [4], { device: cpu })
    shared.fill(9)
    expect(Array.from(await t.read())).toEqual([1, 2, 3, 4])
  })
  it('goes through every dtype', async () => {
    expect(Array.from(await tensor([1, 0, 3], { device: cpu, dtype: 'u8' }).read())).toEqual([1, 0, 3])
    expect(Array.from(await tensor([-7, 2 ** 30], { device: cpu, dtype: 'i32' }).read())).toEqual([-7, 2 ** 30])
    expect(Array.from(await tensor([1.5, -2], { device: cpu, dtype: 'bf16' }).read())).toEqual([1.5, -2])
    expect(Array.from(await tensor([1.5, 65504, 1e-7], { device: cpu, dtype: 'f16' }).read())).toEqual([1.5, 65504, 2 ** -24 * 2])
    expect((await zeros([0, 5], { device: cpu }).read()).length).toBe(0)
    expect(
      Array.from(
        await transpose(
          tensor(
            [
              [1, 2],
              [3, 4],
            ],
            { device: cpu },
          ),
        ).read(),
      ),
    ).toEqual([1, 3, 2, 4])
  })
  it.each(['bf16', 'f16'] as const)('keeps all 65,536 bit patterns of %s, and rounds to the nearest', async dtype => {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i)
    const t = tensor(bits, [65536], { device: cpu, dtype })
    const raw = (await t.readRaw()) as Uint16Array
    expect(raw).toEqual(bits)
    const wide = await t.read()
    const exponentBits = dtype === 'bf16' ? 8 : 5
    const mantissaBits = 15 - exponentBits
    const exact = (pattern: number) => {
      const sign = pattern >> 15 ? -1 : 1
      const exponent = (pattern >> mantissaBits) & ((1 << exponentBits) - 1)
      const mantissa = pattern & ((1 << mantissaBits) - 1)
      const bias = (1 << (exponentBits - 1)) - 1
      if (exponent === (1 << exponentBits) - 1) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY
      if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits)
      return sign * (1 + mantissa * 2 ** -mantissaBits) * 2 ** (exponent - bias)
    }
    for (let i = 0; i < 65536; i++)
      if (!Object.is(wide[i], Math.fround(exact(i))) && !Number.isNaN(exact(i)))
        throw new Error(`${dtype} ${i}: ${wide[i]}, not ${exact(i)}`)
    // Halfway and a little to both sides between neighbours: ties go to the even pattern.
    const finite = Array.from({ length: 0x7fff }, (_, i) => i).filter(i => Number.isFinite(exact(i + 1)))
    const middle = Float32Array.from(finite, i => (exact(i) + exact(i + 1)) / 2)
    const rounded = (await tensor(middle, [middle.length], { device: cpu, dtype }).readRaw()) as Uint16Array
    for (const [k, i] of finite.entries())
      if (rounded[k] !== (i % 2 === 0 ? i : i + 1)) throw new Error(`${dtype}: between ${i} and ${i + 1} gave ${rounded[k]}`)
    expect(await tensor([Number.NaN], { device: cpu, dtype }).item()).toBeNaN()
  })
})

describe('the process', () => {
  const run = (body: string) =>
    execFileSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', `import { device, tensor, zeros, mul, sum } from './lib/index.ts'\n${body}`],
      {
        cwd: fileURLToPath(new URL('..', import.meta.url)),
        encoding: 'utf8',
        timeout: 30_000,
      },
    )
  it('ends by itself when nothing is awaited, and not before', () => {
    expect(run("const x = tensor([1]); x.read().then(v => console.log('read', v[0]))")).toBe('read 1\n')
    expect(run("tensor([1]); console.log('idle')")).toBe('idle\n')
  })
  it('may exit with work in flight', () => {
    expect(
      run(
        "let x = zeros([1000, 1000]); for (let i = 0; i < 500; i++) x = mul(x, 2); x.read(); process.on('exit', () => console.log('bye')); process.exit(0)",
      ),
    ).toBe('bye\n')
  })
  // The C library's exit handlers free code that oneDNN has generated: no thread may be in it then. One exit in four met one.
  it('may exit in the middle of matrix products, and use devices while it does', { timeout: 120_000 }, () => {
    const body = `
      import { matmul } from './lib/index.ts'
      const x = zeros([192, 192])
      await x.read()
      const more = () => { for (let i = 0; i < 32; i++) matmul(x, x).dispose(); setImmediate(more) }
      more()
      process.on('exit', () => { for (let i = 0; i < 100; i++) x.add(1).dispose(); x.read().catch(() => {}); console.log('bye') })
      setTimeout(() => process.exit(0), 15)`
    for (let i = 0; i < 8; i++) expect(run(body)).toBe('bye\n')
  })
  it('survives an error that nobody awaits', () => {
    expect(
      run("const d = device('cpu', { memoryLimit: 1000 }); zeros([1000], { device: d }); console.log(await sum(tensor([1, 2])).item())"),
    ).toBe('3\n')
  })
  it('a rejected read is a DeviceError with a code', async () => {
    const tiny = device('cpu', { memoryLimit: 1000 })
    const error = await zeros([1000], { device: tiny })
      .read()
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(DeviceError)
    expect((error as DeviceError).code).toBe('TILEWISE_OUT_OF_MEMORY')
  })
})
