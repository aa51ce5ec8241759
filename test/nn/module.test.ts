import { mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { device, readSafetensors, StateDictError, scope, seed, type Tensor, tensor, zeros } from '../../lib/index.ts'
import { Dropout, Embedding, LearnedPositions, Linear, loadModule, Module, SinusoidalPositions, saveModule } from '../../lib/nn/index.ts'

const cpu = device('cpu')
const folder = mkdtempSync(join(tmpdir(), 'tilewise-nn-'))

class Inner extends Module {
  static override readonly stateKeys = { outProj: 'out_proj' }
  readonly outProj: Linear
  constructor() {
    super()
    this.outProj = new Linear(3, 2, { device: cpu })
  }
}

class Model extends Module {
  static override readonly buffers = { seen: 'kept', table: 'derived' } as const
  readonly embedding = new Embedding(5, 3, { device: cpu })
  readonly layers = [new Inner(), new Inner(), new Inner()]
  readonly dropout = new Dropout(0.5)
  readonly output: Linear
  seen = zeros([2], { device: cpu })
  table = zeros([7], { device: cpu })
  constructor() {
    super()
    this.output = new Linear(3, 5, { tiedWeight: this.embedding.weight, bias: false })
  }
}

const keys = [
  'seen',
  'embedding.weight',
  'layers.0.out_proj.weight',
  'layers.0.out_proj.bias',
  'layers.1.out_proj.weight',
  'layers.1.out_proj.bias',
  'layers.2.out_proj.weight',
  'layers.2.out_proj.bias',
  'output.weight',
]

describe('what a module finds in its fields', () => {
  using model = new Model()
  test('state keys: parameters and kept buffers, lists by index, tied ones under each name', () => {
    expect([...model.stateDict().keys()].sort()).toEqual([...keys].sort())
    expect(model.stateDict().get('output.weight')).toBe(model.embedding.weight)
  })
  test('parameters: tied ones once, no buffers', () => {
    expect([...model.namedParameters().keys()]).toEqual(keys.filter(key => key !== 'seen' && key !== 'output.weight'))
    expect(model.parameters().every(parameter => parameter.requiresGrad)).toBe(true)
  })
  test('training mode reaches every part', () => {
    expect(model.eval().dropout.training).toBe(false)
    expect(model.train().layers[2]?.outProj.training).toBe(true)
  })
})

describe('loadStateDict', () => {
  test('copies, converts float dtypes, and keeps the tensors themselves', async () => {
    using model = new Linear(2, 1, { device: cpu })
    const weight = model.weight
    using other = tensor([[0.5, 0.25]], { device: cpu, dtype: 'bf16' })
    using bias = tensor([3], { device: cpu })
    model.loadStateDict(
      new Map<string, Tensor>([
        ['weight', other],
        ['bias', bias],
      ]),
    )
    expect(model.weight).toBe(weight)
    expect([...(await model.weight.read())]).toEqual([0.5, 0.25])
  })

  test('lists what is missing, unexpected and of another shape, and copies nothing', async () => {
    using model = new Inner()
    const before = await model.outProj.weight.read()
    using wrong = zeros([3, 2], { device: cpu })
    using fits = zeros([2], { device: cpu })
    const state = new Map<string, Tensor>([
      ['out_proj.weight', wrong],
      ['outProj.bias', fits],
    ])
    const load = (strict: boolean) => () => model.loadStateDict(state, { strict })
    expect(load(true)).toThrow(StateDictError)
    try {
      load(true)()
    } catch (error) {
      expect((error as Error).message).toBe(
        '[loadStateDict] missing: out_proj.bias; unexpected: outProj.bias; wrong: out_proj.weight must be [2, 3], is [3, 2]',
      )
    }
    // A wrong shape is an error also when it is not strict.
    expect(load(false)).toThrow('out_proj.weight must be [2, 3]')
    expect(await model.outProj.weight.read()).toEqual(before)
    state.delete('out_proj.weight')
    expect(load(false)()).toEqual({ missing: ['out_proj.weight', 'out_proj.bias'], unexpected: ['outProj.bias'] })
  })
})

describe('safetensors', () => {
  test('keeps every value; a tied parameter is written once and found again', async () => {
    seed(3)
    using model = new Model()
    using other = new Model()
    const path = join(folder, 'model.safetensors')
    await saveModule(model, path, { step: '7' })
    await using file = await readSafetensors(path)
    expect(file.has('output.weight')).toBe(false)
    expect(file.metadata).toEqual({ format: 'pt', step: '7', tied: '{"output.weight":"embedding.weight"}' })
    expect(await loadModule(other, path)).toEqual({ missing: [], unexpected: [] })
    for (const [key, value] of model.stateDict())
      expect(await (other.stateDict().get(key) as Tensor).read(), key).toEqual(await value.read())
    await saveModule(model.to('bf16'), join(folder, 'bf16.safetensors'))
    await using small = await readSafetensors(join(folder, 'bf16.safetensors'))
    expect(small.info('embedding.weight').dtype).toBe('BF16')
    expect(readdirSync(folder).sort()).toEqual(['bf16.safetensors', 'model.safetensors'])
  })
  test('says what does not fit, and leaves nothing behind', async () => {
    using linear = new Linear(2, 2, { device: cpu })
    const path = join(folder, 'linear.safetensors')
    await saveModule(linear, path)
    using inner = new Inner()
    await cpu.synchronize()
    const { live } = cpu.memory()
    await expect(loadModule(inner, path)).rejects.toThrow('missing: out_proj.weight, out_proj.bias; unexpected: bias, weight')
    await cpu.synchronize()
    expect(cpu.memory().live).toBe(live)
  })
})

describe('to', () => {
  test('converts float tensors, keeps ties and what is trained, frees the old ones', async () => {
    using model = new Model()
    model.layers[0]?.outProj.weight.requireGrad()
    const old = model.embedding.weight
    expect(model.to('bf16')).toBe(model)
    expect(old.disposed).toBe(true)
    expect(model.output.weight).toBe(model.embedding.weight)
    expect(new Set([...model.stateDict().values()].map(value => value.dtype))).toEqual(new Set(['bf16']))
    expect(model.parameters().every(parameter => parameter.requiresGrad)).toBe(true)
  })
  test('moves to another device', async () => {
    const other = device('cpu', { threads: 1 })
    using model = new Model()
    const before = await model.embedding.weight.read()
    await model.to(other)
    expect(model.parameters().every(parameter => parameter.device === other)).toBe(true)
    expect(model.output.weight).toBe(model.embedding.weight)
    expect(await model.embedding.weight.read()).toEqual(before)
  })
})

describe('initialization', () => {
  test('no two layers start equal, and the seed decides', async () => {
    const make = async () => {
      seed(5)
      using model = new Model()
      return Promise.all(model.parameters().map(async parameter => (await parameter.read()).join()))
    }
    const first = await make()
    expect(new Set(first).size).toBe(first.length)
    expect(await make()).toEqual(first)
    seed(6)
    using other = new Model()
    expect((await other.embedding.weight.read()).join()).not.toBe(first[0])
  })
  test("Linear's bounds are PyTorch's", async () => {
    using linear = new Linear(100, 400, { device: cpu })
    const values = await linear.weight.read()
    expect(Math.max(...values)).toBeLessThanOrEqual(0.1)
    expect(Math.max(...values)).toBeGreaterThan(0.099)
    expect(Math.hypot(...values) / Math.sqrt(values.length)).toBeCloseTo(0.1 / Math.sqrt(3), 3)
  })
  test('parameters outlive the scope that they are made in', async () => {
    const linear = scope(() => {
      const made = new Linear(2, 2, { device: cpu })
      return () => made
    })()
    expect((await linear.weight.read()).length).toBe(4)
    linear.dispose()
    expect(linear.weight.disposed).toBe(true)
  })
})

describe('positions', () => {
  const read = (values: ArrayLike<number>) => Array.from(values, value => Math.round(value * 1e6) / 1e6)
  test("sinusoids: the paper's, and all sines before all cosines", async () => {
    using paper = new SinusoidalPositions(4, { device: cpu, length: 2 })
    const [s1, c1, s2, c2] = [Math.sin(1), Math.cos(1), Math.sin(0.01), Math.cos(0.01)]
    expect(read(await paper.table(2).read())).toEqual(read([0, 1, 0, 1, s1, c1, s2, c2]))
    using marian = new SinusoidalPositions(4, { device: cpu, length: 2, layout: 'concatenated' })
    expect(read(await marian.table(2).read())).toEqual(read([0, 0, 1, 1, s1, s2, c1, c2]))
    using fairseq = new SinusoidalPositions(4, { device: cpu, length: 2, layout: 'concatenated', frequencies: 'last' })
    expect(read(await fairseq.table(2).read())).toEqual(read([0, 0, 1, 1, s1, Math.sin(1e-4), c1, Math.cos(1e-4)]))
    using odd = new SinusoidalPositions(3, { device: cpu, length: 1 })
    expect(read(await odd.table(1).read())).toEqual([0, 1, 0])
  })
  test('the table grows, is not in the state, and its old memory is freed', async () => {
    using positions = new SinusoidalPositions(4, { device: cpu, length: 2 })
    const old = positions.rows
    expect(positions.table(9).shape).toEqual([16, 4])
    expect(old.disposed).toBe(true)
    expect(positions.stateDict().size).toBe(0)
    expect(positions.parameters()).toEqual([])
  })
  test('are added from a start, or by id', async () => {
    await scope(async () => {
      const positions = new SinusoidalPositions(4, { device: cpu })
      const table = await positions.table(8).read()
      const moved = positions.forward(zeros([2, 3, 4], { device: cpu }), { start: 5 })
      expect([...(await moved.read())]).toEqual([...table.subarray(20, 32), ...table.subarray(20, 32)])
      const ids = tensor([2, 0], { device: cpu, dtype: 'i32' })
      const named = positions.forward(zeros([2, 4], { device: cpu }), { positionIds: ids })
      expect([...(await named.read())]).toEqual([...table.subarray(8, 12), ...table.subarray(0, 4)])
      const learned = new LearnedPositions(4, 4, { device: cpu })
      expect(() => learned.forward(zeros([5, 4], { device: cpu }))).toThrow('sequences must have at most 4 positions (length), one has 5')
      positions.dispose()
      learned.dispose()
    })
  })
})

test('summary: equal layers share their rows, tied parameters are counted once', () => {
  using model = new Model()
  expect(model.summary({ name: 'translator' })).toBe(
    [
      'layer         type        shapes                                 parameters  bytes',
      '────────────  ──────────  ─────────────────────────────────────  ──────────  ─────',
      'translator    Model       seen [2] (buffer), table [7] (buffer)          39  192 B',
      '  embedding   Embedding   weight [5, 3]                                  15   60 B',
      '  layers.0–2  3 × Inner                                                  24   96 B',
      '    out_proj  3 × Linear  weight [2, 3], bias [2]                        24   96 B',
      '  dropout     Dropout                                                     0    0 B',
      '  output      Linear      weight [5, 3] (tied)                            0    0 B',
      '39 parameters, 39 of them trained; 192 B',
    ].join('\n'),
  )
})

afterAll(async () => {
  await cpu.synchronize()
})
