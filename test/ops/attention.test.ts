/** What cases cannot say of attention: errors, PyTorch's numbers, special values, determinism, dropout's statistics, which heads meet. */
import { describe, expect, it } from 'vitest'
import {
  attention,
  attentionWeights,
  type Device,
  device,
  Mask,
  noGrad,
  qkv,
  Sequences,
  scope,
  seed,
  Tensor,
  tensor,
  zeros,
} from '../../lib/index.ts'
import { allocateLike } from '../../lib/ops/allocateLike.ts'
import { PhiloxStream } from '../../lib/random.ts'
import { testDevices } from '../devices.ts'
import { type FixtureTensor, loadFixture } from '../fixtures/fixture.ts'
import { expectClose } from './pytorch.ts'

const random = (shape: readonly number[], counter: number, on?: Device) => {
  const stream = new PhiloxStream(17, counter)
  const size = shape.reduce((product, dimension) => product * dimension, 1)
  return tensor(
    Float32Array.from({ length: size }, () => stream.uniform() * 2 - 1),
    shape,
    on ? { device: on } : {},
  )
}
const read = async (x: Tensor) => Float32Array.from(await x.read())
const bits = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('hex')

describe('errors', () => {
  const q = zeros([2, 3, 4, 8])
  const k = zeros([2, 5, 4, 8])
  const two = { q: Sequences.of([1, 2]), k: Sequences.of([3, 2]) }
  const rows = zeros([3, 4, 8])
  const keys = zeros([5, 4, 8])
  const u8 = (...shape: number[]) => zeros(shape, { dtype: 'u8' })
  const cases: [string, () => unknown][] = [
    ['[attention] q must be a Tensor, is undefined', () => attention(undefined as unknown as Tensor, k, k)],
    ['[attention] k must be a Tensor, is object', () => attention(q, [1] as unknown as Tensor, k)],
    ['[attention] q must be [B, Tq, H, D] (ragged rows need sequences), is [3, 4, 8]', () => attention(rows, keys, keys)],
    ['[attention] q must be [Nq, H, D] with sequences, is [2, 3, 4, 8]', () => attention(q, k, k, { sequences: two })],
    ['[attention] q must have a float dtype, is i32', () => attention(q.cast('i32'), k, k)],
    ['[attention] k must have dtype f32, is bf16', () => attention(q, k.cast('bf16'), k)],
    // @ts-expect-error the compiler sees it too
    ['[attention] k must be [2, *, *, 8], is [2, 5, 4, 7]', () => attention(q, zeros([2, 5, 4, 7]), k)],
    ['[attention] k must be [2, *, *, 8], is [3, 5, 4, 8]', () => attention(q, zeros([3, 5, 4, 8]), k)],
    ["[attention] q must have a multiple of k's 3 heads, has 4", () => attention(q, zeros([2, 5, 3, 8]), zeros([2, 5, 3, 8]))],
    ["[attention] q must have a multiple of k's 0 heads, has 4", () => attention(q, zeros([2, 5, 0, 8]), zeros([2, 5, 0, 8]))],
    [
      '[attention] q must have a head dimension from 1, is [2, 3, 4, 0]',
      () => attention(zeros([2, 3, 4, 0]), zeros([2, 5, 4, 0]), zeros([2, 5, 4, 0])),
    ],
    ['[attention] v must be [2, 5, 4, *], is [2, 6, 4, 8]', () => attention(q, k, zeros([2, 6, 4, 8]))],
    ['[attention] v must have dtype f32, is bf16', () => attention(q, k, k.cast('bf16'))],
    ['[attention] dropout must be from 0 to below 1, is 1', () => attention(q, k, k, { dropout: 1 })],
    ['[attention] dropout must be from 0 to below 1, is NaN', () => attention(q, k, k, { dropout: Number.NaN })],
    ['[attention] scale must be finite, is Infinity', () => attention(q, k, k, { scale: Number.POSITIVE_INFINITY })],
    [
      '[attention] extraKeys must be an integer from 0 to 5, the fewest keys of a sequence, is 6',
      () => attention(q, k, k, { extraKeys: 6 }),
    ],
    [
      '[attention] extraKeys must be an integer from 0 to 2, the fewest keys of a sequence, is 3',
      () => attention(rows, keys, keys, { sequences: two, extraKeys: 3 }),
    ],
    [
      '[attention] mask keep must broadcast to [B, H, Tq, Tk] = [2, 4, 3, 5], is [5, 3]',
      () => attention(q, k, k, { mask: Mask.keep(u8(5, 3)) }),
    ],
    [
      '[attention] mask keep must broadcast to [B, H, Tq, Tk] = [2, 4, 3, 4], is [3, 5]',
      () => attention(q, k, k, { mask: Mask.drop(u8(3, 5)), extraKeys: 1 }),
    ],
    [
      '[attention] mask bias must broadcast to [B, H, Tq, Tk] = [2, 4, 3, 5], is [2, 1, 5]',
      () => attention(q, k, k, { mask: Mask.bias(zeros([2, 1, 5])) }),
    ],
    ['[attention] mask keyLengths must have 2 lengths, has 3', () => attention(q, k, k, { mask: Mask.keyLengths([1, 2, 3]) })],
    [
      '[attention] mask keyLengths must be at most 5, keyLengths[1] is 6',
      () => attention(q, k, k, { mask: Mask.keyLengths(Int32Array.of(1, 6)) }),
    ],
    [
      '[attention] sequences.q must have the 4 rows of q [4, 4, 8], has 3',
      () => attention(zeros([4, 4, 8]), keys, keys, { sequences: two }),
    ],
    [
      '[attention] sequences.k must have the 2 sequences of sequences.q, has 1',
      () => attention(rows, keys, keys, { sequences: { q: two.q, k: Sequences.of([5]) } }),
    ],
    [
      '[attention] sequences.k must be Sequences, is object',
      () => attention(rows, keys, keys, { sequences: { q: two.q, k: [3, 2] as unknown as Sequences } }),
    ],
    // @ts-expect-error the compiler sees it too
    ['[attentionWeights] logSumExp must be [2, 3, 4], is [2, 4, 3]', () => attentionWeights(q, k, zeros([2, 4, 3]))],
    ['[attentionWeights] logSumExp must have dtype f32, is bf16', () => attentionWeights(q, k, zeros([2, 3, 4], { dtype: 'bf16' }))],
    ["[attentionWeights] q must have a multiple of k's 3 heads, has 4", () => attentionWeights(q, zeros([2, 5, 3, 8]), zeros([2, 3, 4]))],
  ]
  for (const [message, call] of cases) it(message, () => scope(() => expect(call).toThrow(message)))

  it('f16 is told to be unsupported by the device', async () => {
    const [a, b] = [zeros([1, 2, 1, 4], { dtype: 'f16' }), zeros([1, 2, 1, 4], { dtype: 'f16' })]
    await expect(attention(a, b, b).output.read()).rejects.toThrow('attention of dtype f16 on the cpu device')
  })
  for (const { name, device: on } of testDevices.filter(({ device }) => device.kind !== 'cpu'))
    it(`${name} says which head dimensions it has no kernel for`, () =>
      scope(async () => {
        const wide = zeros([1, 2, 1, 264], { device: on })
        const narrow = zeros([1, 2, 1, 256], { device: on })
        await expect(attention(wide, wide, narrow).output.read()).rejects.toThrow(
          'attention with a head dimension of 264, above 256, on a GPU device',
        )
        expect(await attention(narrow, narrow, narrow).output.read()).toHaveLength(512)
      }))

  it('offsets that a program has spoiled fail the call, not the process', async () => {
    const sequences = { q: Sequences.of([1, 2]), k: Sequences.of([3, 2]) }
    const broken = Object.create(sequences.k, { offsets: { value: tensor(Int32Array.of(0, 7, 5), [3]) } }) as Sequences
    const call = attention(rows, keys, keys, { sequences: { q: sequences.q, k: broken } })
    await expect(call.output.read()).rejects.toThrow('[attention] k_offsets must rise from 0 to at most 5 by at most 3, holds 7 after 0')
  })
})

