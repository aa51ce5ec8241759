import { CommandStream } from './commands.ts'
import { type DType, dtypes, type TensorData } from './dtype.ts'
import { ArgumentError, DisposedError, deviceError, UnsupportedError } from './errors.ts'
import { type NativeSession, native } from './native.ts'
import { setDefaultDevice, type Tensor } from './tensor.ts'

export type DeviceKind = 'cpu' | 'cuda' | 'simt'

export interface DeviceOptions {
  /** CPU threads. Default: as many cores as the process may use. */
  threads?: number
  /** Bytes of tensors, live and cached together; beyond it ops fail with OutOfMemoryError. Default: the device's memory. */
  memoryLimit?: number
  /** CPU only, for tests: the instruction set to use instead of the best one. */
  isa?: 'auto' | 'baseline' | 'avx2' | 'avx512'
  /** For tests: new memory holds NaN, so that an element which no op wrote shows. */
  poison?: boolean
  /** `'simt'` only, the order in which threads run: a right kernel gives the same bits in each. Default: `'in-order'`. */
  schedule?: 'in-order' | 'warp-greedy' | 'warp-greedy-reversed'
  /** `'simt'` only: count memory traffic, bank conflicts and matrix instructions for `report()`. */
  counters?: boolean
  /** `'simt'` only: note which synchronizations of the kernels run, for `report()`. */
  sites?: boolean
  /** `'simt'` only: `file.cuh:line` of one synchronization to leave out. The mutation check expects the tests to notice. */
  suppressed?: string
}

/** What a kernel did to memory, summed over its launches. */
export interface KernelCounters {
  launches: number
  /** Warp-wide accesses of global memory, the 32-byte sectors they touched, the bytes they asked for. */
  loadRequests: number
  loadSectors: number
  loadBytes: number
  storeRequests: number
  storeSectors: number
  storeBytes: number
  /** Accesses of shared memory, the passes that served them, the fewest passes possible: the difference is bank conflicts. */
  sharedRequests: number
  sharedWavefronts: number
  sharedIdeal: number
  matrixInstructions: number
}

export interface DeviceReport {
  kernels?: Record<string, KernelCounters>
  sites?: Record<string, string>
}

export interface MemoryStatistics {
  /** Bytes in tensors. */
  live: number
  /** Bytes kept for reuse. */
  cached: number
  /** Highest `live` since the start or `resetPeak`. */
  peak: number
  limit: number
}

interface Pending {
  resolve(result: { dtype: DType; bytes: ArrayBuffer }): void
  reject(error: Error): void
}

/**
 * A device: one engine thread, one memory. Made by `device()`. JavaScript never waits for it; `await tensor.read()` is where results and
 * errors come back. Environments (worker threads) share the engine and have slots of their own.
 */
export class Device {
  readonly kind: DeviceKind
  /** Why this device was chosen, and what it is: one line for people. */
  readonly reason: string
  readonly commands: CommandStream
  readonly #session: NativeSession
  readonly #pending = new Map<number, Pending>()
  #nextId = 1
  #slots = 0
  #freeSlots: number[] = []
  /** While a capture records, freed slots wait here: the replay will use them again. */
  #reserved: number[] | undefined

