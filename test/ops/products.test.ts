/** What cases cannot say of linear, qkv and matmul: errors, which tensors are stored, and that slices of one buffer are not copied. */
import { describe, expect, it } from 'vitest'
import { observeOps } from '../../lib/autograd/defineOp.ts'
import { ones } from '../../lib/index.ts'
import { qkv as native } from '../../lib/native.generated.ts'
import { feedForward } from '../../lib/ops/feedForward.ts'
import { linear } from '../../lib/ops/linear.ts'
import { matmul } from '../../lib/ops/matmul.ts'
import { type CacheOptions, type Projections, qkv, type RotaryOptions } from '../../lib/ops/qkv.ts'
import { testDevices } from '../devices.ts'
import { noGrad, scope, Tensor, tensor } from './surface.ts'

const zeros = (...shape: number[]) => ones(shape)
const zerosOn = (device: (typeof testDevices)[0]['device'], size: number) => tensor(new Float32Array(size), [size], { device })

function argumentsOf(op: string, call: () => unknown): Record<string, unknown> {
  let seen: Record<string, unknown> = {}
  const stop = observeOps((name, args) => {
    if (name === op) seen = args
  })
  try {
    call()
  } finally {
    stop()
  }
  return seen
}

describe('errors', () => {
  const cases: [string, () => unknown][] = [
    ['[linear] weight must be [*, 64], is [32, 65]', () => linear(zeros(4, 64), zeros(32, 65))],
    ['[linear] weight must be [*, 64], is [32]', () => linear(zeros(4, 64), zeros(32))],
    ['[linear] bias must be [32], is [31]', () => linear(zeros(4, 64), zeros(32, 64), zeros(31))],
    ['[linear] x must be [..., *], is []', () => linear(zeros(), zeros(32, 64))],
    [
      '[linear] residual must be [2, 4, 32], is [4, 32]',
      () => linear(zeros(2, 4, 64), zeros(32, 64), undefined, { residual: zeros(4, 32) }),
    ],
    [
      '[linear] activation must be none, relu, gelu, geluTanh, silu, relu2, is swish',
      () => linear(zeros(4, 64), zeros(32, 64), undefined, { activation: 'swish' as 'silu' }),
    ],
    ['[linear] weight must have dtype f32, is bf16', () => linear(zeros(4, 8), zeros(3, 8).cast('bf16'))],
    ['[linear] x must have dtype f32 or bf16, is f16', () => linear(zeros(4, 8).cast('f16'), zeros(3, 8))],
    ['[linear] bias must have dtype f32, is bf16', () => linear(zeros(4, 8), zeros(3, 8), zeros(3).cast('bf16'))],
    ['[linear] bias must be a Tensor, is object', () => linear(zeros(4, 8), zeros(3, 8), [1, 2, 3] as unknown as Tensor)],
    ['[linear] weight must be a Tensor, is undefined', () => linear(zeros(4, 8), undefined as unknown as Tensor)],
    ['[qkv] at least one of q, k and v must be given', () => qkv(zeros(4, 8), zeros(8, 8), undefined, {})],
    [
      '[qkv] weight must be [24, 8], the heads of q, k and v together, is [16, 8]',
      () => qkv(zeros(4, 8), zeros(16, 8), undefined, { q: [2, 4], k: [2, 4], v: [2, 4] }),
    ],
    ['[qkv] q must be [heads, headDim], two positive integers, is [2, 0]', () => qkv(zeros(4, 8), zeros(8, 8), undefined, { q: [2, 0] })],
    [
      '[qkv] x must have at most 5 dimensions, is [1, 1, 1, 1, 1, 8]',
      () => qkv(zeros(1, 1, 1, 1, 1, 8), zeros(8, 8), undefined, { q: [2, 4] }),
    ],
    ['[qkv] bias must be [8], is [9]', () => qkv(zeros(4, 8), zeros(8, 8), zeros(9), { q: [2, 4] })],
    ['[feedForward] weight1 must be [*, 8], is [6, 9]', () => feedForward(zeros(4, 8), zeros(6, 9), undefined, zeros(8, 6), undefined)],
    ['[feedForward] weight2 must be [*, 6], is [8, 5]', () => feedForward(zeros(4, 8), zeros(6, 8), undefined, zeros(8, 5), undefined)],
    [
      '[feedForward] weight2 must be [*, 3], is [8, 6]',
      () => feedForward(zeros(4, 8), zeros(6, 8), undefined, zeros(8, 6), undefined, { gated: true }),
    ],
    [
      '[feedForward] weight1 must have an even number of rows, gate and up, is [5, 8]',
      () => feedForward(zeros(4, 8), zeros(5, 8), undefined, zeros(8, 5), undefined, { gated: true }),
    ],
    [
      '[feedForward] dropout must be from 0 to 1, is 1.5',
      () => feedForward(zeros(4, 8), zeros(6, 8), undefined, zeros(8, 6), undefined, { dropout: 1.5 }),
    ],
    ['[feedForward] bias2 must be [8], is [6]', () => feedForward(zeros(4, 8), zeros(6, 8), undefined, zeros(8, 6), zeros(6))],
    ['[matmul] b must be [..., 3, *] as a is [2, 3], is [4, 5]', () => matmul(zeros(2, 3), zeros(4, 5))],
    ['[matmul] b must broadcast with a: shapes [2] and [3] differ at dimension -1', () => matmul(zeros(2, 4, 3), zeros(3, 3, 4))],
    ['[matmul] a and b must have dimensions, are [] and [3, 3]', () => matmul(zeros(), zeros(3, 3))],
    ['[matmul] b must have dtype f32, is i32', () => matmul(zeros(2, 3), zeros(3, 3).cast('i32'))],
  ]
  for (const [message, call] of cases) it(message, () => scope(() => expect(call).toThrow(message)))
})

