import { CommandStream } from './commands.ts'
import { type DType, dtypes, type TensorData } from './dtype.ts'
import { ArgumentError, DisposedError, deviceError, UnsupportedError } from './errors.ts'
import { Mark } from './mark.ts'
import { type GpuReport, type NativeSession, native } from './native.ts'
import { setDefaultDevice, type Tensor } from './tensor.ts'

export type DeviceKind = 'cpu' | 'cuda' | 'simt'

export interface DeviceOptions {
  /** CPU threads. Default: as many cores as the process may use. */
  threads?: number
  /** Bytes of tensors, live and cached together; beyond it ops fail with OutOfMemoryError. Default: the device's memory. */
  memoryLimit?: number
  /** `'cuda'` only: which GPU, as the driver counts them after CUDA_VISIBLE_DEVICES. Default: 0; `'auto'` takes the first that can be used. */
  index?: number
  /**
   * `'cuda'` and `'simt'` only: f32 matrix products, attention's among them, may round their factors to tf32 (10 bits of mantissa), which is several
   * times as fast. Default: false.
   */
  tf32?: boolean
  /** CPU only, for tests: the instruction set to use instead of the best one. */
  isa?: 'auto' | 'baseline' | 'avx2' | 'avx512'
  /** For tests: new memory holds NaN, so that an element which no op wrote shows. */
  poison?: boolean
  /** `'cuda'` only, for tests: an allocation of its own for every tensor, of its own size, so that memory checkers see its ends. Slow. */
  exactAllocations?: boolean
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
  /** Sectors of global memory, each counted once a launch: the least traffic that caches could leave. */
  distinctSectors: number
  /** The ways in which it was launched. */
  shapes: LaunchCount[]
}

/** One way of launching a kernel, and how often that was done. */
export interface LaunchCount {
  /** Of the kernel's code from the start of the addon's file, in bytes: the addon's symbol table has its name. */
  function: number
  grid: [number, number, number]
  block: [number, number, number]
  /** Bytes. */
  dynamicShared: number
  launches: number
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
  #nextMark = 0
  #slots = 0
  #freeSlots: number[] = []
  /**
   * The slots of the capture that records now, and whether each is free again. They stay the capture's own until it is disposed: every replay
   * fills them anew.
   */
  #recording: Map<number, boolean> | undefined
  /** Slot -> the slots of the capture that it belongs to. */
  readonly #captured = new Map<number, Map<number, boolean>>()

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
        index: options.index ?? 0,
        tf32: options.tf32 ?? false,
        exactAllocations: options.exactAllocations ?? false,
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
   * Marks this moment in the device's work: `await end.since(begin)` are the milliseconds between two marks, by the device's own clock. Throws
   * ArgumentError while a capture records: mark before and after its replays.
   */
  mark(): Mark {
    if (this.commands.capturing)
      throw new ArgumentError('[mark] no mark can be set while a capture records: set it before and after replays')
    // The engine keeps 32 bits of it, and a mark not for so long that it would meet its number again.
    const number = this.#nextMark++ | 0
    this.commands.mark(number)
    return new Mark(this, number)
  }
  /** @internal */
  async elapsed(from: number, to: number): Promise<number> {
    const { bytes } = await this.#await(id => this.#session.elapsed(from, to, id))
    return new Float64Array(bytes)[0] as number
  }

  /**
   * Records `body` without executing it; the capture replays the same commands on the same memory. Shapes are fixed, inputs are written between
   * replays, random ops draw anew each time. Tensors that `body` returns hold the latest replay's results.
   *
   * On CUDA the second replay records a graph, and from then on a replay is one launch; where the capture draws random numbers (dropout that is
   * on, `rand`), or while one of its tensors has moved or failed, the commands are issued one by one as on the CPU. Results are the same.
   */
  capture<T>(body: () => T): Capture<T> {
    if (this.commands.capturing) throw new ArgumentError('[capture] a capture is being recorded already')
    const own = new Map<number, boolean>()
    this.#recording = own
    this.commands.beginCapture()
    let result: T
    try {
      result = body()
      if (result instanceof Promise) throw new ArgumentError('[capture] body must not be async: nothing is executed while it records')
    } catch (error) {
      this.commands.endCapture()
      for (const [slot, free] of own) if (free) this.#freeSlots.push(slot)
      throw error
    } finally {
      this.#recording = undefined
    }
    const words = this.commands.endCapture()
    for (const slot of own.keys()) this.#captured.set(slot, own)
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
        for (const [slot, free] of own) {
          this.#captured.delete(slot)
          if (!free) continue
          this.commands.free(slot) // a replay may have filled it since
          this.#freeSlots.push(slot)
        }
      },
    )
  }

  /** @internal */
  takeSlot(): number {
    const slot = this.#freeSlots.pop() ?? this.#slots++
    this.#recording?.set(slot, false)
    return slot
  }
  /** @internal */
  freeSlot(index: number): void {
    this.commands.free(index)
    const own = this.#recording ?? this.#captured.get(index)
    if (own) own.set(index, true)
    else this.#freeSlots.push(index)
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

export type { GpuReport }

/** The machine's GPUs as this build sees them: versions, compute capabilities, and for what cannot be used why. Opens none; does not throw. */
export function gpuReport(): GpuReport {
  return native.gpus()
}

const devices = new Map<string, Device>()

/**
 * The device of a kind: `'auto'` takes CUDA if it can be used, else the CPU, and says which and why in `kind` and `reason`; there is no other
 * fallback. Equal calls give the same device. Throws UnsupportedError for a kind that this build or machine does not have, with the reason.
 */
export function device(kind: DeviceKind | 'auto' = 'auto', options: DeviceOptions = {}): Device {
  for (const name of ['threads', 'memoryLimit', 'index'] as const) {
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
  if (kind === 'cpu' || kind === 'simt') return new Device(kind, 'asked for', options)
  if (kind === 'cuda') {
    const refusal = refusalOf(native.gpus(), options.index ?? 0)
    if (refusal !== undefined) throw new UnsupportedError(`[device] 'cuda' cannot be used: ${refusal}`)
    return openGpu('asked for', options)
  }
  if (kind !== 'auto') throw new UnsupportedError(`[device] kind must be 'auto', 'cpu' or 'cuda', is '${kind}'`)
  const found = native.gpus()
  const index = options.index ?? found.gpus.find(gpu => gpu.refusal === '')?.index ?? 0
  const refusal = refusalOf(found, index)
  if (refusal !== undefined) return new Device('cpu', refusal, options)
  try {
    return openGpu('a GPU can be used', { ...options, index })
  } catch (error) {
    return new Device('cpu', (error as Error).message.replace(/^\[device\] /, ''), options)
  }
}

/** A GPU that looks usable can still refuse: another process has it for itself, or all of its memory. */
function openGpu(reason: string, options: DeviceOptions): Device {
  try {
    return new Device('cuda', reason, options)
  } catch (cause) {
    throw new UnsupportedError(`[device] 'cuda' cannot be used: GPU ${options.index ?? 0}: ${(cause as Error).message}`, { cause })
  }
}

/** Why this GPU cannot be used, or undefined where it can. */
function refusalOf(found: GpuReport, index: number): string | undefined {
  if (found.refusal !== '') return found.refusal
  const gpu = found.gpus[index]
  if (gpu === undefined) return `there is no GPU ${index}: the driver shows ${found.gpus.length}`
  return gpu.refusal === '' ? undefined : `GPU ${index}: ${gpu.refusal}`
}

setDefaultDevice(() => device('auto'))