describe('numbers of PyTorch', () => {
  const fixture = loadFixture('functional')
  const cases = fixture.cases.filter(test => test.op === 'attention')
  it('there are cases', () => expect(cases.length).toBeGreaterThan(40))
  for (const { name: deviceName, device } of testDevices) {
    for (const test of cases) {
      it(`${test.name} · ${deviceName}`, () =>
        scope(async () => {
          const leaf = ({ data, shape }: FixtureTensor) => tensor(data, shape, { device })
          const given = (name: string) => leaf(fixture.tensor(test.name, name))
          const [query, key, value] = ['query', 'key', 'value'].map(given) as [Tensor, Tensor, Tensor]
          const options = test.options as { scale: number | null; causal: boolean; mask?: 'keep' | 'bias' }
          const mask = options.mask ? given('mask') : undefined
          for (const x of [query, key, value]) x.requireGrad()
          if (options.mask === 'bias') mask?.requireGrad()
          const masks = [
            ...(mask ? [options.mask === 'keep' ? Mask.keep(mask) : Mask.bias(mask)] : []),
            ...(options.causal ? [Mask.causal()] : []),
          ]
          const headsLast = (x: Tensor) => x.permute([0, 2, 1, 3])
          const { output, logSumExp } = attention(headsLast(query), headsLast(key), headsLast(value), {
            scale: options.scale ?? undefined,
            mask: masks.reduce<Mask | undefined>((all, one) => all?.and(one) ?? one, undefined),
          })
          const result = headsLast(output)
          result.backward(given('grad_output'))
          // Where the exact gradient is 0 because its parts cancel, their rounding remains: PyTorch's own error says nothing then. And weights
          // are recomputed from a sum whose logarithm is rounded to f32, the coarser the larger the scores.
          const largest = (x: string) => Math.max(...fixture.tensor(test.name, x).data.map(Math.abs))
          const floor = 2 ** -23 * (4 + largest('log_sum_exp')) * largest('grad_output') * Math.max(1, largest('value'))
          await expectClose(result, fixture, test, 'output')
          // Rows that see nothing are marked apart in the fixture.
          const visible = fixture.tensor(test.name, 'visible_rows').data
          const sums = await read(logSumExp.permute([0, 2, 1]))
          expect([...visible].every((seen, i) => (seen !== 0) === (sums[i] !== Number.NEGATIVE_INFINITY))).toBe(true)
          const shown = tensor(
            sums.map((x, i) => (visible[i] ? x : 0)),
            logSumExp.permute([0, 2, 1]).shape,
          )
          await expectClose(shown, fixture, test, 'log_sum_exp')
          await expectClose(query.grad, fixture, test, 'grad_input/query', floor)
          await expectClose(key.grad, fixture, test, 'grad_input/key', floor)
          await expectClose(value.grad, fixture, test, 'grad_input/value', floor)
          if (options.mask === 'bias') await expectClose(mask?.grad, fixture, test, 'grad_input/mask', floor)
        }))
    }
  }
})

