/** What the attention kernels do to memory, counted by the machine of fibers: no bank conflicts, whole sectors, no tile that a mask hides. */
import { describe, expect, it } from 'vitest'
import { attention, attentionWeights, type Device, type DType, device, Mask, scope, type Tensor, tensor } from '../../lib/index.ts'
import { PhiloxStream } from '../../lib/random.ts'

interface Shape {
  tq: number
  tk: number
  heads?: number
  kvHeads?: number
  dim: number
}

const kernelsOf = async (on: Device) => {
  await on.synchronize()
  return on.report().kernels ?? {}
}

/** Of one call. */
const counters = async (
  { tq, tk, heads = 1, kvHeads = heads, dim }: Shape,
  dtype: DType,
  { mask, backward = false, pageSize, tf32 }: { mask?: Mask | undefined; backward?: boolean; pageSize?: number; tf32?: boolean } = {},
) => {
  const on = device('simt', { counters: true, ...(tf32 === undefined ? {} : { tf32 }) })
  await kernelsOf(on) // forgets what came before
  await scope(async () => {
    const random = (shape: number[], counter: number) => {
      const stream = new PhiloxStream(5, counter)
      const size = shape.reduce((product, dimension) => product * dimension, 1)
      const x = tensor(
        Float32Array.from({ length: size }, () => stream.uniform() - 0.5),
        shape,
        { device: on },
      ).cast(dtype)
      return backward ? x.requireGrad() : x
    }
    const q = random([1, tq, heads, dim], 0)
    const rows = pageSize === undefined ? [1, tk] : [tk / pageSize, pageSize]
    const [k, v] = [random([...rows, kvHeads, dim], 1), random([...rows, kvHeads, dim], 2)]
    const pages = pageSize === undefined ? undefined : Int32Array.from({ length: tk / pageSize }, (_, i) => tk / pageSize - 1 - i)
    const cache = pages && {
      cacheLengths: tensor(Int32Array.of(tk), [1], { device: on, dtype: 'i32' }),
      blockTable: tensor(pages, [1, pages.length], { device: on, dtype: 'i32' }),
    }
    const { output } = attention(q, k, v, { mask, ...cache })
    if (backward) {
      output.backward(random([1, tq, heads, dim], 3))
      await (q.grad as Tensor).read()
    }
    await output.read()
  })
  return kernelsOf(on)
}

describe('tiles in shared memory', () => {
  for (const dtype of ['bf16', 'f32'] as const)
    for (const dim of [64, 128])
      it(`are free of bank conflicts, ${dtype}, heads of ${dim}`, async () => {
        const kernels = await counters({ tq: 64, tk: 64, dim }, dtype, { backward: true })
        for (const [name, results] of Object.entries({ attention_forward: 1, attention_backward_queries: 1, attention_backward_keys: 2 })) {
          const { sharedWavefronts, sharedIdeal } = kernels[name]!
          // Only where f32 results leave, once a block, do pairs of rows meet: twice the wavefronts of 128 bytes.
          expect(sharedWavefronts - sharedIdeal, name).toBe(dtype === 'f32' ? (results * 64 * dim * 4) / 128 : 0)
        }
      }, 60_000)
})

describe('many rows', () => {
  for (const dim of [64, 128])
    it(`share what a warp reads of keys and values between two blocks of 16, without bank conflicts, heads of ${dim}`, async () => {
      // Two key heads leave too few blocks of 128 rows for the 4 multiprocessors of this machine, four do not.
      const wavefronts = async (heads: number) => {
        const { attention_forward: forward } = await counters({ tq: 128, tk: 384, heads, dim }, 'bf16')
        expect(forward!.sharedWavefronts).toBe(forward!.sharedIdeal)
        expect(forward!.matrixInstructions).toBe((heads * 2 * 128 * 384 * dim) / (16 * 8 * 16))
        return forward!.sharedWavefronts / forward!.matrixInstructions
      }
      expect(await wavefronts(4)).toBeLessThan(0.62 * (await wavefronts(2)))
    }, 60_000)
})

describe('global memory', () => {
  it('is read in whole sectors, once a block', async () => {
    const { attention_forward: forward } = await counters({ tq: 64, tk: 64, dim: 64 }, 'bf16')
    expect(forward!.loadBytes).toBe(3 * 64 * 64 * 2)
    expect(forward!.loadSectors * 32).toBe(forward!.loadBytes)
  })
  it('is read once for all query heads of a key head', async () => {
    const { attention_forward: forward } = await counters({ tq: 16, tk: 64, heads: 4, kvHeads: 1, dim: 64 }, 'bf16')
    expect(forward!.loadBytes).toBe((4 * 16 + 2 * 64) * 64 * 2)
  })
})

