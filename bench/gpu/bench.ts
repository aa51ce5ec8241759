/** What rows are prepared with: the device, and data for it. */
import {
  type Device,
  type FloatDType,
  fill_,
  keep,
  type Mark,
  normal,
  persistent,
  scope,
  type Tensor,
  tensor,
  zeros,
} from '../../lib/index.ts'
import type { Shape } from '../../lib/tensor.ts'
import type { Side } from './row.ts'

/** More than any L2 holds; writing it takes long enough that what follows is queued before it ends. */
const FLUSHED_BYTES = 512 << 20

interface Disposable {
  dispose(): void
}

const sizeOf = (shape: Shape) => shape.reduce((product, dimension) => product * dimension, 1)

export class Bench {
  readonly #scratch: Tensor
  #owned: Disposable[] = []
  #tensors = 0
  #indices = 0

  /** dry: the device is no GPU. compared: data is such as bench/gpu/torch/data.py makes too, so that both sides must come to the same results. */
  constructor(
    readonly device: Device,
    dry: boolean,
    readonly compared: boolean,
  ) {
    this.#scratch = persistent(() => zeros([(dry ? 4096 : FLUSHED_BYTES) / 4], { device }))
  }

  /** A row begins: its data is numbered from the start, as its twin's is. What the row before made is freed. */
  begin(): void {
    for (const owned of this.#owned) owned.dispose()
    this.#owned = []
    this.#tensors = 0
    this.#indices = 0
  }

  /** Frees `made` when the row is done. */
  own<T extends Disposable>(made: T): T {
    this.#owned.push(made)
    return made
  }

  /** Normal numbers; where results are compared a sine with that deviation, which the twin's tensor of the same number equals. */
  random(shape: Shape, std = 1, dtype: FloatDType = 'bf16'): Tensor {
    const number = this.#tensors++
    if (!this.compared) return this.own(normal([...shape], { std, device: this.device, dtype }))
    const values = Float32Array.from({ length: sizeOf(shape) }, (_, j) => std * Math.SQRT2 * Math.sin(1.3 + 0.7 * number + 2.399963 * j))
    return this.own(tensor(values, [...shape], { device: this.device, dtype }))
  }

  /** i32 from 0 to below `end`. */
  ids(shape: Shape, end: number): Tensor {
    const number = this.#indices++
    const one = this.compared ? (j: number) => (7919 * j + 131 * (number + 1)) % end : () => Math.floor(Math.random() * end)
    const values = Int32Array.from({ length: sizeOf(shape) }, (_, j) => one(j))
    return this.own(tensor(values, [...shape], { device: this.device }))
  }

  /** Milliseconds of each of `count` iterations, by marks in the stream. The L2 cache is filled with something else before each. */
  async sample(side: Side, count: number): Promise<number[]> {
    const pairs: [Mark, Mark][] = []
    const timed = (body: () => void) => {
      // What has been recorded goes out now, so that what counts is not split over two submissions without need.
      this.device.commands.flush()
      fill_(this.#scratch, pairs.length)
      const begin = keep(this.device.mark())
      body()
      pairs.push([begin, keep(this.device.mark())])
    }
    for (let i = 0; i < count; i++) {
      scope(() => side.iterate(timed))
      if (pairs.length !== i + 1) throw new Error('an iteration must hand its part that counts to timed, once')
    }
    const times = await Promise.all(pairs.map(([begin, end]) => end.since(begin)))
    for (const mark of pairs.flat()) mark.dispose()
    return times
  }

  dispose(): void {
    this.begin()
    this.#scratch.dispose()
  }
}

/** The mean of |x|, then a few elements: what tells two computations apart. bench/gpu/torch/data.py does the same. */
export async function digest(x: Tensor): Promise<number[]> {
  const values = (await x.read()) as Float32Array | Int32Array
  let sum = 0
  for (const value of values) sum += Math.abs(value)
  const some = Array.from({ length: Math.min(8, values.length) }, (_, i) => values[Math.floor((i * values.length) / 8)] as number)
  return [sum / values.length, ...some]
}

/** How far apart two bf16 computations of the same may be, of the mean size of their elements. */
const TOLERANCE = 0.08

/** Throws unless both sides computed the same, up to the rounding of bf16. */
export function expectSame(ours: readonly (readonly number[])[], theirs: readonly (readonly number[])[] | undefined): void {
  const close = ([mean = 0, ...mine]: readonly number[], other: readonly number[] | undefined) =>
    other?.length === mine.length + 1 &&
    Math.abs(mean - (other[0] as number)) <= 0.5 * TOLERANCE * mean &&
    mine.every((x, i) => Math.abs(x - (other[i + 1] as number)) <= TOLERANCE * (mean + Math.abs(x)))
  const differs = ours.findIndex((mine, i) => !close(mine, theirs?.[i]))
  if (differs >= 0 || ours.length !== theirs?.length) {
    const show = (figures: readonly number[] | undefined) => figures?.map(x => x.toPrecision(3)).join(' ') ?? 'nothing'
    const at = Math.max(0, differs)
    throw new Error(`the sides compute different things: result ${at} is ${show(ours[at])} here, ${show(theirs?.[at])} there`)
  }
}
