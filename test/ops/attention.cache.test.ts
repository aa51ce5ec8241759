/** What cases cannot say of attention over caches: errors, what lies beyond the lengths, pages against whole caches, replays while they grow. */
import { describe, expect, it } from 'vitest'
import {
  ArgumentError,
  attention,
  attentionWeights,
  type Device,
  Mask,
  noGrad,
  Sequences,
  scope,
  type Tensor,
  tensor,
  zeros,
} from '../../lib/index.ts'
import { copy } from '../../lib/native.generated.ts'
import { PhiloxStream } from '../../lib/random.ts'
import { testDevices } from '../devices.ts'

const defaultDevice = zeros([1]).device
const numbers = (size: number, counter: number) => {
  const stream = new PhiloxStream(23, counter)
  return Float32Array.from({ length: size }, () => stream.uniform() * 2 - 1)
}
const sizeOf = (shape: readonly number[]) => shape.reduce((product, dimension) => product * dimension, 1)
const random = (shape: readonly number[], counter: number, device: Device) => tensor(numbers(sizeOf(shape), counter), shape, { device })
const ints = (values: readonly number[], device = defaultDevice) =>
  tensor(Int32Array.from(values), [values.length], { device, dtype: 'i32' })
const table = (rows: readonly (readonly number[])[], device = defaultDevice) =>
  tensor(Int32Array.from(rows.flat()), [rows.length, rows[0]?.length ?? 0], { device, dtype: 'i32' })
const read = async (x: Tensor) => Float32Array.from(await x.read())
const bits = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('hex')

// A dimension that vectors of all instruction sets divide: what they leave over is added in an order that the compiler chooses.
const [heads, kvHeads, dim] = [4, 2, 16]

