import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { debugLeaks, device, type Leak, scope, tensor } from '../lib/index.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void
const cpu = device('cpu')

it('debugLeaks names tensors that were dropped undisposed, and no others', async () => {
  const leaks: Leak[] = []
  const stop = debugLeaks(leak => leaks.push(leak))
  const forget = () => {
    tensor(new Float32Array(33), [3, 11], { device: cpu })
  }
  forget()
  scope(() => tensor([1], { device: cpu }).add(1).reshape([1, 1])).dispose()
  stop()
  for (let i = 0; i < 20 && leaks.length === 0; i++) {
    gc()
    await sleep(5)
  }
  expect(leaks.map(leak => [leak.tensor, leak.bytes])).toEqual([['f32[3, 11]', 132]])
  expect(leaks[0]?.stack).toMatch(/forget.*leaks\.test/)
})