describe('errors of rotary positions and caches', () => {
  const both = { q: [2, 4], k: [2, 4], v: [2, 4] } as const
  const turn = (rotary: Partial<RotaryOptions>, projections: Projections = both, x = zeros(3, 5, 8)) =>
    qkv(x, zeros(24, 8), undefined, projections, { rotary: { cosines: zeros(5, 2), sines: zeros(5, 2), ...rotary } })
  const append = (cache: Partial<CacheOptions>, projections: Projections = both, x = zeros(3, 5, 8)) =>
    qkv(x, zeros(24, 8), undefined, projections, { cache: { k: zeros(20, 2, 4), v: zeros(20, 2, 4), slots: i32(15), ...cache } })
  const i32 = (...shape: number[]) => zeros(...shape).cast('i32')
  const cases: [string, () => unknown][] = [
    ['[qkv] rotary.cosines must be a Tensor, is number', () => turn({ cosines: 1 as unknown as Tensor })],
    ['[qkv] rotary.cosines must be [*, *], is [5]', () => turn({ cosines: zeros(5) })],
    ['[qkv] rotary.sines must be [5, 2], is [5, 1]', () => turn({ sines: zeros(5, 1) })],
    ['[qkv] rotary.sines must have dtype f32, is bf16', () => turn({ sines: zeros(5, 2).cast('bf16') })],
    ['[qkv] rotary.cosines must not require a gradient: there is none', () => turn({ cosines: zeros(5, 2).requireGrad() })],
    [
      '[qkv] rotary.cosines must have from 1 to 2 columns, one for two columns of a head of 4, is [5, 3]',
      () => turn({ cosines: zeros(5, 3), sines: zeros(5, 3) }),
    ],
    [
      '[qkv] rotary.cosines must have at least 5 rows, as x [3, 5, 8] is long, has 4',
      () => turn({ cosines: zeros(4, 2), sines: zeros(4, 2) }),
    ],
    ['[qkv] rotary.positionIds must have dtype i32, is f32', () => turn({ positionIds: zeros(5) })],
    [
      '[qkv] rotary.positionIds must have the last dimensions of [3, 5], those of x without its features, is [3]',
      () => turn({ positionIds: i32(3) }),
    ],
    ['[qkv] q or k must be projected where rotary is given', () => turn({}, { v: [6, 4] })],
    ['[qkv] q and k must have one headDim where rotary is given, have 4 and 8', () => turn({}, { q: [2, 4], k: [1, 8], v: [2, 4] })],
    ['[qkv] cache.slots must have dtype i32, is f32', () => append({ slots: zeros(15) })],
    ['[qkv] cache.slots must be [15], one for each row of x [3, 5, 8], is [5]', () => append({ slots: i32(5) })],
    ['[qkv] cache.k must be a Tensor, is undefined', () => append({ k: undefined })],
    ['[qkv] cache.v must not be given where v is not projected', () => append({}, { q: [4, 4], k: [2, 4] })],
    ['[qkv] k or v must be projected where cache is given', () => append({}, { q: [6, 4] })],
    ['[qkv] cache.k must be [..., 2, 4], rows of the heads of k, is [20, 4, 2]', () => append({ k: zeros(20, 4, 2) })],
    ['[qkv] cache.k must be [..., 2, 4], rows of the heads of k, is [2, 4]', () => append({ k: zeros(2, 4) })],
    ['[qkv] cache.k must have dtype f32, is bf16', () => append({ k: zeros(20, 2, 4).cast('bf16') })],
    ['[qkv] cache.k must be contiguous, has strides [4, 80, 1]', () => append({ k: zeros(2, 20, 4).transpose(0, 1) })],
    ['[qkv] cache.k must not require a gradient: it is written in place', () => append({ k: zeros(20, 2, 4).requireGrad() })],
    ['[qkv] cache.v must have 20 rows as cache.k has, has 21', () => append({ v: zeros(3, 7, 2, 4) })],
    [
      '[qkv] cache must not be given where a gradient is recorded: none flows through it, use noGrad',
      () => append({}, both, zeros(3, 5, 8).requireGrad()),
    ],
  ]
  for (const [message, call] of cases) it(message, () => scope(() => expect(call).toThrow(message)))
})