describe('arguments', () => {
  const q = zeros([2, 3, 4, 8])
  const k = zeros([2, 5, 4, 8])
  const pages = zeros([6, 16, 4, 8])
  const lengths = ints([3, 5])
  const pageTable = table([
    [0, 1],
    [2, 3],
  ])
  const rows = zeros([3, 4, 8])
  const sequences = { q: Sequences.of([1, 2]), k: Sequences.of([3, 2]) }
  const cases: [string, () => unknown][] = [
    ['[attention] cacheLengths must be given where blockTable is', () => attention(q, pages, pages, { blockTable: pageTable })],
    ['[attention] cacheLengths must be a Tensor, is object', () => attention(q, k, k, { cacheLengths: [3, 5] as never })],
    ['[attention] cacheLengths must have dtype i32, is f32', () => attention(q, k, k, { cacheLengths: zeros([2]) as never })],
    ['[attention] cacheLengths must be [2], is [3]', () => attention(q, k, k, { cacheLengths: ints([1, 2, 3]) })],
    ['[attention] k must be [2, *, *, 8], is [6, 16, 4, 8]', () => attention(q, pages, pages, { cacheLengths: lengths })],
    ['[attention] k must be [2, *, *, 8], is [3, 4, 8]', () => attention(rows, rows, rows, { cacheLengths: lengths, sequences })],
    [
      '[attention] sequences.k must be absent where cacheLengths are given',
      () => attention(rows, k, k, { cacheLengths: lengths, sequences }),
    ],
    ['[attention] sequences.k must be Sequences, is undefined', () => attention(rows, rows, rows, { sequences: { q: sequences.q } })],
    [
      '[attention] extraKeys must be 0 where cacheLengths are given, is 1',
      () => attention(q, k, k, { cacheLengths: lengths, extraKeys: 1 }),
    ],
    [
      '[attention] blockTable must be [2, *], is [1, 2]',
      () => attention(q, pages, pages, { cacheLengths: lengths, blockTable: table([[0, 1]]) }),
    ],
    [
      '[attention] blockTable must have dtype i32, is f32',
      () => attention(q, pages, pages, { cacheLengths: lengths, blockTable: zeros([2, 2]) as never }),
    ],
    [
      '[attention] k must be [*, *, *, 8], is [2, 5, 4, 7]',
      () =>
        attention<readonly [2, 3, 4, 8], number[], readonly number[]>(q, zeros([2, 5, 4, 7]), k, {
          cacheLengths: lengths,
          blockTable: pageTable,
        }),
    ],
    [
      '[attention] k must have pages of 1 key or more, is [6, 0, 4, 8]',
      () => attention(q, zeros([6, 0, 4, 8]), zeros([6, 0, 4, 8]), { cacheLengths: lengths, blockTable: pageTable }),
    ],
    [
      '[attention] v must be [6, 16, 4, *], is [5, 16, 4, 8]',
      () => attention(q, pages, zeros([5, 16, 4, 8]), { cacheLengths: lengths, blockTable: pageTable }),
    ],
    [
      '[attention] mask keep must broadcast to [B, H, Tq, Tk] = [2, 4, 3, 32], is [3, 5]',
      () =>
        attention(q, pages, pages, {
          cacheLengths: lengths,
          blockTable: pageTable,
          mask: Mask.keep(zeros([3, 5], { dtype: 'u8' })),
        }),
    ],
    [
      '[attention] k must not require a gradient where cacheLengths are given: call it within noGrad',
      () => attention(q, zeros([2, 5, 4, 8]).requireGrad(), k, { cacheLengths: lengths }),
    ],
    [
      '[attention] bias must not require a gradient where cacheLengths are given: call it within noGrad',
      () => attention(q, k, k, { cacheLengths: lengths, mask: Mask.bias(zeros([5]).requireGrad()) }),
    ],
    [
      '[attentionWeights] cacheLengths must be absent: weights are not made of caches',
      () => attentionWeights(q, k, zeros([2, 3, 4]), { cacheLengths: lengths } as never),
    ],
  ]
  for (const [message, call] of cases)
    it(message, () =>
      scope(() => {
        expect(call).toThrow(ArgumentError)
        expect(call).toThrow(message)
      }),
    )
  it('a gradient is refused only where it would be recorded', () =>
    scope(async () => {
      const cache = zeros([2, 5, 4, 8]).requireGrad()
      const { output } = noGrad(() => attention(q, cache, cache, { cacheLengths: lengths }))
      expect(await read(output)).toEqual(new Float32Array(2 * 3 * 4 * 8))
    }))
})

