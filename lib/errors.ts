/** Every error that Tilewise throws on purpose. `code` is stable and meant for programs; the message is meant for people. */
export class TilewiseError extends Error {
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** Input data that cannot be used: a corpus file, a tokenizer file, a batch option. `file` and `line` (from 1) say where, if known. */
export class DataError extends TilewiseError {
  readonly file: string | undefined
  readonly line: number | undefined

  constructor(message: string, where: { file?: string; line?: number } = {}, options?: ErrorOptions) {
    const place = where.file === undefined ? '' : where.line === undefined ? `${where.file}: ` : `${where.file}:${where.line}: `
    super('TILEWISE_DATA', place + message, options)
    this.file = where.file
    this.line = where.line
  }
}

/**
 * A safetensors file or index that cannot be read or written. `reason` is stable: for a bad header the name of the reference's error where it has
 * one (`HeaderTooLarge`, `InvalidOffset`, …; all of them in native/core/safetensors.h), else `Io`, `NotAFile`, `FileChanged`, `Closed`,
 * `TensorNotFound`, `TensorTooLarge`, `InvalidTensorView`, `InvalidName`, `InvalidIndex`, `MissingTensor`, `UnexpectedTensor`.
 */
export class SafetensorsError extends TilewiseError {
  readonly reason: string
  readonly file: string
  readonly tensor: string | undefined

  constructor(reason: string, message: string, where: { file: string; tensor?: string | undefined }, options?: ErrorOptions) {
    super('TILEWISE_SAFETENSORS', `${where.file}: ${message}`, options)
    this.reason = reason
    this.file = where.file
    this.tensor = where.tensor
  }
}

/** Bad arguments of a call: thrown before anything is queued, so nothing is lost. The message begins with the op: `[attention] k must be …`. */
export class ArgumentError extends TilewiseError {
  constructor(message: string, options?: ErrorOptions) {
    super('TILEWISE_ARGUMENT', message, options)
  }
}

/** A state dictionary does not fit a module. The lists name the keys. */
export class StateDictError extends TilewiseError {
  constructor(
    readonly missing: readonly string[],
    readonly unexpected: readonly string[],
    /** One sentence each: which key, what was expected, what came. */
    readonly mismatched: readonly string[],
  ) {
    const part = (name: string, list: readonly string[]) => (list.length === 0 ? [] : [`${name}: ${list.join(', ')}`])
    super(
      'TILEWISE_STATE_DICT',
      `[loadStateDict] ${[...part('missing', missing), ...part('unexpected', unexpected), ...part('wrong', mismatched)].join('; ')}`,
    )
  }
}

/** A tensor, capture or module was used after it had been disposed, or a graph after its backward. */
export class DisposedError extends TilewiseError {
  constructor(message: string) {
    super('TILEWISE_DISPOSED', message)
  }
}

/** The device does not compute this combination. There is no silent fallback: the caller decides. */
export class UnsupportedError extends TilewiseError {
  constructor(message: string, options?: ErrorOptions) {
    super('TILEWISE_UNSUPPORTED', message, options)
  }
}

/** What the device could not do, told by the first read that depends on it. `detail` holds the shapes of the failed op's tensors. */
export class DeviceError extends TilewiseError {
  readonly detail: string

  constructor(message: string, detail = '', code = 'TILEWISE_DEVICE') {
    super(code, detail === '' ? message : `${message} (${detail})`)
    this.detail = detail
  }
}

/** Device memory ran out. Recoverable: only the failed op's outputs and what depends on them are lost. `detail` names the largest owners. */
export class OutOfMemoryError extends DeviceError {
  constructor(message: string, detail = '') {
    super(message, detail, 'TILEWISE_OUT_OF_MEMORY')
  }
}

/** The device is gone for this process (CUDA's sticky errors). Every later call says so; only a restart helps. */
export class DeviceLostError extends DeviceError {
  constructor(message: string, detail = '') {
    super(`${message}: the device is lost, the process must restart`, detail, 'TILEWISE_DEVICE_LOST')
  }
}

/** Training cannot go on: its loss is not a number any more. */
export class TrainingError extends TilewiseError {
  constructor(message: string) {
    super('TILEWISE_TRAINING', message)
  }
}

/** The native addon could not be loaded. */
export class LoadError extends TilewiseError {
  constructor(message: string, options?: ErrorOptions) {
    super('TILEWISE_LOAD', message, options)
  }
}

const deviceErrors: Record<string, (message: string, detail: string) => TilewiseError> = {
  invalid_argument: (message, detail) => new ArgumentError(detail === '' ? message : `${message} (${detail})`),
  unsupported: (message, detail) => new UnsupportedError(detail === '' ? message : `${message} (${detail})`),
  out_of_memory: (message, detail) => new OutOfMemoryError(message, detail),
  device_lost: (message, detail) => new DeviceLostError(message, detail),
}

/** The error class for a status code of the native engine. */
export function deviceError(code: string, message: string, detail: string): TilewiseError {
  return deviceErrors[code]?.(message, detail) ?? new DeviceError(message, detail)
}
