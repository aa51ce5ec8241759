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
  capture(id: number, words: Int32Array, count: number): void
  replay(id: number, counterBase: number): void
  releaseCapture(id: number): void
  trim(): void
  resetPeak(): void
  hold(held: boolean): void
  memory(): { live: number; cached: number; peak: number; limit: number }
  information(): { kind: string; name: string; detail: string; memoryBytes: number; threads: number; nativeBf16: boolean }
}

export interface NativeOptions {
  kind: string
  threads: number
  memoryLimit: number
  isa: string
  poison: boolean
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

interface Native {
  Session: new (options: NativeOptions, completed: CompletionCallback) => NativeSession
  schema(): OpSchema[]
  parseSafetensorsHeader(bytes: Uint8Array, fileSize: number): SafetensorsHeader
}

function loadNative(): Native {
  try {
    return load(fileURLToPath(new URL('..', import.meta.url))) as Native
  } catch (cause) {
    throw new LoadError(
      `the native addon of tilewise could not be loaded on ${process.platform}-${process.arch}. ` +
        'A published package holds prebuilt binaries for linux-x64 with glibc; in a checkout run `npm run build:native` first.',
      { cause },
    )
  }
}

export const native = loadNative()