describe('what is stored', () => {
  const run = (activation: 'none' | 'relu' | 'gelu', residual: boolean) => {
    const x = zeros(4, 8).requireGrad()
    return argumentsOf('linear', () => linear(x, zeros(3, 8), undefined, { activation, residual: residual ? zeros(4, 3) : undefined }))
  }
  it('no preactivation without an activation, or without a gradient', () =>
    scope(() => {
      expect(run('none', false).preactivation).toBeUndefined()
      expect(noGrad(() => run('gelu', false)).preactivation).toBeUndefined()
    }))
  it('nothing in a feed-forward block without a gradient', () =>
    scope(() => {
      const weight1 = zeros(6, 8).requireGrad()
      const run = () => argumentsOf('feedForward', () => feedForward(zeros(4, 8), weight1, undefined, zeros(8, 6), undefined))
      expect(noGrad(run).preactivation).toBeUndefined()
      expect((run().preactivation as Tensor).shape).toEqual([4, 6])
    }))
  it('the output itself for relu', () =>
    scope(() => {
      const plain = run('relu', false)
      expect(plain.preactivation).toBe(plain.y)
      const added = run('relu', true)
      expect(added.preactivation).toBeInstanceOf(Tensor)
      expect(added.preactivation).not.toBe(added.y)
    }))
})

