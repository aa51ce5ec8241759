import type { Device } from './device.ts'
import { ArgumentError, DisposedError } from './errors.ts'
import { Owned } from './scope.ts'

/**
 * A moment in a device's work, made by `device.mark()`: when all that was recorded before it is done. Two of them time what lies between:
 *
 * ```ts
 * using begin = gpu.mark()
 * const y = linear(x, weight)
 * using end = gpu.mark()
 * const milliseconds = await end.since(begin)
 * ```
 *
 * Marks are cheap, and setting one waits for nothing. They live until `dispose()`, `using`, or the end of the surrounding `scope()`.
 */
export class Mark extends Owned {
  #disposed = false

  /** @internal use `device.mark()` */
  constructor(
    readonly device: Device,
    readonly number: number,
  ) {
    super()
  }

  /**
   * Milliseconds from `earlier` to this mark, once the device has passed both: by events in its stream on CUDA (resolution about half a microsecond), by
   * the clock on the CPU. Where the device was idle in between, waiting for JavaScript, that time counts. Throws ArgumentError for a mark of another
   * device, DisposedError for one that was disposed; rejects with DeviceLostError where the device was lost.
   */
  since(earlier: Mark): Promise<number> {
    if (earlier.device !== this.device)
      throw new ArgumentError(`[Mark.since] earlier must be a mark of the same device, is one of ${earlier.device.kind}`)
    for (const mark of [earlier, this]) if (mark.#disposed) throw new DisposedError('[Mark.since] the mark has been disposed')
    return this.device.elapsed(earlier.number, this.number)
  }

  override dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.device.commands.unmark(this.number)
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}
