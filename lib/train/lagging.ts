/** Results that are awaited a few entries late, in order, so that whoever makes them need not wait for each. */
export class Lagging<T> {
  readonly #limit: number
  readonly #settle: (result: T) => void
  readonly #waiting: Promise<T>[] = []

  /** @param limit how many may be under way. @param settle gets each result, in order. */
  constructor(limit: number, settle: (result: T) => void) {
    this.#limit = limit
    this.#settle = settle
  }

  /** Takes one more; waits only while more than `limit` are under way. Rejects as the awaited one does, or as `settle` throws. */
  async push(result: Promise<T>): Promise<void> {
    // Results behind one that failed are never awaited, and must not count as unhandled.
    result.catch(() => {})
    this.#waiting.push(result)
    while (this.#waiting.length > this.#limit) this.#settle(await (this.#waiting.shift() as Promise<T>))
  }

  /** Waits for all. */
  async end(): Promise<void> {
    while (this.#waiting.length > 0) this.#settle(await (this.#waiting.shift() as Promise<T>))
  }
}

/** A mean over parts of different weights. */
export class WeightedMean {
  #sum = 0
  #weight = 0

  add(value: number, weight: number): void {
    this.#sum += value * weight
    this.#weight += weight
  }

  get weight(): number {
    return this.#weight
  }
  /** NaN before anything was added. */
  get value(): number {
    return this.#sum / this.#weight
  }
}