describe('qkv', () => {
  it('gives views of one buffer, packed in each row', () =>
    scope(() => {
      const { q, k, v } = qkv(zeros(5, 8), zeros(24, 8), undefined, { q: [2, 4], k: [2, 4], v: [2, 4] })
      expect([q, k, v].map(t => [t.shape, t.strides, t.offset])).toEqual([
        [[5, 2, 4], [24, 4, 1], 0],
        [[5, 2, 4], [24, 4, 1], 8],
        [[5, 2, 4], [24, 4, 1], 16],
      ])
    }))

  const absent = { cosines: undefined, sines: undefined, positionIds: undefined, slots: undefined, kCache: undefined, vCache: undefined }
  const plain = { ...absent, interleaved: 0 }
  for (const { name, device } of testDevices)
    it(`writes q, k and v to tensors of their own, as to one · ${name}`, () =>
      scope(async () => {
        for (const [q, k, v] of [
          [16, 8, 12],
          [5, 3, 2], // the outputs meet inside groups of four columns
        ] as const) {
          const numbers = (size: number) => Float32Array.from({ length: size }, (_, i) => Math.sin(i * i))
          const [x, weight] = [
            tensor(numbers(11 * 24), [11, 24], { device }),
            tensor(numbers((q + k + v) * 24), [q + k + v, 24], { device }),
          ]
          const packed = qkv(x, weight, undefined, { q: [1, q], k: [1, k], v: [1, v] })
          const own = { q: tensor(numbers(11 * q), [11, 1, q], { device }), k: tensor(numbers(11 * k), [11, 1, k], { device }) }
          const apart = { ...own, v: tensor(numbers(11 * v), [11, 1, v], { device }) }
          native({ x, weight, bias: undefined, ...apart, ...plain })
          for (const part of ['q', 'k', 'v'] as const) expect(await apart[part].read()).toEqual(await packed[part].read())
        }
      }))

  for (const { name, device } of testDevices)
    it(`names the place and the value of a bad position or slot · ${name}`, () =>
      scope(async () => {
        const on = { device }
        const i32 = (...values: number[]) => tensor(Int32Array.from(values), [values.length], on)
        const [x, weight] = [ones([3, 8], on), ones([24, 8], on)]
        const sizes = { q: [2, 4], k: [2, 4], v: [2, 4] } as const
        const table = ones([5, 2], on)
        const at = (...ids: number[]) => ({ cosines: table, sines: table, positionIds: i32(...ids) })
        const bad = 'position_ids[1] must be from 0 to 4, is 5'
        await expect(qkv(x, weight, undefined, sizes, { rotary: at(4, 5, -1) }).q.read()).rejects.toThrow(bad)
        await expect(qkv(x, weight, undefined, sizes, { rotary: at(4, 0, -1) }).k.read()).rejects.toThrow('position_ids[2]')
        const leaf = ones([24, 8], on).requireGrad()
        qkv(x, leaf, undefined, sizes, { rotary: at(4, 5, 0) })
          .q.sum()
          .backward()
        await expect(leaf.grad?.read()).rejects.toThrow(bad)
        const [k, v] = [ones([2, 3, 2, 4], on), ones([6, 2, 4], on)]
        const { q } = qkv(x, weight, undefined, sizes, { cache: { k, v, slots: i32(-3, 6, 2) } })
        await expect(q.read()).rejects.toThrow('slots[1] must be from 0 to 5, is 6')
        expect(await x.read()).toEqual(new Float32Array(24).fill(1))
      }))

  for (const { name, device } of testDevices)
    it(`appends to a cache that starts anywhere, and leaves what lies around it · ${name}`, () =>
      scope(async () => {
        const numbers = (...shape: number[]) =>
          tensor(
            Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * i)),
            shape,
            { device },
          )
        const [x, weight] = [numbers(5, 16), numbers(24, 16)]
        const { q, k, v } = qkv(x, weight, undefined, { q: [1, 8], k: [1, 8], v: [1, 8] })
        const rows = 7
        const slots = tensor(Int32Array.from([6, 0, -1, 3, 4]), [5], { device })
        const held = () => zerosOn(device, rows * 8 + 2)
        const [kHeld, vHeld] = [held(), held()]
        const inside = (x: Tensor) => x.slice(0, 1, rows * 8 + 1).reshape([rows, 1, 8])
        const made = qkv(
          x,
          weight,
          undefined,
          { q: [1, 8], k: [1, 8], v: [1, 8] },
          { cache: { k: inside(kHeld), v: inside(vHeld), slots } },
        )
        expect(await made.q.read()).toEqual(await q.read())
        for (const [cache, wanted] of [
          [kHeld, k],
          [vHeld, v],
        ] as const) {
          const expected = new Float32Array(rows * 8 + 2)
          const all = await wanted.read()
          for (const [n, slot] of [6, 0, -1, 3, 4].entries()) if (slot >= 0) expected.set(all.subarray(n * 8, n * 8 + 8), 1 + slot * 8)
          expect(await cache.read()).toEqual(expected)
        }
      }))

  it('turns by the angles that it is told', () =>
    scope(async () => {
      // One head of four columns 1, 2, 3, 4: a quarter turn, and no turn.
      const x = tensor([[1], [1]])
      const weight = tensor([[1], [2], [3], [4]])
      const [cosines, sines] = [
        tensor([
          [0, 1],
          [1, 0],
        ]),
        tensor([
          [1, 0],
          [0, 1],
        ]),
      ]
      const run = (interleaved: boolean) => qkv(x, weight, undefined, { q: [1, 4] }, { rotary: { cosines, sines, interleaved } }).q.read()
      expect(Array.from(await run(false))).toEqual([-3, 2, 1, 4, 1, -4, 3, 2])
      expect(Array.from(await run(true))).toEqual([-2, 1, 3, 4, 1, 2, -4, 3])
    }))

  it('counts an output that no gradient reaches as zero', () =>
    scope(async () => {
      const weight = ones([12, 3]).requireGrad()
      const { v } = qkv(ones([5, 3]), weight, undefined, { q: [1, 4], k: [1, 4], v: [1, 4] })
      v.sum().backward()
      expect(Array.from((await weight.grad?.read()) as Float32Array)).toEqual([...Array(24).fill(0), ...Array(12).fill(5)])
    }))
})

describe('dropout between the products', () => {
  for (const { name, device } of testDevices)
    for (const gated of [false, true])
      it(`makes 0 of infinite hidden rows${gated ? ', gated' : ''}, on ${name}`, () =>
        scope(async () => {
          const x = tensor(new Float32Array(3 * 8).fill(Number.POSITIVE_INFINITY), [3, 8], { device }).requireGrad()
          const weight1 = ones([gated ? 64 : 32, 8], { device })
          const y = feedForward(x, weight1, undefined, ones([8, 32], { device }), undefined, { activation: 'relu', gated, dropout: 1 })
          y.backward(ones([3, 8], { device }))
          expect(new Set(await y.read())).toEqual(new Set([0]))
          expect(new Set(await x.grad!.read())).toEqual(new Set([0]))
        }))
})
