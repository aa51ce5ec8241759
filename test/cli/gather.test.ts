import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { gather } from '../../lib/cli/gather.ts'

async function* numbers(pauses: Record<number, number> = {}, count = 10): AsyncGenerator<number> {
  for (let i = 0; i < count; i++) {
    if (pauses[i] !== undefined) await sleep(pauses[i])
    yield i
  }
}

const collect = async <T>(lists: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = []
  for await (const list of lists) all.push(list)
  return all
}

it('fills lists up to the limit, and gives the rest at the end', async () => {
  expect(await collect(gather(numbers(), 4))).toEqual([
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [8, 9],
  ])
  expect(await collect(gather(numbers(), 10))).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]])
  expect(await collect(gather(numbers({}, 0), 3))).toEqual([])
})

it('gives what it has when nothing more arrives', async () => {
  expect(await collect(gather(numbers({ 3: 200 }), 100))).toEqual([
    [0, 1, 2],
    [3, 4, 5, 6, 7, 8, 9],
  ])
})

it('gives what came before an error, then the error', async () => {
  async function* failing() {
    yield 1
    yield 2
    throw new Error('broken')
  }
  const seen: number[][] = []
  await expect(
    (async () => {
      for await (const list of gather(failing(), 100)) seen.push(list)
    })(),
  ).rejects.toThrow('broken')
  expect(seen).toEqual([[1, 2]])
})

it('ends the source when its reader stops', async () => {
  let ended = false
  async function* source() {
    try {
      for (let i = 0; ; i++) yield i
    } finally {
      ended = true
    }
  }
  for await (const list of gather(source(), 5)) {
    expect(list).toEqual([0, 1, 2, 3, 4])
    break
  }
  expect(ended).toBe(true)
})
