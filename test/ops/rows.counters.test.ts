/** What the kernels of rows do to memory: each row of softmax, loss and tables moves once, 16 bytes a lane, in whole sectors. */
import { describe, expect, it } from 'vitest'
import {
  crossEntropy,
  device,
  embedding,
  gatherRows,
  logSoftmax,
  ones,
  randn,
  scope,
  softmax,
  type Tensor,
  tensor,
} from '../../lib/index.ts'
import { testDevices } from '../devices.ts'
import { countersOf } from './counters.ts'

const SECTOR = 32
/** Of a warp whose lanes access 16 bytes each. */
const REQUEST = 512

describe.runIf(testDevices.some(({ name }) => name === 'simt'))('rows on a GPU', () => {
  const on = device('simt', { counters: true })

  for (const [name, f] of [
    ['softmax', softmax],
    ['log_softmax', logSoftmax],
  ] as const)
    for (const [dtype, rows, columns] of [
      ['f32', 48, 512], // lanes of a warp
      ['bf16', 24, 4096], // a block
    ] as const)
      it(`${name}, ${rows} rows of ${columns} in ${dtype}: read once, written once`, () =>
        scope(async () => {
          const x = ones([rows, columns], { device: on, dtype }).requireGrad()
          const dy = ones([rows, columns], { device: on, dtype })
          const { [name]: forward, [`${name}_backward`]: backward } = await countersOf(on, () => f(x).backward(dy))
          const bytes = rows * columns * (dtype === 'f32' ? 4 : 2)
          for (const [counts, reads] of [
            [forward!, 1],
            [backward!, 2],
          ] as const) {
            expect([counts.loadBytes, counts.loadSectors, counts.loadRequests]).toEqual([
              reads * bytes,
              (reads * bytes) / SECTOR,
              (reads * bytes) / REQUEST,
            ])
            expect([counts.storeBytes, counts.storeSectors, counts.storeRequests]).toEqual([bytes, bytes / SECTOR, bytes / REQUEST])
          }
        }))

  for (const dtype of ['f32', 'bf16'] as const)
    it(`cross entropy in ${dtype}: logits are read once forward and once backward, their gradient is written once`, () =>
      scope(async () => {
        const [rows, classes] = [32, 3000]
        const logits = randn([rows, classes], { device: on, dtype }).requireGrad()
        const targets = tensor(
          Int32Array.from({ length: rows }, (_, i) => 7 * i),
          [rows],
          { device: on },
        )
        const { cross_entropy: forward, cross_entropy_backward: backward } = await countersOf(on, () =>
          crossEntropy(logits, targets, { labelSmoothing: 0.1 }).backward(),
        )
        const bytes = rows * classes * (dtype === 'f32' ? 4 : 2)
        // Beside the logits there are a row's target, statistics and the target's own logit, a sector each for every warp that asks.
        expect(forward!.loadSectors - bytes / SECTOR).toBeLessThanOrEqual(12 * rows)
        expect(forward!.storeSectors).toBeLessThanOrEqual(4 * rows)
        expect(backward!.loadSectors - bytes / SECTOR).toBeLessThanOrEqual(36 * rows)
        expect(backward!.storeBytes).toBe(bytes)
        expect(backward!.storeSectors * SECTOR).toBeLessThan(1.04 * bytes)
      }))

  for (const dtype of ['f32', 'bf16'] as const)
    for (const [name, kernels, look] of [
      ['embedding', ['embedding', 'embedding_backward'], (table: Tensor, ids: Tensor) => embedding(table, ids)],
      ['gather', ['gather_rows', 'scatter_rows'], (table: Tensor, ids: Tensor) => gatherRows(table, ids)],
    ] as const)
      it(`${name} in ${dtype}: whole rows, and each row of the gradient is written once`, () =>
        scope(async () => {
          const [entries, rows, columns] = [50, 96, 512]
          const table = ones([entries, columns], { device: on, dtype }).requireGrad()
          const ids = tensor(
            Int32Array.from({ length: rows }, (_, i) => (7 * i) % entries),
            [rows],
            { device: on },
          )
          const dy = ones([rows, columns], { device: on, dtype })
          const counts = await countersOf(on, () => look(table, ids).backward(dy))
          const [forward, backward] = kernels.map(kernel => counts[kernel]!)
          const bytes = rows * columns * (dtype === 'f32' ? 4 : 2)
          expect([forward!.storeBytes, forward!.storeSectors, forward!.storeRequests]).toEqual([bytes, bytes / SECTOR, bytes / REQUEST])
          expect(forward!.loadSectors * SECTOR).toBeLessThan(1.02 * bytes) // an id a warp beside the rows
          // The sums are f32, whatever the table is.
          const sums = entries * columns * 4
          expect([backward!.storeBytes, backward!.storeSectors, backward!.storeRequests]).toEqual([sums, sums / SECTOR, sums / REQUEST])
          // Beside them each warp reads whose turn it is: sorted rows and their numbers.
          expect(backward!.loadSectors - (bytes + sums) / SECTOR).toBeLessThanOrEqual(18 * rows)
        }))
})
