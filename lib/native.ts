/** Loads the addon. The only file that names it. */
import { fileURLToPath } from 'node:url'
import load from 'node-gyp-build'
import { LoadError } from './errors.ts'

export type CompletionCallback = (
  id: number,
  code: string | null,
  message: string,
  detail: string,
  dtype: number,
  bytes: ArrayBuffer,
) => void

/** native/binding/session.h */
export interface NativeSession {
  submit(words: Int32Array, count: number): void
  write(slot: number, sourceDType: number, bytes: Uint8Array): void
  read(slot: number, raw: boolean, id: number): void
  synchronize(id: number): void
  elapsed(from: number, to: number, id: number): void
  capture(id: number, words: Int32Array, count: number): void
  replay(id: number, counterBase: number): void
  releaseCapture(id: number): void
  trim(): void
  resetPeak(): void
  hold(held: boolean): void
  close(): void
  memory(): { live: number; cached: number; peak: number; limit: number }
  information(): { kind: string; name: string; detail: string; memoryBytes: number; threads: number; nativeBf16: boolean }
  report(): string
}

export interface NativeOptions {
  kind: string
  threads: number
  memoryLimit: number
  isa: string
  poison: boolean
  index: number
  tf32: boolean
  exactAllocations: boolean
  schedule: string
  counters: boolean
  sites: boolean
  suppressed: string
}

export interface OpSchema {
  name: string
  id: number
  fields: { name: string; kind: string }[]
}

/** native/binding/safetensors.h */
export interface SafetensorsHeader {
  dataOffset: number
  metadata: [string, string][]
  tensors: { name: string; dtype: string; shape: number[]; begin: number; end: number }[]
}

/** native/binding/devices.h */
export interface GpuReport {
  /** Whether this build has a CUDA device at all. */
  built: boolean
  /** Which GPUs its code is for. */
  kernels: string
  /** CUDA versions of the driver (empty: there is none) and of this build. */
  driver: string
  runtime: string
  /** Why no GPU can be used; empty where one can. */
  refusal: string
  gpus: { index: number; name: string; capability: string; memoryBytes: number; refusal: string }[]
}

interface Native {
  Session: new (options: NativeOptions, completed: CompletionCallback) => NativeSession
  schema(): OpSchema[]
  /** Opens no GPU, and does not throw where there is no driver. */
  gpus(): GpuReport
  parseSafetensorsHeader(bytes: Uint8Array, fileSize: number): SafetensorsHeader
}

/**
 * How often an OpenMP thread looks for work before it sleeps; its runtime reads this when it is loaded. The default, 300,000, is as fast on an idle
 * machine and ruinous on a busy one, where a thread spins away the time slice that the thread it waits for needs: a training step of a small model
 * with two threads on two cores, beside a load of 13, went from 670 to 11,700 tokens/s with 1000, and idle from 40,000 to 41,000.
 */
const SPIN_COUNT = '1000'

function loadNative(): Native {
  const { GOMP_SPINCOUNT, OMP_WAIT_POLICY } = process.env
  const unset = GOMP_SPINCOUNT === undefined && OMP_WAIT_POLICY === undefined
  if (unset) process.env.GOMP_SPINCOUNT = SPIN_COUNT
  try {
    return load(fileURLToPath(new URL('..', import.meta.url))) as Native
  } catch (cause) {
    throw new LoadError(
      `the native addon of tilewise could not be loaded on ${process.platform}-${process.arch}. ` +
        'A published package holds prebuilt binaries for linux-x64 with glibc; in a checkout run `npm run build:native` first.',
      { cause },
    )
  } finally {
    // Programs that this one starts decide for themselves.
    if (unset) delete process.env.GOMP_SPINCOUNT
  }
}

export const native = loadNative()
