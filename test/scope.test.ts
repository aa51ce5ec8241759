import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { add, device, keep, noGrad, persistent, scope, type Tensor, tensor, zeros } from '../lib/index.ts'

const cpu = device('cpu')
const one = () => tensor([1], { device: cpu })

describe('scope', () => {
  it('frees everything but what it returns, wherever that hides', () => {
    let lost: Tensor | undefined
    const result = scope(() => {
      lost = add(one(), 1)
      return { list: [one()], map: new Map([['k', one()]]), number: 3, deep: { set: new Set([one()]) } }
    })
    expect(lost?.disposed).toBe(true)
    expect(result.list[0]?.disposed).toBe(false)
    expect(result.map.get('k')?.disposed).toBe(false)
    expect([...result.deep.set][0]?.disposed).toBe(false)
  })
  it('hands what it returns to the scope around it', () => {
    let inner: Tensor | undefined
    scope(() => {
      inner = scope(() => one())
      expect(inner.disposed).toBe(false)
    })
    expect(inner?.disposed).toBe(true)
  })
  it('frees after an error too, synchronous or not', async () => {
    const made: Tensor[] = []
    expect(() =>
      scope(() => {
        made.push(one())
        throw new Error('boom')
      }),
    ).toThrow('boom')
    await expect(
      scope(async () => {
        made.push(one())
        await sleep(1)
        made.push(one())
        throw new Error('later')
      }),
    ).rejects.toThrow('later')
    expect(made.map(t => t.disposed)).toEqual([true, true, true])
  })
  it('follows asynchronous calls: two requests never free each other', async () => {
    const request = (ms: number) =>
      scope(async () => {
        const mine = one()
        await sleep(ms)
        const later = add(mine, ms)
        await sleep(1)
        expect(mine.disposed).toBe(false)
        return later
      })
    const [a, b] = await Promise.all([request(20), request(5)])
    expect([await a.item(), await b.item()]).toEqual([21, 6])
  })
  it('leaves kept and persistent tensors alone', () => {
    const [kept, state, x] = scope(() => {
      const list = [keep(one()), persistent(() => zeros([1], { device: cpu })), one()]
      setImmediate(() => {})
      return [list[0], list[1], null, list[2]].slice(0, 2).concat(undefined as never)
    })
    expect([kept?.disposed, state?.disposed, x]).toEqual([false, false, undefined])
  })
  it('noGrad holds through awaits and ends with its body', async () => {
    const w = one().requireGrad()
    const inside = noGrad(async () => {
      await sleep(2)
      return add(w, 1)
    })
    expect(add(w, 1).requiresGrad).toBe(true)
    expect((await inside).requiresGrad).toBe(false)
  })
  it('using frees at the end of a block', () => {
    let seen: Tensor
    {
      using x = one()
      seen = x
    }
    expect(seen.disposed).toBe(true)
    seen.dispose()
  })
})