describe('rows that see nothing', () => {
  // What users of other libraries meet as NaN in the output and the gradients of the whole batch.
  for (const { name, device } of testDevices)
    for (const dtype of ['f32', 'bf16'] as const)
      for (const [what, mask] of [
        ['key lengths of 0', () => Mask.keyLengths([0, 3])],
        ['keep of zeros', () => Mask.keep(tensor(Uint8Array.of(0, 0, 0, 1, 1, 1), [2, 1, 1, 3], { device }))],
        ['bias of -inf', () => Mask.bias(tensor(new Float32Array(3).fill(Number.NEGATIVE_INFINITY), [3], { device }))],
        ['more queries than keys, causal', () => Mask.causal()],
      ] as const)
        for (const queries of [2, 5])
          it(`${what}, ${queries} queries · ${dtype} · ${name}`, () =>
            scope(async () => {
              const [q, k, v] = [queries, 3, 3].map((length, i) => random([2, length, 2, 4], i, device).cast(dtype).requireGrad()) as [
                Tensor,
                Tensor,
                Tensor,
              ]
              const { output, logSumExp } = attention(q, k, v, { mask: mask() })
              const weights = await read(attentionWeights(q, k, logSumExp, { mask: mask() }))
              const sums = await read(logSumExp)
              const values = await read(output)
              output.backward(random(output.shape, 9, device).cast(dtype))
              const dq = await read(q.grad as Tensor)
              for (const [row, sum] of sums.entries()) {
                const seesNothing = sum === Number.NEGATIVE_INFINITY
                const [b, i, h] = [Math.floor(row / queries / 2), Math.floor(row / 2) % queries, row % 2]
                const at = ((b * 2 + h) * queries + i) * 3
                const total = weights.subarray(at, at + 3).reduce((a, x) => a + x, 0)
                if (seesNothing)
                  expect([...values.subarray(row * 4, row * 4 + 4), ...dq.subarray(row * 4, row * 4 + 4), total]).toEqual(
                    new Array(9).fill(0),
                  )
                else expect(total).toBeCloseTo(1, 5)
              }
              for (const x of [k, v]) expect((await read(x.grad as Tensor)).every(Number.isFinite)).toBe(true)
            }))
})

