import { expect, it } from 'vitest'
import { Lagging, WeightedMean } from '../../lib/train/lagging.ts'

/** A promise and what settles it. */
function later<T>() {
  let resolve!: (value: T) => void
  let reject!: (error: Error) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

it('waits only when more than the limit are under way, and settles in order', async () => {
  const settled: number[] = []
  const lagging = new Lagging<number>(2, value => settled.push(value))
  const [a, b, c] = [later<number>(), later<number>(), later<number>()]
  await lagging.push(a.promise)
  await lagging.push(b.promise)
  const third = lagging.push(c.promise)
  c.resolve(3)
  b.resolve(2)
  await Promise.resolve()
  expect(settled).toEqual([])
  a.resolve(1)
  await third
  expect(settled).toEqual([1])
  await lagging.end()
  expect(settled).toEqual([1, 2, 3])
})

it('rejects as the first that fails, and leaves no later one unhandled', async () => {
  const lagging = new Lagging<number>(0, () => {})
  await expect(lagging.push(Promise.reject(new Error('first')))).rejects.toThrow('first')
  const more = new Lagging<number>(5, () => {})
  await more.push(Promise.reject(new Error('second')))
  await more.push(Promise.reject(new Error('third')))
  await expect(more.end()).rejects.toThrow('second')
})

it('weighs a mean', () => {
  const mean = new WeightedMean()
  expect(mean.value).toBeNaN()
  mean.add(1, 3)
  mean.add(5, 1)
  expect(mean.value).toBe(2)
  expect(mean.weight).toBe(4)
})
