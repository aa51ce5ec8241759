/**
 * What the tiles of the matrix products cost, as the machine of fibers counts it: no bank conflicts, whole sectors, and no more matrix
 * instructions than the product has.
 */
import { describe, expect, it } from 'vitest'
import type { KernelCounters } from '../../lib/device.ts'
import { device, type FloatDType } from '../../lib/index.ts'
import { feedForward } from '../../lib/ops/feedForward.ts'
import { linear } from '../../lib/ops/linear.ts'
import { matmul } from '../../lib/ops/matmul.ts'
import { qkv } from '../../lib/ops/qkv.ts'
import { testDevices } from '../devices.ts'
import { scope, type Tensor, tensor } from './surface.ts'

/** What the kernels of one call counted. */
async function count(
  call: (numbers: (dtype: FloatDType, ...shape: number[]) => Tensor) => unknown,
): Promise<Record<string, KernelCounters>> {
  const counting = device('simt', { counters: true })
  return scope(async () => {
    call((dtype, ...shape) => {
      const size = shape.reduce((product, dimension) => product * dimension, 1)
      return tensor(
        Float32Array.from({ length: size }, (_, i) => Math.sin(i)),
        shape,
        { device: counting, dtype },
      )
    })
    await counting.synchronize()
    return counting.report().kernels ?? {}
  })
}

function expectIdeal(kernels: Record<string, KernelCounters>, name: string): KernelCounters {
  const counted = kernels[name]
  if (counted === undefined) throw new Error(`no kernel ${name}, but ${Object.keys(kernels).join(', ')}`)
  expect(counted.sharedWavefronts, 'wavefronts of shared memory').toBe(counted.sharedIdeal)
  expect(counted.loadSectors * 32, 'sectors read').toBe(counted.loadBytes)
  expect(counted.storeSectors * 32, 'sectors written').toBe(counted.storeBytes)
  return counted
}

const layouts = [
  ['kk', false, true],
  ['kn', false, false],
  ['mn', true, false],
  ['mk', true, true],
] as const

describe.runIf(testDevices.some(({ name }) => name === 'simt'))('tiles without conflicts', () => {
  for (const dtype of ['bf16', 'f16', 'f32'] as const)
    for (const [layout, transposeA, transposeB] of layouts)
      for (const [size, m, n, k] of [
        ['small', 64, 128, 64],
        ['large', 256, 256, 32],
      ] as const)
        it(`${size} ${layout} · ${dtype}`, async () => {
          const kernels = await count(numbers => {
            const a = transposeA ? numbers(dtype, k, m).transpose() : numbers(dtype, m, k)
            const b = transposeB ? numbers(dtype, n, k).transpose() : numbers(dtype, k, n)
            matmul(a, b)
          })
          const { matrixInstructions } = expectIdeal(kernels, `gemm_${size}_${layout}`)
          expect(matrixInstructions).toBe(dtype === 'f32' ? 3 * (m / 16) * (n / 8) * (k / 8) : (m / 16) * (n / 8) * (k / 16))
        })

  it('with an activation, a residual and a bias beside them', async () => {
    const kernels = await count(numbers =>
      linear(numbers('bf16', 256, 32), numbers('bf16', 256, 32), numbers('bf16', 256), {
        activation: 'gelu',
        residual: numbers('bf16', 256, 256),
      }),
    )
    expectIdeal(kernels, 'gemm_large_kk')
  })

  for (const interleaved of [false, true])
    it(`with heads that turn${interleaved ? ', interleaved' : ''}`, async () => {
      const kernels = await count(numbers =>
        qkv(
          numbers('bf16', 256, 32),
          numbers('bf16', 256, 32),
          numbers('bf16', 256),
          { q: [2, 64], k: [1, 64], v: [1, 64] },
          { rotary: { cosines: numbers('f32', 256, 32), sines: numbers('f32', 256, 32), interleaved } },
        ),
      )
      const counted = kernels.gemm_large_heads ?? kernels.gemm_small_heads
      if (counted === undefined) throw new Error(`no kernel of heads, but ${Object.keys(kernels).join(', ')}`)
      expect(counted.sharedWavefronts, 'wavefronts of shared memory').toBe(counted.sharedIdeal)
      expect(counted.storeSectors * 32, 'sectors written').toBe(counted.storeBytes)
      // Both columns of a pair read the angle.
      expect(counted.loadSectors * 32, 'sectors read').toBeLessThan(counted.loadBytes)
    })

  it('gated', async () => {
    const kernels = await count(numbers =>
      feedForward(numbers('bf16', 256, 32), numbers('bf16', 256, 32), undefined, numbers('bf16', 64, 128), undefined, { gated: true }),
    )
    expectIdeal(kernels, 'gemm_large_kk')
    expectIdeal(kernels, 'gemm_small_kk')
  })
})

describe.runIf(testDevices.some(({ name }) => name === 'simt'))('few rows', () => {
  const wordsOf = (kernels: Record<string, KernelCounters>, name: string) => {
    expect(Object.keys(kernels)).toEqual([name])
    const counted = kernels[name] as KernelCounters
    expect(counted.launches).toBe(1)
    expect(counted.sharedWavefronts, 'wavefronts of shared memory').toBe(counted.sharedIdeal)
    return counted
  }

  for (const dtype of ['bf16', 'f16', 'f32'] as const)
    for (const [columns, n, block] of [
      ['eight', 64, 8],
      ['two times eight', 512, 16],
    ] as const)
      for (const m of [1, 8, 16])
        it(`${m}, ${columns} columns a block: each sector of a factor once a block · ${dtype}`, async () => {
          const k = 160
          const kernels = await count(numbers => matmul(numbers(dtype, m, k), numbers(dtype, n, k).transpose()))
          const counted = wordsOf(kernels, 'gemm_few_rows')
          const sectors = (k * (dtype === 'f32' ? 4 : 2)) / 32
          expect(counted.loadSectors).toBe(n * sectors + (n / block) * m * sectors)
          expect(counted.loadBytes).toBe(counted.loadSectors * 32)
          expect(counted.matrixInstructions).toBe((n / 8) * (dtype === 'f32' ? 3 * (k / 8) : k / 16))
        })

  const sines = (numbers: (dtype: FloatDType, ...shape: number[]) => Tensor) => ({
    cosines: numbers('f32', 16, 32),
    sines: numbers('f32', 16, 32),
  })
  const projections = { q: [2, 64], k: [1, 64], v: [1, 64] } as const
  for (const interleaved of [undefined, false, true])
    it(`heads${interleaved === undefined ? '' : interleaved ? ' that turn, interleaved' : ' that turn'}`, async () => {
      const kernels = await count(numbers =>
        qkv(numbers('bf16', 5, 64), numbers('bf16', 256, 64), undefined, projections, {
          ...(interleaved !== undefined && { rotary: { ...sines(numbers), interleaved } }),
        }),
      )
      wordsOf(kernels, interleaved === undefined ? 'gemm_few_rows' : 'gemm_few_rows_heads')
    })

  it('gated', async () => {
    const kernels = await count(numbers =>
      feedForward(numbers('bf16', 5, 32), numbers('bf16', 96, 32), undefined, numbers('bf16', 64, 48), undefined, { gated: true }),
    )
    expect(Object.keys(kernels)).toEqual(['gemm_few_rows'])
    expect(kernels.gemm_few_rows).toMatchObject({ launches: 2, matrixInstructions: (96 / 8) * 2 + (64 / 8) * 2 * 2 })
  })
})
