/** What the attention kernels do to memory, counted by the machine of fibers: no bank conflicts, whole sectors, no tile that a mask hides. */
import { describe, expect, it } from 'vitest'
import { attention, type Device, type DType, device, Mask, scope, type Tensor, tensor } from '../../lib/index.ts'
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
  { mask, backward = false }: { mask?: Mask | undefined; backward?: boolean } = {},
) => {
  const on = device('simt', { counters: true })
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
    const [k, v] = [random([1, tk, kvHeads, dim], 1), random([1, tk, kvHeads, dim], 2)]
    const { output } = attention(q, k, v, { mask })
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
    // A warp's tile: 8 products of scores, and 4 steps of 4 tiles of columns (a group of 32).
    const all = 16 * 4 * (8 + 4 * 4)
    expect(await products()).toBe(all)
    expect(await products(Mask.causal())).toBe((all * 10) / 16)
    expect(await products(Mask.keyLengths([64]))).toBe(all / 4)
    expect(await products(Mask.window(0, 0))).toBe(all / 4)
  }, 60_000)
})

describe('few queries', () => {
  it('share the keys among blocks, which a second kernel joins', async () => {
    const kernels = await counters({ tq: 1, tk: 2048, heads: 2, kvHeads: 1, dim: 64 }, 'bf16')
    expect(Object.keys(kernels)).toContain('attention_combine')
    // Every key and value is read by one block.
    expect(kernels.attention_forward!.loadBytes).toBe((8 * 2 + 2 * 2048) * 64 * 2)
  })
})