  /** @internal use `device()` */
  constructor(kind: DeviceKind, reason: string, options: DeviceOptions) {
    this.kind = kind
    this.#session = new native.Session(
      {
        kind,
        threads: options.threads ?? 0,
        memoryLimit: options.memoryLimit ?? 0,
        isa: options.isa ?? 'auto',
        poison: options.poison ?? false,
        schedule: options.schedule ?? 'in-order',
        counters: options.counters ?? false,
        sites: options.sites ?? false,
        suppressed: options.suppressed ?? '',
      },
      (id, code, message, detail, dtype, bytes) => {
        const pending = this.#pending.get(id) as Pending
        this.#pending.delete(id)
        if (this.#pending.size === 0) this.#session.hold(false)
        if (code === null) pending.resolve({ dtype: dtypes[dtype] as DType, bytes })
        else pending.reject(deviceError(code, message, detail))
      },
    )
    closeAtExit(this.#session)
    this.commands = new CommandStream((words, count) => this.#session.submit(words, count))
    this.reason = `${reason}: ${this.information.name}, ${this.information.detail}`
  }

  /** Name, instruction sets or compute capability, memory, threads. */
  get information(): ReturnType<NativeSession['information']> {
    return this.#session.information()
  }

  /** Bytes live, cached and at the peak. The engine may be behind: `await device.synchronize()` first for exact figures. */
  memory(): MemoryStatistics {
    return this.#session.memory()
  }
  /** What the device has counted since the last report: empty but on `'simt'`. `await device.synchronize()` first. */
  report(): DeviceReport {
    const text = this.#session.report()
    return text === '' ? {} : (JSON.parse(text) as DeviceReport)
  }
  resetPeak(): void {
    this.commands.flush()
    this.#session.resetPeak()
  }
  /** Gives cached memory back to the system. */
  trim(): void {
    this.commands.flush()
    this.#session.trim()
  }

  /** Resolves when everything recorded so far is done. Errors of single ops do not reject it: they belong to their tensors. */
  async synchronize(): Promise<void> {
    await this.#await(id => this.#session.synchronize(id))
  }

  /**
   * Records `body` without executing it; the capture replays the same commands on the same memory. Shapes are fixed, inputs are written between
   * replays, random ops draw anew each time. Tensors that `body` returns hold the latest replay's results.
   */
  capture<T>(body: () => T): Capture<T> {
    if (this.commands.capturing) throw new ArgumentError('[capture] a capture is being recorded already')
    const reserved: number[] = []
    this.#reserved = reserved
    this.commands.beginCapture()
    let result: T
    try {
      result = body()
      if (result instanceof Promise) throw new ArgumentError('[capture] body must not be async: nothing is executed while it records')
    } catch (error) {
      this.commands.endCapture()
      this.#reserved = undefined
      throw error
    }
    const words = this.commands.endCapture()
    this.#reserved = undefined
    const id = this.#nextId++
    this.#session.capture(id, words, words.length)
    return new Capture(
      result,
      base => {
        this.commands.flush()
        this.#session.replay(id, base)
      },
      () => {
        this.commands.flush()
        this.#session.releaseCapture(id)
        this.#freeSlots.push(...reserved)
      },
    )
  }

  /** @internal */
  takeSlot(): number {
    return this.#freeSlots.pop() ?? this.#slots++
  }
  /** @internal */
  freeSlot(index: number): void {
    this.commands.free(index)
    ;(this.#reserved ?? this.#freeSlots).push(index)
  }
  /** @internal */
  write(tensor: Tensor, sourceDType: number, data: TensorData): void {
    if (this.commands.capturing)
      throw new ArgumentError('[capture] data cannot be written while a capture records: write before or between replays')
    this.commands.flush()
    this.#session.write(tensor.handle.index, sourceDType, new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  }
  /** @internal */
  async read(tensor: Tensor, raw: boolean): Promise<{ dtype: DType; bytes: ArrayBuffer }> {
    if (this.commands.capturing) throw new ArgumentError('[capture] nothing can be read while a capture records')
    return this.#await(id => this.#session.read(tensor.handle.index, raw, id))
  }

  #await(start: (id: number) => void): Promise<{ dtype: DType; bytes: ArrayBuffer }> {
    this.commands.flush()
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      if (this.#pending.size === 0) this.#session.hold(true)
      this.#pending.set(id, { resolve, reject })
      start(id)
    })
  }

  toString(): string {
    return `Device(${this.kind}: ${this.reason})`
  }
}

const sessions: NativeSession[] = []

/**
 * `process.exit()` runs no clean-up of addons, only what libraries have registered with the C library. There oneDNN frees the code that it has
 * generated, which an engine's threads may be running.
 */
function closeAtExit(session: NativeSession): void {
  if (sessions.push(session) > 1) return
  process.once('exit', () => {
    for (const each of sessions) each.close()
  })
}

/** Counters that a capture's random ops may use before the next replay's begin. */
const COUNTERS_PER_REPLAY = 2 ** 32

/** A recorded command list. `replay()` queues it again; `result` is what the recorded function returned. */
export class Capture<T> {
  #replays = 0
  #disposed = false
  readonly #replay: (counterBase: number) => void
  readonly #release: () => void

  constructor(
    readonly result: T,
    replay: (counterBase: number) => void,
    release: () => void,
  ) {
    this.#replay = replay
    this.#release = release
  }

  replay(): void {
    if (this.#disposed) throw new DisposedError('[capture] the capture has been disposed')
    this.#replay(this.#replays++ * COUNTERS_PER_REPLAY)
  }

  /** Forgets the commands. The tensors of `result` live on until they are disposed. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#release()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

const devices = new Map<string, Device>()

/**
 * The device of a kind: `'auto'` takes CUDA if it can be used, else the CPU, and says which and why in `kind` and `reason`; there is no other
 * fallback. Equal calls give the same device. Throws UnsupportedError for a kind that this build or machine does not have.
 */
export function device(kind: DeviceKind | 'auto' = 'auto', options: DeviceOptions = {}): Device {
  for (const name of ['threads', 'memoryLimit'] as const) {
    const value = options[name]
    if (value !== undefined && (!Number.isSafeInteger(value) || value < 0))
      throw new ArgumentError(`[device] ${name} must be a non-negative integer, is ${value}`)
  }
  const key = JSON.stringify([kind, Object.entries(options).sort()])
  const known = devices.get(key)
  if (known) return known
  const chosen = choose(kind, options)
  devices.set(key, chosen)
  return chosen
}

function choose(kind: DeviceKind | 'auto', options: DeviceOptions): Device {
  if (kind === 'cpu') return new Device('cpu', 'asked for', options)
  if (kind === 'simt') return new Device('simt', 'asked for', options)
  if (kind === 'auto') return new Device('cpu', 'this build has no CUDA device', options)
  if (kind === 'cuda') throw new UnsupportedError("[device] 'cuda' cannot be used: this build has no CUDA device")
  throw new UnsupportedError(`[device] kind must be 'auto', 'cpu' or 'cuda', is '${kind}'`)
}

setDefaultDevice(() => device('auto'))
