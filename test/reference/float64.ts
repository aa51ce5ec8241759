/**
 * The oracle: references evaluated in float64, with automatic derivatives. With `round`, every primitive's result is rounded to a lower
 * precision, as an unfused computation in that precision would: what it loses is the yardstick for what a fused kernel may lose.
 */

import type { ArrayOps } from '../../lib/ops/reference.ts'
import { PhiloxStream } from '../../lib/random.ts'
import { erf } from './erf.ts'

export type Rounding = (x: number) => number

const words = new Uint32Array(1)
const single = new Float32Array(words.buffer)
export function toBf16(x: number): number {
  single[0] = x
  const u = words[0] as number
  if ((u & 0x7fffffff) > 0x7f800000) return Number.NaN
  words[0] = ((u + 0x7fff + ((u >>> 16) & 1)) >>> 16) << 16
  return single[0]
}
/** The nearest IEEE binary16, ties to even. */
export function toF16(x: number): number {
  const magnitude = Math.abs(x)
  if (!(magnitude < 65520)) return Number.isNaN(x) ? x : x < 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  // The distance of neighbouring numbers here; below 2^-14 they are 2^-24 apart. Scaling by a power of two is exact.
  const step = 2 ** (Math.max(Math.floor(Math.log2(magnitude || 1)), -14) - 10)
  const scaled = x / step
  const low = Math.floor(scaled)
  const rest = scaled - low
  return (rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low) * step
}
export const roundings: Record<'f64' | 'f32' | 'bf16' | 'f16', Rounding> = { f64: x => x, f32: Math.fround, bf16: toBf16, f16: toF16 }

export interface Arr {
  readonly shape: readonly number[]
  readonly data: Float64Array
  readonly parents: readonly { arr: Arr; pull: (dy: Float64Array) => Float64Array }[]
}

export const sizeOf = (shape: readonly number[]) => shape.reduce((product, dimension) => product * dimension, 1)

function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length)
  let stride = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride
    stride *= shape[i] as number
  }
  return strides
}

function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const x = a[a.length - rank + i] ?? 1
    const y = b[b.length - rank + i] ?? 1
    if (x !== y && x !== 1 && y !== 1) throw new Error(`reference: [${a}] and [${b}] do not broadcast`)
    return x === 1 ? y : x
  })
}

/** For each element of `shape`, the index of the element of `from` that broadcasting puts there. */
function indexMap(from: readonly number[], shape: readonly number[]): Int32Array {
  const missing = shape.length - from.length
  const fromStrides = stridesOf(from)
  const strides = shape.map((dimension, i) =>
    i < missing || (from[i - missing] === 1 && dimension !== 1) ? 0 : (fromStrides[i - missing] as number),
  )
  const map = new Int32Array(sizeOf(shape))
  const index = new Array<number>(shape.length).fill(0)
  let at = 0
  for (let n = 0; n < map.length; n++) {
    map[n] = at
    for (let d = shape.length - 1; d >= 0; d--) {
      at += strides[d] as number
      if (++(index[d] as number) < (shape[d] as number)) break
      at -= (strides[d] as number) * (shape[d] as number)
      index[d] = 0
    }
  }
  return map
}

export class Float64Engine implements ArrayOps<Arr> {
  readonly #round: Rounding
  /** Low precisions accumulate in f32, as every library does. */
  readonly #sum: Rounding

  constructor(round: Rounding = roundings.f64) {
    this.#round = round
    this.#sum = round === roundings.f64 ? round : Math.fround
  }