describe.each(testDevices)('on $name', ({ device }) => {
  it('lengths and pages that do not exist are told, and what does not depend on them goes on', () =>
    scope(async () => {
      const q = random([2, 1, heads, dim], 0, device)
      const k = random([2, 7, kvHeads, dim], 1, device)
      const pages = random([4, 4, kvHeads, dim], 2, device)
      const paged = (...rows: number[][]) =>
        attention(q, pages, pages, { cacheLengths: ints([5, 8], device), blockTable: table(rows, device) })
      for (const [call, message] of [
        [() => attention(q, k, k, { cacheLengths: ints([7, 8], device) }), '[attention] cache_lengths[1] must be from 0 to 7, is 8'],
        [() => attention(q, k, k, { cacheLengths: ints([-1, 2], device) }), '[attention] cache_lengths[0] must be from 0 to 7, is -1'],
        [() => paged([0, 1], [2, 4]), '[attention] block_table[1, 1] must be from 0 to 3, is 4'],
        [() => paged([0, -1], [2, 3]), '[attention] block_table[0, 1] must be from 0 to 3, is -1'],
      ] as const) {
        const good = q.mul(2)
        const reading = call().output.read()
        await expect(reading).rejects.toThrow(ArgumentError)
        await expect(reading).rejects.toThrow(message)
        expect(await read(good)).toEqual((await read(q)).map(x => 2 * x))
      }
    }))

  it('of several pages that do not exist in a long cache the first is told', () =>
    scope(async () => {
      const q = random([1, 2, heads, dim], 0, device)
      const pages = random([40, 16, kvHeads, dim], 1, device)
      const rows = (...absent: number[]) =>
        table([Array.from({ length: 40 }, (_, i) => (absent.includes(i) ? 40 + i : (i * 7) % 40))], device)
      const run = (blockTable: ReturnType<typeof table>) =>
        attention(q, pages, pages, { cacheLengths: ints([637], device), blockTable }).output
      await expect(read(run(rows(39, 23)))).rejects.toThrow('[attention] block_table[0, 23] must be from 0 to 39, is 63')
      expect((await read(run(rows()))).every(Number.isFinite)).toBe(true)
    }))

  it('entries of pages that no query sees are not looked at', () =>
    scope(async () => {
      const q = random([1, 2, heads, dim], 0, device)
      const pages = random([3, 4, kvHeads, dim], 1, device)
      // 11 keys, of which the two queries see the keys from 5 to 8.
      const options = { cacheLengths: ints([11], device), mask: Mask.window(4, 0).and(Mask.keyLengths([9])) }
      const some = attention(q, pages, pages, { ...options, blockTable: table([[-1, 1, 2, 99]], device) })
      const all = attention(q, pages, pages, { ...options, blockTable: table([[0, 1, 2, 0]], device) })
      expect(bits(await read(some.output))).toBe(bits(await read(all.output)))
    }))

  for (const queries of [1, 3, 40])
    it(`pages give the bits of a whole cache, which gives what its keys give alone · ${queries} queries`, () =>
      scope(async () => {
        const lengths = [75, 40, 0, 66]
        const capacity = 80
        const pageSize = 5
        const width = capacity / pageSize
        const q = random([4, queries, heads, dim], 0, device)
        // Beyond the lengths anything may lie.
        const filled = (counter: number) => {
          const values = numbers(4 * capacity * kvHeads * dim, counter)
          for (const [b, length] of lengths.entries())
            values.fill(Number.NaN, (b * capacity + length) * kvHeads * dim, (b + 1) * capacity * kvHeads * dim)
          return values
        }
        const [keys, values] = [filled(1), filled(2)]
        const order = Array.from({ length: 4 * width }, (_, i) => (i * 7 + 3) % (4 * width))
        const shuffled = (from: Float32Array) => {
          const page = pageSize * kvHeads * dim
          const to = new Float32Array(from.length)
          for (const [i, place] of order.entries()) to.set(from.subarray(i * page, (i + 1) * page), place * page)
          return tensor(to, [4 * width, pageSize, kvHeads, dim], { device })
        }
        const rows = lengths.map((length, b) =>
          Array.from({ length: width }, (_, i) => (i * pageSize < length ? (order[b * width + i] as number) : -1)),
        )
        const options = { cacheLengths: ints(lengths, device), mask: Mask.causal() }
        const [k, v] = [keys, values].map(from => tensor(from, [4, capacity, kvHeads, dim], { device }) as Tensor) as [Tensor, Tensor]
        const whole = attention(q, k, v, options)
        const paged = attention(q, shuffled(keys), shuffled(values), { ...options, blockTable: table(rows, device) })
        expect(bits(await read(paged.output))).toBe(bits(await read(whole.output)))
        expect(bits(await read(paged.logSumExp))).toBe(bits(await read(whole.logSumExp)))
        for (const [b, length] of lengths.entries()) {
          const [own, ofK, ofV] = [q.slice(0, b, b + 1), ...[k, v].map(x => x.slice(0, b, b + 1).slice(1, 0, length))] as [
            Tensor,
            Tensor,
            Tensor,
          ]
          const alone = await read(attention(own, ofK, ofV, { mask: Mask.causal() }).output)
          const found = await read(whole.output.slice(0, b, b + 1))
          for (const [i, x] of alone.entries()) expect(found[i]).toBeCloseTo(x, 5)
        }
      }))

  it('ragged queries give what each sequence gives alone', () =>
    scope(async () => {
      const [queries, lengths] = [
        [1, 9, 0, 3],
        [30, 9, 12, 40],
      ] as const
      const q = random([13, heads, dim], 0, device)
      const [k, v] = [1, 2].map(counter => random([4, 40, kvHeads, dim], counter, device)) as [Tensor, Tensor]
      const all = attention(q, k, v, {
        sequences: { q: Sequences.of(queries, device) },
        cacheLengths: ints(lengths, device),
        mask: Mask.causal(),
      }).output
      let row = 0
      for (const [b, count] of queries.entries()) {
        const own = q.slice(0, row, row + count).reshape([1, count, heads, dim]) as Tensor
        const [ofK, ofV] = [k, v].map(x => x.slice(0, b, b + 1)) as [Tensor, Tensor]
        const alone = attention(own, ofK, ofV, { cacheLengths: ints([lengths[b] as number], device), mask: Mask.causal() }).output
        const [found, wanted] = [await read(all.slice(0, row, row + count)), await read(alone)]
        for (const [i, x] of wanted.entries()) expect(found[i]).toBeCloseTo(x, 5)
        row += count
      }
    }))

  for (const [capacity, pageSize, start, paged] of [
    [12, 4, [3, 7], false],
    [12, 4, [3, 7], true],
    // Over the ends of tiles and of parts.
    [600, 3, [30, 254], false],
    [600, 3, [30, 254], true],
  ] as const)
    it(`a captured step that is replayed while ${paged ? 'pages fill' : 'a cache fills'} gives what single steps give · ${capacity} keys`, async () => {
      const batch = 2
      const shape = paged ? [(batch * capacity) / pageSize, pageSize, kvHeads, dim] : [batch, capacity, kvHeads, dim]
      const k = random(shape, 1, device)
      const v = random(shape, 2, device)
      const q = zeros([batch, 1, heads, dim], { device })
      const cacheLengths = ints([0, 0], device)
      const blockTable = table(
        Array.from({ length: batch }, () => new Array<number>(capacity / pageSize).fill(-1)),
        device,
      )
      const options = { cacheLengths, ...(paged ? { blockTable } : {}), mask: Mask.causal() }
      const step = device.capture(() => attention(q, k, v, options).output)
      const lengths: number[] = [...start]
      for (let i = 0; i < 5; i++) {
        const next = scope(() => {
          copy({ x: random(q.shape, 10 + i, device), y: q })
          copy({ x: ints(lengths, device), y: cacheLengths })
          const rows = lengths.map((length, b) =>
            Array.from({ length: capacity / pageSize }, (_, at) => (at * pageSize < length ? at * batch + ((b + i) % batch) : -1)),
          )
          copy({ x: table(rows, device), y: blockTable })
          return attention(q, k, v, options).output
        })
        step.replay()
        expect(bits(await read(step.result))).toBe(bits(await read(next)))
        expect((await read(step.result)).some(x => x !== 0)).toBe(true)
        next.dispose()
        for (const b of lengths.keys()) lengths[b] = (lengths[b] as number) + 1
      }
      step.result.dispose()
      step.dispose()
      for (const held of [k, v, q, cacheLengths, blockTable]) held.dispose()
    })

  it('an error of a replay is told, and the next replay is right again', async () => {
    const q = random([1, 1, heads, dim], 0, device)
    const k = random([1, 6, kvHeads, dim], 1, device)
    const cacheLengths = ints([6], device)
    const step = device.capture(() => attention(q, k, k, { cacheLengths }).output)
    const write = (length: number) => scope(() => copy({ x: ints([length], device), y: cacheLengths }))
    const results: string[] = []
    for (const length of [6, 5, 4, 7, 6, 5]) {
      write(length)
      step.replay()
      if (length === 7) await expect(step.result.read()).rejects.toThrow('cache_lengths[0] must be from 0 to 6, is 7')
      else results.push(bits(await read(step.result)))
    }
    expect(results[3]).toBe(results[0])
    expect(results[4]).toBe(results[1])
    expect(new Set(results).size).toBe(3)
    step.result.dispose()
    step.dispose()
    for (const held of [q, k, cacheLengths]) held.dispose()
  })
})
