/**
 * The command stream of one device. Ops write words here; one `submit` carries many of them to the device's engine thread. Nothing in this
 * file waits, and nothing allocates per op.
 */
import type { DType } from './dtype.ts'
import { dtypeIds } from './dtype.ts'

/** native/engine/engine.h, enum Command */
const ALLOCATE = 0
const VIEW = 1
const FREE = 2
const RESTORE = 3
const MARK = 4
const UNMARK = 5

/** Enough ops that a submission costs little beside them, few enough that the device starts while JavaScript still records. */
const OPS_PER_SUBMIT = 64

export class CommandStream {
  words = new Int32Array(4096)
  floats = new Float32Array(this.words.buffer)
  #length = 0
  #ops = 0
  #scheduled = false
  #capturing = false
  readonly #submit: (words: Int32Array, count: number) => void
  readonly #scheduledFlush = () => {
    this.#scheduled = false
    if (!this.#capturing) this.flush()
  }

  constructor(submit: (words: Int32Array, count: number) => void) {
    this.#submit = submit
  }

  /** Makes room for `count` words and returns the index of the first. */
  begin(count: number): number {
    if (this.#length + count > this.words.length) this.#grow(count)
    return this.#length
  }

  /** Ends an op's words at `index`; submits now and then. */
  end(index: number): void {
    this.#length = index
    if (this.#capturing) return
    if (++this.#ops >= OPS_PER_SUBMIT) this.flush()
    else this.#schedule()
  }

  allocate(slot: number, dtype: DType, shape: readonly number[], op: number): void {
    const rank = shape.length
    let i = this.begin(3 + rank)
    const w = this.words
    w[i++] = ALLOCATE
    w[i++] = slot
    w[i++] = dtypeIds[dtype] | (rank << 8) | (op << 16)
    for (let d = 0; d < rank; d++) w[i++] = shape[d] as number
    this.#length = i
  }

  /** `offset` and `strides` count elements of the base's buffer. No work for the device: it goes out with the op that uses it. */
  view(slot: number, base: number, shape: readonly number[], strides: readonly number[], offset: number): void {
    const rank = shape.length
    let i = this.begin(6 + 3 * rank)
    const w = this.words
    w[i++] = VIEW
    w[i++] = slot
    w[i++] = base
    w[i++] = rank
    w[i++] = offset
    w[i++] = Math.floor(offset / 0x100000000)
    for (let d = 0; d < rank; d++) w[i++] = shape[d] as number
    for (let d = 0; d < rank; d++) {
      w[i++] = strides[d] as number
      w[i++] = Math.floor((strides[d] as number) / 0x100000000)
    }
    this.#length = i
  }

  free(slot: number): void {
    this.#pair(FREE, slot)
  }

  /**
   * Makes a failed tensor usable as far as it can be: contents that failed updates have left as they were count as good again, and memory that could not
   * be had is asked for again (its elements are not set then, and must be written before they can be read).
   */
  restore(slot: number): void {
    this.#pair(RESTORE, slot)
  }

  /** The moment that the device comes here gets a number, until `unmark`. Not for a stream that is being captured. */
  mark(number: number): void {
    this.#pair(MARK, number)
  }
  unmark(number: number): void {
    this.#pair(UNMARK, number)
  }

  /** Hands over what has been written. */
  flush(): void {
    if (this.#length === 0) return
    const length = this.#length
    this.#length = 0
    this.#ops = 0
    this.#submit(this.words, length)
  }

  /** From here on words are kept, not submitted, until `endCapture` takes them. */
  beginCapture(): void {
    this.flush()
    this.#capturing = true
  }

  endCapture(): Int32Array {
    const captured = this.words.slice(0, this.#length)
    this.#length = 0
    this.#ops = 0
    this.#capturing = false
    return captured
  }

  get capturing(): boolean {
    return this.#capturing
  }

  #pair(command: number, operand: number): void {
    let i = this.begin(2)
    this.words[i++] = command
    this.words[i++] = operand
    this.#length = i
    if (!this.#capturing) this.#schedule()
  }

  /** What nobody awaits must reach the device too. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(this.#scheduledFlush)
  }

  #grow(count: number): void {
    if (!this.#capturing) this.flush()
    if (this.#length + count <= this.words.length) return
    const grown = new Int32Array(Math.max(this.words.length * 2, this.#length + count))
    grown.set(this.words.subarray(0, this.#length))
    this.words = grown
    this.floats = new Float32Array(grown.buffer)
  }
}
