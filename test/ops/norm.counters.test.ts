/** What the norms' kernels do to memory: rows are read and written once, in whole sectors. */
import { describe, expect, it } from 'vitest'
import { device, layerNorm, ones, rmsNorm, scope, type Tensor } from '../../lib/index.ts'
import { testDevices } from '../devices.ts'
import { countersOf } from './counters.ts'

describe.runIf(testDevices.some(({ name }) => name === 'simt'))('norms on a GPU', () => {
  for (const [name, norm, dtype, rows, width] of [
    ['layer_norm', layerNorm, 'f32', 48, 512], // lanes of a warp
    ['layer_norm', layerNorm, 'bf16', 48, 64], // a few lanes
    ['rms_norm', (x: Tensor, weight: Tensor) => rmsNorm(x, weight), 'bf16', 24, 2048], // a block
    ['layer_norm', layerNorm, 'f32', 24, 1024],
  ] as const)
    it(`${name}, ${rows} rows of ${width} in ${dtype}: bytes move once, in full sectors`, () =>
      scope(async () => {
        const on = device('simt', { counters: true })
        const x = ones([rows, width], { device: on, dtype }).requireGrad()
        const weight = ones([width], { device: on, dtype }).requireGrad()
        const { [name]: forward, [`${name}_backward`]: backward } = await countersOf(on, () =>
          norm(x, weight).backward(ones([rows, width], { device: on, dtype })),
        )
        // A row, and the weight, from a cache: backward reads that twice. Statistics are small.
        const bytes = rows * width * (dtype === 'f32' ? 4 : 2)
        expect(forward!.loadBytes).toBe(2 * bytes)
        expect(forward!.storeBytes).toBe(bytes + rows * (name === 'layer_norm' ? 8 : 4))
        expect(backward!.loadBytes).toBe(4 * bytes + (backward!.loadBytes % bytes))
        for (const { loadBytes, loadSectors } of [forward!, backward!]) expect(loadSectors * 32).toBeLessThan(1.2 * loadBytes)
        expect(forward!.storeSectors * 32).toBeLessThan(forward!.storeBytes + 64 * rows)
        expect(forward!.loadBytes / forward!.loadRequests).toBe(512)
      }))
})
