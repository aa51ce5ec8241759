/**
 * Random numbers from a counter: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11; Random123).
 *
 * The convention of the whole project, on every device: element `i` of a draw with `seed` and `counter` (both unsigned 64-bit) comes from the block
 *
 *     counter words = (lo32(i >> 2), hi32(i >> 2), lo32(counter), hi32(counter))
 *     key words     = (lo32(seed), hi32(seed))
 *
 * and is output lane `i & 3` of it. A uniform number in [0, 1) is `(u32 >>> 8) * 2^-24`.
 *
 * Operations on a device count up from 0; draws on the host (shuffles, corpora) use counters from `hostCounter`, which have the top bit set, so that
 * no two uses of one seed ever share a block.
 */

const M0 = 0xd2511f53
const M1 = 0xcd9e8d57
const W0 = 0x9e3779b9
const W1 = 0xbb67ae85
const U64 = 1n << 64n

/** High 32 bits of the unsigned product of two 32-bit words. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff
  const aHigh = a >>> 16
  const bLow = b & 0xffff
  const bHigh = b >>> 16
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16)
  const carry = aLow * bHigh + (middle & 0xffff)
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0
}

/** Four 32-bit words, unsigned. */
export type Words4 = [number, number, number, number]

/** One block of Philox4x32-10: ten rounds over `counter` (four words) keyed by `key` (two words). */
export function philox4x32(key: readonly [number, number], counter: Readonly<Words4>): Words4 {
  let [c0, c1, c2, c3] = counter
  let [k0, k1] = key
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0)
    const low0 = Math.imul(M0, c0) >>> 0
    const high1 = mulHigh(M1, c2)
    const low1 = Math.imul(M1, c2) >>> 0
    c0 = (high1 ^ c1 ^ k0) >>> 0
    c1 = low1
    c2 = (high0 ^ c3 ^ k1) >>> 0
    c3 = low0
    k0 = (k0 + W0) >>> 0
    k1 = (k1 + W1) >>> 0
  }
  return [c0, c1, c2, c3]
}

/** Checks an unsigned 64-bit value given as a number or a bigint. Throws RangeError if it is negative, too large or not an integer. */
export function u64(value: number | bigint, name: string): bigint {
  if (typeof value === 'number' && !(Number.isSafeInteger(value) && value >= 0)) {
    throw new RangeError(`${name} must be an integer from 0 to 2^53 - 1 (or a bigint below 2^64), is ${value}`)
  }
  const big = BigInt(value)
  if (big < 0n || big >= U64) throw new RangeError(`${name} must be from 0 to 2^64 - 1, is ${value}`)
  return big
}

const low32 = (value: bigint) => Number(value & 0xffffffffn)
const high32 = (value: bigint) => Number(value >> 32n)

/** What the host draws random numbers for; each has its own range of counters. */
export type HostPurpose = 'batches' | 'corpus' | 'user'
const purposes: Record<HostPurpose, bigint> = { batches: 1n, corpus: 2n, user: 3n }

/** Counter of a host-side draw: bit 63 set, the purpose in bits 48 to 62, `index` (an epoch, a step) below. */
export function hostCounter(purpose: HostPurpose, index: number | bigint = 0): bigint {
  const value = u64(index, 'index')
  if (value >= 1n << 48n) throw new RangeError(`index must be below 2^48, is ${index}`)
  return (1n << 63n) | (purposes[purpose] << 48n) | value
}

/** The elements of one draw, in order. Two streams with equal seed and counter give equal numbers, on any machine. */
export class PhiloxStream {
  readonly #key: readonly [number, number]
  readonly #low: number
  readonly #high: number
  #block: Words4 = [0, 0, 0, 0]
  #index = 0

  /** @param seed unsigned 64-bit. @param counter unsigned 64-bit, default 0. */
  constructor(seed: number | bigint, counter: number | bigint = 0) {
    const key = u64(seed, 'seed')
    const word = u64(counter, 'counter')
    this.#key = [low32(key), high32(key)]
    this.#low = low32(word)
    this.#high = high32(word)
  }

  /** Next element, an integer from 0 to 2^32 - 1. */
  next(): number {
    const lane = this.#index % 4
    if (lane === 0) {
      const block = this.#index / 4
      this.#block = philox4x32(this.#key, [block >>> 0, Math.floor(block / 0x100000000), this.#low, this.#high])
    }
    this.#index++
    return this.#block[lane] as number
  }

  /** Next element as a number in [0, 1), a multiple of 2^-24. */
  uniform(): number {
    return (this.next() >>> 8) * 2 ** -24
  }

  /** Integer from 0 to `limit - 1`, each equally likely (draws above the largest multiple of `limit` are rejected). `limit` is at most 2^32. */
  int(limit: number): number {
    if (!Number.isInteger(limit) || limit < 1 || limit > 0x100000000)
      throw new RangeError(`limit must be an integer from 1 to 2^32, is ${limit}`)
    const end = 0x100000000 - (0x100000000 % limit)
    for (;;) {
      const value = this.next()
      if (value < end) return value % limit
    }
  }

  /** One of `items`, each equally likely. */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError('items must not be empty')
    return items[this.int(items.length)] as T
  }

  /** Shuffles in place (Fisher–Yates) and returns the same array. */
  shuffle<A extends { length: number; [index: number]: unknown }>(items: A): A {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.int(i + 1)
      const kept = items[i]
      items[i] = items[j]
      items[j] = kept
    }
    return items
  }
}