describe('special values', () => {
  it('a score of +inf gives NaN in its row alone', () =>
    scope(async () => {
      const bias = new Float32Array(6 * 7)
      bias[2 * 7 + 3] = Number.POSITIVE_INFINITY
      const k = random([1, 7, 1, 4], 1)
      const { output } = attention(random([1, 6, 1, 4], 0), k, k, { mask: Mask.bias(tensor(bias, [6, 7])) })
      const bad = [...(await read(output))].map((x, i) => (Number.isNaN(x) ? Math.floor(i / 4) : -1)).filter(i => i >= 0)
      expect(bad).toEqual([2, 2, 2, 2])
    }))
  it('keys beyond their length may hold NaN', () =>
    scope(async () => {
      const k = new Float32Array(1 * 70 * 1 * 4).fill(0.5)
      k.fill(Number.NaN, 9 * 4)
      const keys = tensor(k, [1, 70, 1, 4])
      for (const queries of [1, 20]) {
        const { output } = attention(random([1, queries, 1, 4], 0), keys, keys, { mask: Mask.keyLengths([9]) })
        expect((await read(output)).every(x => Math.abs(x - 0.5) < 1e-6)).toBe(true)
      }
    }))
  it('scores of any size do not overflow', () =>
    scope(async () => {
      const q = random([1, 5, 1, 8], 0).mul(1e18)
      const k = random([1, 9, 1, 8], 1).mul(1e18)
      const { output } = attention(q, k, k.mul(1e-18))
      expect((await read(output)).every(x => Math.abs(x) <= 1)).toBe(true)
    }))
})

describe('which tokens and heads meet', () => {
  const [batch, length, heads, kvHeads, dim] = [2, 5, 4, 2, 8]
  it('token j reaches every token i of its sequence through its own heads, and nothing else', () =>
    scope(async () => {
      const q = random([batch, length, heads, dim], 0)
      const [k, v] = [random([batch, length, kvHeads, dim], 1), random([batch, length, kvHeads, dim], 2)]
      const before = await read(attention(q, k, v).output)
      for (let b = 0; b < batch; b++)
        for (let j = 0; j < length; j++)
          for (let h = 0; h < kvHeads; h++) {
            const changed = await read(v)
            const at = ((b * length + j) * kvHeads + h) * dim
            changed.fill(3, at, at + dim)
            const after = await read(attention(q, k, tensor(changed, v.shape)).output)
            const reached = Array.from(
              { length: batch * length * heads },
              (_, row) => bits(after.slice(row * dim, (row + 1) * dim)) !== bits(before.slice(row * dim, (row + 1) * dim)),
            )
            const expected = reached.map((_, row) => {
              const group = Math.floor(((row % heads) * kvHeads) / heads)
              return Math.floor(row / heads / length) === b && group === h
            })
            expect(reached).toEqual(expected)
          }
    }))
  it('each head equals attention of that head alone', () =>
    scope(async () => {
      const [q, k, v] = [0, 1, 2].map(i => random([batch, length, heads, dim], i)) as [Tensor, Tensor, Tensor]
      const all = attention(q, k, v, { mask: Mask.causal() }).output
      for (let h = 0; h < heads; h++) {
        const [q1, k1, v1] = [q, k, v].map(x => x.slice(2, h, h + 1)) as [Tensor, Tensor, Tensor]
        const one = attention(q1, k1, v1, { mask: Mask.causal() }).output
        expect(bits(await read(all.slice(2, h, h + 1)))).toBe(bits(await read(one)))
      }
    }))
  it('the factor keeps the softmax of wide heads from saturating', () =>
    scope(async () => {
      // Scores of unit-variance rows have deviation sqrt(D): without 1 / sqrt(D) almost all weight is on one key.
      const normal = (counter: number) => {
        const stream = new PhiloxStream(3, counter)
        return tensor(
          Float32Array.from(
            { length: 16 * 256 },
            () => Math.sqrt(-2 * Math.log(1 - stream.uniform())) * Math.cos(2 * Math.PI * stream.uniform()),
          ),
          [1, 16, 1, 256],
        )
      }
      const [q, k] = [normal(0), normal(1)]
      const largest = async (scale?: number) => {
        const { logSumExp } = attention(q, k, k, { scale })
        const weights = await read(attentionWeights(q, k, logSumExp, { scale }))
        return Array.from({ length: 16 }, (_, i) => Math.max(...weights.subarray(i * 16, i * 16 + 16))).reduce((a, x) => a + x, 0) / 16
      }
      expect(await largest()).toBeLessThan(0.5)
      expect(await largest(1)).toBeGreaterThan(0.85)
    }))
})