describe('products', () => {
  const products = async (mask?: Mask) => {
    const { attention_forward: forward } = await counters({ tq: 256, tk: 256, dim: 16 }, 'bf16', { mask })
    return forward!.matrixInstructions
  }
  it('are those of the tiles, and of those that a mask leaves', async () => {
    // A warp's tile, columns in groups of 32: 2 steps of 8 products for scores, and 4 steps of 4 tiles of columns.
    const all = 16 * 4 * (2 * 8 + 4 * 4)
    expect(await products()).toBe(all)
    expect(await products(Mask.causal())).toBe((all * 10) / 16)
    expect(await products(Mask.keyLengths([64]))).toBe(all / 4)
    expect(await products(Mask.window(0, 0))).toBe(all / 4)
  }, 60_000)
})

describe('products of the gradients, bf16', () => {
  // What 128 further keys add to a block's dq, and 128 further queries to dk and dv, for each product of 16 × 8 × 16. Its operands are 512
  // and 256 bytes, a wavefront is 128: an operand of the other tile serves two products, and of its own rows a warp holds what it can.
  const added = async (kernel: string, dim: number, less: Shape, more: Shape) => {
    const [a, b] = [await counters(less, 'bf16', { backward: true }), await counters(more, 'bf16', { backward: true })]
    const of = (count: 'matrixInstructions' | 'sharedWavefronts') => b[kernel]![count] - a[kernel]![count]
    expect(of('matrixInstructions'), kernel).toBe((128 * 128 * dim * (kernel === 'attention_backward_queries' ? 3 : 4)) / 2048)
    return of('sharedWavefronts') / of('matrixInstructions')
  }
  for (const [dim, queries, keys] of [
    [64, 1.25, 1.76],
    [128, 1.88, 1.83],
  ] as const)
    it(`share what they read of shared memory, heads of ${dim}`, async () => {
      const [square, wide, tall] = [
        { tq: 128, tk: 128, dim },
        { tq: 128, tk: 256, dim },
        { tq: 256, tk: 128, dim },
      ]
      expect(await added('attention_backward_queries', dim, square, wide)).toBeLessThanOrEqual(queries)
      expect(await added('attention_backward_keys', dim, square, tall)).toBeLessThanOrEqual(keys)
    }, 60_000)
  it('leave out tiles that a mask hides from a warp', async () => {
    const of = async (mask?: Mask) => (await counters({ tq: 128, tk: 128, dim: 64 }, 'bf16', { mask, backward: true }))!
    const [all, causal] = [await of(), await of(Mask.causal())]
    // Of 4 × 4 tiles of 32 by 32 a causal mask leaves 10. delta is 2 × 4 products for each 16 rows.
    const delta = (128 / 16) * 2 * 4
    expect(causal.attention_backward_queries!.matrixInstructions - delta).toBe(
      ((all.attention_backward_queries!.matrixInstructions - delta) * 10) / 16,
    )
    expect(causal.attention_backward_keys!.matrixInstructions).toBe((all.attention_backward_keys!.matrixInstructions * 10) / 16)
  }, 60_000)
})

describe('few queries', () => {
  it('share the keys among blocks, which a second kernel joins', async () => {
    const kernels = await counters({ tq: 1, tk: 2048, heads: 2, kvHeads: 1, dim: 64 }, 'bf16')
    expect(Object.keys(kernels)).toEqual(expect.arrayContaining(['attention_combine', 'attention_decode']))
    expect(Object.keys(kernels)).not.toContain('attention_forward')
    // Every key and value is read by one warp; the queries by each of 8 blocks.
    expect(kernels.attention_decode!.loadBytes).toBe((8 * 2 + 2 * 2048) * 64 * 2)
  })
  for (const dtype of ['bf16', 'f32'] as const)
    for (const dim of [64, 128, 256])
      it(`are read in whole sectors and multiplied without bank conflicts · ${dtype}, heads of ${dim}`, async () => {
        for (const heads of [1, 4, 16]) {
          const kernels = await counters({ tq: 1, tk: 160, heads, kvHeads: 1, dim }, dtype)
          expect(Object.keys(kernels)).not.toContain('attention_forward')
          const { loadBytes, loadSectors, distinctSectors, sharedWavefronts, sharedIdeal } = kernels.attention_decode!
          expect(loadSectors * 32, 'sectors').toBe(loadBytes)
          expect(loadBytes, 'bytes').toBeLessThanOrEqual((2 * heads + 2 * 160) * dim * (dtype === 'bf16' ? 2 : 4))
          expect(distinctSectors).toBeGreaterThanOrEqual((2 * 160 * dim * (dtype === 'bf16' ? 2 : 4)) / 32)
          expect(sharedWavefronts, 'wavefronts').toBe(sharedIdeal)
        }
      }, 60_000)
})

