/** What goes wrong on a GPU: memory that runs out is had again, and a kernel that leaves its memory takes the device, not the process. */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, inject, it } from 'vitest'
import { add, type Device, device, OutOfMemoryError, sum, type Tensor, tensor, zeros } from '../../lib/index.ts'
import { testDevices } from '../devices.ts'
import type { Loss } from './lose.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Whether no other process of the suite uses the GPU. */
    alone: boolean
  }
}

const outcome = (promise: Promise<unknown>) => promise.catch((error: unknown) => error)

/** Fills the device in pieces until it refuses one, and gives all of it back. */
async function fill(on: Device) {
  const rows = Math.floor(on.memory().limit / 32 / 4096)
  const kept = tensor([1, 2, 3], { device: on })
  const held: Tensor[] = []
  let refused: unknown
  while (refused === undefined && held.length < 64) {
    const piece = zeros([rows, 1024], { device: on })
    held.push(piece)
    const first = piece.slice(0, 0, 1)
    refused = await first.read().then(
      () => undefined,
      error => error,
    )
    first.dispose() // it keeps the piece's memory
  }
  const pieces = held.length
  const dependent = await outcome(sum(held.at(-1) as Tensor).item())
  for (const piece of held) piece.dispose()
  return { refused, pieces, dependent, kept, rows }
}

const gpus = testDevices.filter(({ device }) => device.kind !== 'cpu')
for (const { name, device: shared } of gpus) {
  describe(`errors on ${name}`, () => {
    it('memory that the driver does not have: told with what it has, and the device goes on', async () => {
      // The limit lets the request through to the driver.
      const on = device(shared.kind, { memoryLimit: 2 ** 52 })
      const x = tensor([1, 2], { device: on })
      const error = await outcome(sum(zeros([2 ** 24, 2 ** 24], { device: on })).item())
      expect(error).toBeInstanceOf(OutOfMemoryError)
      expect((error as OutOfMemoryError).message).toMatch(/needs 1125899906842624 bytes, the GPU has \d+ of \d+ free/)
      expect(Array.from(await add(x, 1).read())).toEqual([2, 3])
    })

    const alone = shared.kind === 'simt' || inject('alone') === true
    it.skipIf(!alone)(
      `memory that has been filled: what does not fit is told, the rest works, and all of it comes back${alone ? '' : ' (skipped: other processes need the GPU, npm run test:gpu has it alone)'}`,
      { timeout: 120_000 },
      async () => {
        const on = shared.kind === 'simt' ? device('simt', { memoryLimit: 2 ** 24 }) : device('cuda', { poison: false })
        const { refused, pieces, dependent, kept, rows } = await fill(on)
        expect(refused).toBeInstanceOf(OutOfMemoryError)
        expect((refused as OutOfMemoryError).detail).toMatch(/live \d+ bytes; largest: \w+ \d+/)
        expect(dependent).toBeInstanceOf(OutOfMemoryError)
        expect(pieces).toBeGreaterThan(16)
        expect(Array.from(await kept.read())).toEqual([1, 2, 3])
        // The cache holds pieces of one size; another size makes the device give them back first.
        const other = zeros([2 * rows, 1024], { device: on })
        expect(await sum(other).item()).toBe(0)
        other.dispose()
        on.trim()
        await on.synchronize()
        expect(on.memory().cached).toBe(0)
      },
    )

    it('a kernel that reads where no memory is: the device is lost, the process lives', { timeout: 120_000 }, () => {
      const child = fileURLToPath(new URL('lose.ts', import.meta.url))
      const said = execFileSync(process.execPath, ['--import', 'tsx', child, shared.kind], { encoding: 'utf8', timeout: 110_000 })
      const loss = JSON.parse(said) as Loss
      expect(loss.before).toEqual([2, 2, 2, 2])
      for (const after of [loss.astray, loss.later, loss.fresh]) {
        expect(after).toMatchObject({ name: 'DeviceLostError', code: 'TILEWISE_DEVICE_LOST' })
        expect(after).toMatchObject({ message: expect.stringContaining('the device is lost, the process must restart') })
      }
      expect(loss.astray).toMatchObject({ message: expect.stringMatching(/illegal (memory )?a(ddress|ccess)/i) })
      expect(loss.cpu).toEqual([2, 2])
    })
  })
}

if (gpus.length === 0) it.skip('no GPU and no machine of fibers is asked for', () => {})
