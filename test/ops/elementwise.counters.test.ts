/** What the element-wise kernels of GPU devices do to memory, counted on the machine of fibers: whole sectors, 16 bytes a lane. */
import { describe, expect, it } from 'vitest'
import { add, device, dropout, gelu, ones, scope } from '../../lib/index.ts'
import { testDevices } from '../devices.ts'

interface Counts {
  loadRequests: number
  loadSectors: number
  loadBytes: number
  storeRequests: number
  storeSectors: number
  storeBytes: number
}

describe.skipIf(!testDevices.some(({ name }) => name === 'simt'))('element-wise kernels', () => {
  const simt = device('simt', { counters: true })
  const counted = async (kernel: string, run: () => unknown): Promise<Counts> => {
    await scope(async () => {
      run()
      await simt.synchronize()
    })
    return (simt.report() as unknown as { kernels: Record<string, Counts> }).kernels[kernel] as Counts
  }
  const rows = (columns: number) => ones([64, columns], { device: simt })

  it('read and write whole sectors, 512 bytes a warp', async () => {
    const { loadRequests, loadSectors, loadBytes, storeRequests, storeSectors, storeBytes } = await counted('unary', () => gelu(rows(128)))
    expect(loadBytes).toBe(64 * 128 * 4)
    expect([loadSectors, loadRequests]).toEqual([loadBytes / 32, loadBytes / 512])
    expect([storeBytes, storeSectors, storeRequests]).toEqual([loadBytes, loadBytes / 32, loadBytes / 512])
  })

  it('read a row that repeats as vectors too', async () => {
    const { storeBytes, storeRequests } = await counted('binary', () => add(rows(128), ones([128], { device: simt })))
    expect(storeBytes).toBe(64 * 128 * 4)
    expect(storeRequests).toBe(storeBytes / 512)
  })

  it('drop elements in one pass', async () => {
    const { loadBytes, storeBytes, storeRequests } = await counted('dropout', () => dropout(rows(128), 0.5))
    expect([loadBytes, storeBytes, storeRequests]).toEqual([64 * 128 * 4, 64 * 128 * 4, 64])
  })
})
