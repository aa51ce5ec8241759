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