  leaf(values: ArrayLike<number>, shape: readonly number[]): Arr {
    return { shape, data: Float64Array.from(values), parents: [] }
  }
  #make(shape: readonly number[], data: Float64Array, parents: Arr['parents']): Arr {
    for (let i = 0; i < data.length; i++) data[i] = this.#round(data[i] as number)
    return { shape, data, parents }
  }

  /** Gradients of sum(outputs · upstream) by `leaves`. */
  gradients(outputs: readonly { arr: Arr; upstream: Float64Array }[], leaves: readonly Arr[]): Float64Array[] {
    const order: Arr[] = []
    const seen = new Set<Arr>()
    const visit = (start: Arr) => {
      const stack: { arr: Arr; next: number }[] = [{ arr: start, next: 0 }]
      seen.add(start)
      while (stack.length > 0) {
        const top = stack[stack.length - 1] as { arr: Arr; next: number }
        const parent = top.arr.parents[top.next++]
        if (parent === undefined) {
          order.push(top.arr)
          stack.pop()
        } else if (!seen.has(parent.arr)) {
          seen.add(parent.arr)
          stack.push({ arr: parent.arr, next: 0 })
        }
      }
    }
    for (const { arr } of outputs) if (!seen.has(arr)) visit(arr)
    const flowing = new Map<Arr, Float64Array>()
    const add = (arr: Arr, dy: Float64Array) => {
      const sum = flowing.get(arr)
      if (sum === undefined) flowing.set(arr, Float64Array.from(dy))
      else for (let i = 0; i < dy.length; i++) sum[i] = this.#round((sum[i] as number) + (dy[i] as number))
    }
    for (const { arr, upstream } of outputs) add(arr, upstream)
    for (const arr of order.reverse()) {
      const dy = flowing.get(arr)
      if (dy === undefined) continue
      for (const parent of arr.parents) {
        const pulled = parent.pull(dy)
        for (let i = 0; i < pulled.length; i++) pulled[i] = this.#round(pulled[i] as number)
        add(parent.arr, pulled)
      }
    }
    return leaves.map(leaf => flowing.get(leaf) ?? new Float64Array(leaf.data.length))
  }

  shape = (x: Arr) => x.shape
  values = (x: Arr) => x.data
  constant = (values: ArrayLike<number>, shape: readonly number[]) => this.leaf(values, shape)
  full = (shape: readonly number[], value: number) => this.leaf(new Float64Array(sizeOf(shape)).fill(value), shape)

  #elementwise(
    a: Arr,
    b: Arr | number,
    f: (x: number, y: number) => number,
    dfa: (x: number, y: number) => number,
    dfb: (x: number, y: number) => number,
  ): Arr {
    const right = typeof b === 'number' ? this.leaf([b], []) : b
    const shape = broadcastShape(a.shape, right.shape)
    const mapA = indexMap(a.shape, shape)
    const mapB = indexMap(right.shape, shape)
    const x = (i: number) => a.data[mapA[i] as number] as number
    const y = (i: number) => right.data[mapB[i] as number] as number
    const data = Float64Array.from(mapA, (_, i) => f(x(i), y(i)))
    const pull = (size: number, map: Int32Array, df: (x: number, y: number) => number) => (dy: Float64Array) => {
      const dx = new Float64Array(size)
      for (let i = 0; i < dy.length; i++) {
        // 0 · inf is no gradient: what nothing flows into stays 0. Products are rounded before a broadcast's sum, as those of eager code are.
        if (dy[i] !== 0)
          dx[map[i] as number] = this.#sum((dx[map[i] as number] as number) + this.#round((dy[i] as number) * df(x(i), y(i))))
      }
      return dx
    }
    const parents = [{ arr: a, pull: pull(a.data.length, mapA, dfa) }]
    if (typeof b !== 'number') parents.push({ arr: right, pull: pull(right.data.length, mapB, dfb) })
    return this.#make(shape, data, parents)
  }
  add = (a: Arr, b: Arr | number) =>
    this.#elementwise(
      a,
      b,
      (x, y) => x + y,
      () => 1,
      () => 1,
    )
  sub = (a: Arr, b: Arr | number) =>
    this.#elementwise(
      a,
      b,
      (x, y) => x - y,
      () => 1,
      () => -1,
    )
  mul = (a: Arr, b: Arr | number) =>
    this.#elementwise(
      a,
      b,
      (x, y) => x * y,
      (_, y) => y,
      x => x,
    )
  div = (a: Arr, b: Arr | number) =>
    this.#elementwise(
      a,
      b,
      (x, y) => x / y,
      (_, y) => 1 / y,
      (x, y) => -x / (y * y),
    )
  pow = (a: Arr, b: Arr | number) =>
    this.#elementwise(
      a,
      b,
      (x, y) => x ** y,
      (x, y) => y * x ** (y - 1),
      (x, y) => x ** y * Math.log(x),
    )
  maximum = (a: Arr, b: Arr | number) => {
    const half = (x: number, y: number) => (x > y ? 1 : x === y ? 0.5 : 0)
    return this.#elementwise(a, b, Math.max, half, (x, y) => half(y, x))
  }
  minimum = (a: Arr, b: Arr | number) => {
    const half = (x: number, y: number) => (x < y ? 1 : x === y ? 0.5 : 0)
    return this.#elementwise(a, b, Math.min, half, (x, y) => half(y, x))
  }
  compare = (a: Arr, b: Arr | number, f: (x: number, y: number) => boolean) =>
    this.#elementwise(
      a,
      b,
      (x, y) => Number(f(x, y)),
      () => 0,
      () => 0,
    )

  #map(x: Arr, f: (x: number) => number, df: (x: number, y: number) => number): Arr {
    const data = x.data.map(f)
    const pull = (dy: Float64Array) => dy.map((d, i) => (d === 0 ? 0 : d * df(x.data[i] as number, data[i] as number)))
    return this.#make(x.shape, data, [{ arr: x, pull }])
  }
  neg = (x: Arr) =>
    this.#map(
      x,
      v => -v,
      () => -1,
    )
  exp = (x: Arr) => this.#map(x, Math.exp, (_, y) => y)
  log = (x: Arr) => this.#map(x, Math.log, v => 1 / v)
  sqrt = (x: Arr) => this.#map(x, Math.sqrt, (_, y) => 0.5 / y)
  tanh = (x: Arr) => this.#map(x, Math.tanh, v => 1 - Math.tanh(v) ** 2)
  erf = (x: Arr) => this.#map(x, erf, v => (2 / Math.sqrt(Math.PI)) * Math.exp(-v * v))
  sin = (x: Arr) => this.#map(x, Math.sin, Math.cos)
  cos = (x: Arr) => this.#map(x, Math.cos, v => -Math.sin(v))
  abs = (x: Arr) => this.#map(x, Math.abs, Math.sign)

  where = (condition: Arr, a: Arr | number, b: Arr | number) => {
    const [left, right] = [a, b].map(side => (typeof side === 'number' ? this.leaf([side], []) : side)) as [Arr, Arr]
    const shape = broadcastShape(broadcastShape(condition.shape, left.shape), right.shape)
    const maps = [condition, left, right].map(arr => indexMap(arr.shape, shape)) as [Int32Array, Int32Array, Int32Array]
    const chosen = Array.from(maps[0], index => condition.data[index] !== 0)
    const data = Float64Array.from(
      chosen,
      (first, i) => (first ? left.data[maps[1][i] as number] : right.data[maps[2][i] as number]) as number,
    )
    const pull = (arr: Arr, map: Int32Array, first: boolean) => (dy: Float64Array) => {
      const dx = new Float64Array(arr.data.length)
      for (let i = 0; i < dy.length; i++)
        if (chosen[i] === first) dx[map[i] as number] = this.#sum((dx[map[i] as number] as number) + (dy[i] as number))
      return dx
    }
    return this.#make(shape, data, [
      { arr: left, pull: pull(left, maps[1], true) },
      { arr: right, pull: pull(right, maps[2], false) },
    ])
  }

  matmul = (a: Arr, b: Arr) => {
    const [m, k] = a.shape.slice(-2) as [number, number]
    const n = b.shape[b.shape.length - 1] as number
    if (b.shape[b.shape.length - 2] !== k) throw new Error(`reference: matmul of [${a.shape}] and [${b.shape}]`)
    const batch = broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2))
    const mapA = indexMap(a.shape.slice(0, -2), batch)
    const mapB = indexMap(b.shape.slice(0, -2), batch)
    const data = new Float64Array(mapA.length * m * n)
    /** out[p, q] += x[p, r] · y[r, q] by strides. */
    const product = (
      out: Float64Array,
      at: number,
      x: Float64Array,
      xAt: number,
      xs: [number, number],
      y: Float64Array,
      yAt: number,
      ys: [number, number],
      p: number,
      q: number,
      r: number,
    ) => {
      for (let i = 0; i < p; i++)
        for (let l = 0; l < r; l++) {
          const left = x[xAt + i * xs[0] + l * xs[1]] as number
          for (let j = 0; j < q; j++)
            out[at + i * q + j] = this.#sum((out[at + i * q + j] as number) + left * (y[yAt + l * ys[0] + j * ys[1]] as number))
        }
    }
    for (let s = 0; s < mapA.length; s++)
      product(data, s * m * n, a.data, (mapA[s] as number) * m * k, [k, 1], b.data, (mapB[s] as number) * k * n, [n, 1], m, n, k)
    const pullA = (dy: Float64Array) => {
      const da = new Float64Array(a.data.length)
      for (let s = 0; s < mapA.length; s++)
        product(da, (mapA[s] as number) * m * k, dy, s * m * n, [n, 1], b.data, (mapB[s] as number) * k * n, [1, n], m, k, n)
      return da
    }
    const pullB = (dy: Float64Array) => {
      const db = new Float64Array(b.data.length)
      for (let s = 0; s < mapA.length; s++)
        product(db, (mapB[s] as number) * k * n, a.data, (mapA[s] as number) * m * k, [1, k], dy, s * m * n, [n, 1], k, n, m)
      return db
    }
    return this.#make([...batch, m, n], data, [
      { arr: a, pull: pullA },
      { arr: b, pull: pullB },
    ])
  }

  /** y[i] = x[map[i]] */
  #pick(x: Arr, shape: readonly number[], map: ArrayLike<number>): Arr {
    const data = Float64Array.from(map, index => x.data[index] as number)
    const pull = (dy: Float64Array) => {
      const dx = new Float64Array(x.data.length)
      for (let i = 0; i < dy.length; i++) dx[map[i] as number] = this.#sum((dx[map[i] as number] as number) + (dy[i] as number))
      return dx
    }
    return { shape, data, parents: [{ arr: x, pull }] }
  }
  transpose = (x: Arr, i: number, j: number) => {
    const rank = x.shape.length
    const [a, b] = [i < 0 ? i + rank : i, j < 0 ? j + rank : j] as [number, number]
    const swap = <V>(list: readonly V[]) => list.map((value, d) => (d === a ? (list[b] as V) : d === b ? (list[a] as V) : value))
    const shape = swap(x.shape)
    const strides = swap(stridesOf(x.shape))
    const own = stridesOf(shape)
    const map = Int32Array.from({ length: x.data.length }, (_, n) =>
      shape.reduce((at, dimension, d) => at + (Math.floor(n / (own[d] as number)) % dimension) * (strides[d] as number), 0),
    )
    return this.#pick(x, shape, map)
  }
  reshape = (x: Arr, shape: readonly number[]) => this.#pick(x, shape, Int32Array.from(x.data.keys()))
  broadcast = (x: Arr, shape: readonly number[]) => this.#pick(x, shape, indexMap(x.shape, shape))
  slice = (x: Arr, dim: number, start: number, end: number) => {
    const d = dim < 0 ? dim + x.shape.length : dim
    const inner = sizeOf(x.shape.slice(d + 1))
    const outer = sizeOf(x.shape.slice(0, d))
    const map: number[] = []
    for (let o = 0; o < outer; o++)
      for (let i = start; i < end; i++) for (let k = 0; k < inner; k++) map.push((o * (x.shape[d] as number) + i) * inner + k)
    return this.#pick(
      x,
      x.shape.map((dimension, i) => (i === d ? end - start : dimension)),
      map,
    )
  }
  concat = (xs: readonly Arr[], dim: number) => {
    const first = xs[0] as Arr
    const d = dim < 0 ? dim + first.shape.length : dim
    const inner = sizeOf(first.shape.slice(d + 1))
    const outer = sizeOf(first.shape.slice(0, d))
    const total = xs.reduce((sum, x) => sum + (x.shape[d] as number), 0)
    const shape = first.shape.map((dimension, i) => (i === d ? total : dimension))
    const data = new Float64Array(sizeOf(shape))
    let start = 0
    const parents = xs.map(x => {
      const length = (x.shape[d] as number) * inner
      const at = start
      start += length
      for (let o = 0; o < outer; o++) data.set(x.data.subarray(o * length, (o + 1) * length), o * total * inner + at)
      const pull = (dy: Float64Array) => {
        const dx = new Float64Array(x.data.length)
        for (let o = 0; o < outer; o++) dx.set(dy.subarray(o * total * inner + at, o * total * inner + at + length), o * length)
        return dx
      }
      return { arr: x, pull }
    })
    return { shape, data, parents }
  }
  gather = (x: Arr, index: readonly number[]) => {
    const inner = sizeOf(x.shape.slice(1))
    return this.#pick(
      x,
      [index.length, ...x.shape.slice(1)],
      index.flatMap(row => Array.from({ length: inner }, (_, k) => row * inner + k)),
    )
  }

  #reduced(x: Arr, dims: readonly number[]) {
    const set = new Set(dims.map(dim => (dim < 0 ? dim + x.shape.length : dim)))
    const shape = x.shape.map((dimension, i) => (set.has(i) ? 1 : dimension))
    return { shape, map: indexMap(shape, x.shape) }
  }
  sum = (x: Arr, dims: readonly number[]) => {
    const { shape, map } = this.#reduced(x, dims)
    const data = new Float64Array(sizeOf(shape))
    for (let i = 0; i < map.length; i++) data[map[i] as number] = this.#sum((data[map[i] as number] as number) + (x.data[i] as number))
    return this.#make(shape, data, [{ arr: x, pull: dy => Float64Array.from(map, at => dy[at] as number) }])
  }
  max = (x: Arr, dims: readonly number[]) => {
    const { shape, map } = this.#reduced(x, dims)
    const data = new Float64Array(sizeOf(shape)).fill(Number.NEGATIVE_INFINITY)
    for (let i = 0; i < map.length; i++) data[map[i] as number] = Math.max(data[map[i] as number] as number, x.data[i] as number)
    const shares = new Float64Array(data.length)
    for (let i = 0; i < map.length; i++)
      if (x.data[i] === data[map[i] as number]) shares[map[i] as number] = (shares[map[i] as number] as number) + 1
    const pull = (dy: Float64Array) =>
      Float64Array.from(map, (at, i) => (x.data[i] === data[at] ? (dy[at] as number) / (shares[at] as number) : 0))
    return this.#make(shape, data, [{ arr: x, pull }])
  }
  uniform = (shape: readonly number[], seed: number, counter: number) => {
    const stream = new PhiloxStream(seed, counter)
    return this.leaf(
      Float64Array.from({ length: sizeOf(shape) }, () => stream.uniform()),
      shape,
    )
  }
  dropoutMask = (shape: readonly number[], p: number, seed: number, counter: number) => {
    const uniform = this.uniform(shape, seed, counter)
    return this.leaf(
      uniform.data.map(u => (u >= p ? 1 / (1 - p) : 0)),
      shape,
    )
  }
}