describe('sequences of unequal lengths', () => {
  it('are cut into parts of one size', async () => {
    const [lengths, heads, dim] = [[10, 2048, 0, 300], 2, 64]
    const on = device('simt', { counters: true })
    await kernelsOf(on)
    await scope(async () => {
      const random = (rows: number, of: number, counter: number) => {
        const stream = new PhiloxStream(5, counter)
        const values = Float32Array.from({ length: lengths.length * rows * of * dim }, () => stream.uniform() - 0.5)
        return tensor(values, [lengths.length, rows, of, dim], { device: on }).cast('bf16')
      }
      const [q, k, v] = [random(1, heads, 0), random(2048, 1, 1), random(2048, 1, 2)]
      const cacheLengths = tensor(Int32Array.from(lengths), [lengths.length], { device: on, dtype: 'i32' })
      await attention(q, k, v, { cacheLengths }).output.read()
    })
    const { attention_decode: decode, attention_combine: combine } = await kernelsOf(on)
    // A round of four warps is 128 keys and a part two of them: parts of 256 keys, each a block that reads the queries.
    const parts = 1 + 8 + 1 + 2
    const keys = lengths.reduce((sum, length) => sum + length, 0)
    expect(decode!.loadBytes).toBe((parts * heads + 2 * keys) * dim * 2)
    // Rows of one part are written at once: only the others' sums are joined, with their largest score and total.
    expect(combine!.storeBytes).toBe(2 * heads * (dim * 2 + 4))
  }, 60_000)
})

describe('a paged cache', () => {
  for (const dtype of ['bf16', 'f32'] as const)
    for (const pageSize of [1, 16, 256])
      it(`is read in whole sectors by one warp, its table once a row · ${dtype}, pages of ${pageSize}`, async () => {
        const [keys, bytes, tile] = [2048, 64 * (dtype === 'bf16' ? 2 : 4), dtype === 'bf16' ? 32 : 16]
        const kernels = await counters({ tq: 1, tk: keys, heads: 2, kvHeads: 1, dim: 64 }, dtype, { pageSize })
        expect(Object.keys(kernels)).toContain('attention_combine')
        const { loadBytes, loadSectors, sharedWavefronts, sharedIdeal } = kernels.attention_decode!
        const rows = (8 * 2 + 2 * keys) * bytes
        expect(loadBytes).toBe(rows + 4 * keys)
        // Of the table only whole sectors of 8 entries, for a tile of keys at once.
        expect(loadSectors - rows / 32).toBe(pageSize === 1 ? keys / 8 : keys / tile)
        expect(sharedWavefronts).toBe(sharedIdeal)
      }, 60_000)
})

describe('tf32', () => {
  it('takes one product of f32 where it is allowed, of three, forward and backward', async () => {
    const shape = { tq: 32, tk: 64, dim: 64 }
    const [three, one] = [await counters(shape, 'f32', { backward: true }), await counters(shape, 'f32', { backward: true, tf32: true })]
    for (const name of ['attention_forward', 'attention_backward_queries', 'attention_backward_keys'])
      expect(one[name]!.matrixInstructions * 3, name).toBe(three[name]!.matrixInstructions)
  }, 60_000)
  it('takes one product of few rows, too', async () => {
    const shape = { tq: 3, tk: 64, dim: 64 }
    const [three, one] = [await counters(shape, 'f32'), await counters(shape, 'f32', { tf32: true })]
    expect(one.attention_decode!.matrixInstructions * 3).toBe(three.attention_decode!.matrixInstructions)
  }, 60_000)
  it('gives numbers of 10 bits, and not those of f32', async () => {
    const run = (options: { tf32?: boolean }) =>
      scope(async () => {
        const on = device('simt', options)
        const numbers = (shape: number[], counter: number) => {
          const stream = new PhiloxStream(7, counter)
          const size = shape.reduce((product, dimension) => product * dimension, 1)
          return tensor(
            Float32Array.from({ length: size }, () => stream.uniform() * 2 - 1),
            shape,
            { device: on },
          )
        }
        const [q, k, v] = [0, 1, 2].map(i => numbers([1, 20, 2, 16], i).requireGrad() as Tensor) as [Tensor, Tensor, Tensor]
        const bias = numbers([1, 2, 20, 20], 4).requireGrad()
        const { output, logSumExp } = attention(q, k, v, { mask: Mask.causal().and(Mask.bias(bias)) })
        const weights = attentionWeights(q, k, logSumExp, { mask: Mask.causal().and(Mask.bias(bias)) })
        output.backward(numbers([1, 20, 2, 16], 3))
        const results = [output, weights, ...[q, k, v, bias].map(x => x.grad as Tensor)]
        return Promise.all(results.map(async x => Float32Array.from(await x.read())))
      })
    const [exact, rounded] = [await run({}), await run({ tf32: true })]
    for (const [n, values] of exact.entries()) {
      const size = Math.max(...values.map(Math.abs))
      const error = Math.max(...values.map((x, i) => Math.abs(x - (rounded[n]![i] as number))))
      // Each factor is off by 2^-11 at most; a few such errors, of sums of a few terms.
      expect(error / size, `result ${n}`).toBeLessThan(2 ** -7)
      expect(error / size, `result ${n}`).toBeGreaterThan(2 ** -17)
    }
    // The first query sees one key: its weight is 1, and no rounding of a product that is made twice shows in its gradient.
    expect([...rounded[1]!.subarray(0, 20)]).toEqual([1, ...new Array<number>(19).fill(0)])
  })
})