describe('ragged rows', () => {
  it('give what each sequence gives alone', () =>
    scope(async () => {
      const lengths = [3, 0, 70, 1]
      const total = 74
      const [q, k, v] = [0, 1, 2].map(i => random([total, 2, 8], i)) as [Tensor, Tensor, Tensor]
      const sequences = { q: Sequences.of(lengths), k: Sequences.of(lengths) }
      const all = await read(attention(q, k, v, { sequences, mask: Mask.causal() }).output)
      let row = 0
      for (const length of lengths) {
        const [q1, k1, v1] = [q, k, v].map(x => x.slice(0, row, row + length).reshape([1, length, 2, 8]) as Tensor) as [
          Tensor,
          Tensor,
          Tensor,
        ]
        const one = await read(attention(q1, k1, v1, { mask: Mask.causal() }).output)
        expect(bits(all.slice(row * 16, (row + length) * 16))).toBe(bits(one))
        row += length
      }
    }))
  it('prefilled in chunks give what one call gives: causal is aligned with the last key', () =>
    scope(async () => {
      const [q, k, v] = [0, 1, 2].map(i => random([1, 100, 2, 8], i)) as [Tensor, Tensor, Tensor]
      const whole = await read(attention(q, k, v, { mask: Mask.causal() }).output)
      for (const [from, to] of [
        [0, 30],
        [30, 97],
        [97, 100],
      ] as const) {
        const chunk = attention(q.slice(1, from, to), k.slice(1, 0, to), v.slice(1, 0, to), { mask: Mask.causal() }).output
        const part = await read(chunk)
        for (const [i, x] of part.entries()) expect(x).toBeCloseTo(whole[from * 16 + i] as number, 6)
      }
    }))
})

describe('dropout', () => {
  it('keeps its share of weights, and the mean', () =>
    scope(async () => {
      seed(1)
      const v = zeros([1, 256, 1, 256])
      // Values are the identity and scores equal: the output is the matrix of weights.
      const identity = new Float32Array(256 * 256)
      for (let i = 0; i < 256; i++) identity[i * 257] = 1
      const q = zeros([1, 256, 1, 4])
      const weights = await read(attention(q, q, tensor(identity, v.shape), { dropout: 0.3 }).output)
      const kept = weights.filter(x => x !== 0)
      // Four deviations of 65536 draws.
      expect(Math.abs(kept.length / weights.length - 0.7)).toBeLessThan(4 * Math.sqrt((0.3 * 0.7) / 65536))
      for (const x of kept) expect(x).toBeCloseTo(1 / 256 / 0.7, 7)
    }))
  it('draws anew for every call, and the same for the same seed; without dropout nothing is drawn', () =>
    scope(async () => {
      const x = random([1, 20, 2, 8], 0)
      const call = async (dropout: number) => bits(await read(attention(x, x, x, { dropout }).output))
      seed(3)
      const [first, second] = [await call(0.2), await call(0.2)]
      expect(first).not.toBe(second)
      seed(3)
      await call(0)
      expect(await call(0.2)).toBe(first)
    }))
})

