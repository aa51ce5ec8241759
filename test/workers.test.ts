import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { device, sum, tensor } from '../lib/index.ts'

/** A worker that runs `body` with the library's exports in scope; tsx gives it TypeScript. */
function worker(body: string): Worker {
  const library = new URL('../lib/index.ts', import.meta.url).href
  return new Worker(
    `import { parentPort } from 'node:worker_threads'
     import { tsImport } from 'tsx/esm/api'
     const { device, tensor, zeros, mul, sum, scope } = await tsImport(${JSON.stringify(library)}, ${JSON.stringify(import.meta.url)})
     ${body}`,
    { eval: true },
  )
}
const message = (from: Worker) => new Promise((resolve, reject) => from.once('message', resolve).once('error', reject))

describe('worker threads', () => {
  it('share the engine and have tensors of their own', async () => {
    const workers = [1, 2, 3].map(k =>
      worker(`let total = 0
        for (let i = 0; i < 200; i++) total += await scope(() => sum(mul(tensor([${k}, 2]), 2)).item())
        parentPort.postMessage(total)`),
    )
    const own = sum(tensor([4, 5], { device: device('cpu') })).item()
    expect(await Promise.all(workers.map(message))).toEqual([1200, 1600, 2000])
    expect(await own).toBe(9)
  })
  it('may be torn down with work in flight, again and again', async () => {
    for (let i = 0; i < 5; i++) {
      const doomed = worker(`parentPort.postMessage('started')
        let x = zeros([500, 500])
        for (;;) { const y = mul(x, 2); x.dispose(); x = y; y.read().catch(() => {}); await new Promise(setImmediate) }`)
      expect(await message(doomed)).toBe('started')
      await sleep(10 * i)
      expect(await doomed.terminate()).toBe(1)
    }
    expect(await sum(tensor([1, 2], { device: device('cpu') })).item()).toBe(3)
  })
  it('give their memory back when they end', async () => {
    const cpu = device('cpu')
    await cpu.synchronize()
    const before = cpu.memory().live
    const ending = worker(`const x = zeros([100000], { device: device('cpu') }); await x.read(); parentPort.postMessage('done')`)
    await message(ending)
    await ending.terminate()
    await cpu.synchronize()
    expect(cpu.memory().live).toBe(before)
  })
})