describe('determinism', () => {
  it('gives the same bits again, and for any number of threads where tasks are whole', () =>
    scope(async () => {
      const results: string[] = []
      for (const threads of [1, 2, 3, 2]) {
        const on = device('cpu', { threads })
        const [q, k, v] = [0, 1, 2].map(i => random([3, 150, 4, 16], i, on).requireGrad()) as [Tensor, Tensor, Tensor]
        seed(2)
        const { output } = attention(q, k, v, { mask: Mask.causal(), dropout: 0.1 })
        output.backward(random(output.shape, 5, on))
        const found = await Promise.all([output, q.grad, k.grad, v.grad].map(x => read(x as Tensor)))
        results.push(found.map(bits).join())
      }
      expect(new Set(results).size).toBe(1)
    }))
  it('keys in chunks, for more threads than heads, change roundings only', () =>
    scope(async () => {
      const gradients = async (threads: number) => {
        const on = device('cpu', { threads })
        const [q, k, v] = [0, 1, 2].map(i => random([1, 300, 1, 16], i, on).requireGrad()) as [Tensor, Tensor, Tensor]
        const bias = random([1, 1, 300, 1], 7, on).requireGrad()
        const { output } = attention(q, k, v, { mask: Mask.causal().and(Mask.bias(bias)), extraKeys: 0 })
        output.backward(random(output.shape, 5, on))
        return Promise.all([q, k, v, bias].map(x => read(x.grad as Tensor)))
      }
      const [one, four, again] = [await gradients(1), await gradients(4), await gradients(4)]
      expect(four.map(bits)).toEqual(again.map(bits))
      for (const [n, values] of one.entries()) for (const [i, x] of values.entries()) expect(four[n]?.[i]).toBeCloseTo(x, 4)
    }))
})

describe('memory', () => {
  it('gradients of packed neighbours lie packed', () =>
    scope(() => {
      const weight = random([48, 16], 0)
      const parts = qkv(random([2, 3, 16], 1), weight, undefined, { q: [4, 4], k: [2, 4], v: [2, 12] })
      const [q, k, v] = [parts.q, parts.k, parts.v] as [Tensor, Tensor, Tensor]
      const like = allocateLike([q, k, v], 0)
      expect(like.map(x => x.shape)).toEqual([q.shape, k.shape, v.shape])
      expect(like.map(x => x.strides)).toEqual([q.strides, k.strides, v.strides])
      expect(like.map(x => x.offset)).toEqual([0, 16, 24])
      const crossed = allocateLike([random([2, 9, 4, 4], 2), k, v.contiguous()], 0)
      expect(crossed.every(x => x.isContiguous)).toBe(true)
    }))
  it('never holds a matrix of scores', () =>
    scope(async () => {
      const on = device('cpu', { threads: 2 })
      const [q, k, v] = [0, 1, 2].map(i => random([1, 3000, 1, 4], i, on).requireGrad()) as [Tensor, Tensor, Tensor]
      await on.synchronize()
      on.resetPeak()
      const { output } = attention(q, k, v)
      output.backward(random(output.shape, 3, on))
      await read(q.grad as Tensor)
      expect(on.memory().peak).toBeLessThan(3000 * 3000)
    }))
  it('an averaged look at the weights needs no gradient', () =>
    scope(async () => {
      const x = random([1, 6, 4, 8], 0).requireGrad()
      const { logSumExp } = noGrad(() => attention(x, x, x))
      const weights = attentionWeights(x, x, logSumExp, { average: true })
      expect(weights.requiresGrad).toBe(false)
      expect(weights).toBeInstanceOf(Tensor)
      const values = await read(weights)
      for (let i = 0; i < 6; i++) expect(values.subarray(i * 6, i * 6 + 6).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6)
    }))
})
