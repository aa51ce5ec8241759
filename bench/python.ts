/** A Python program in a child process that lives as long as the benchmark: one JSON line there, one JSON line back. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** Python or PyTorch is not there, or what was asked for failed. */
export class TorchError extends Error {}

export interface PythonOptions {
  readonly python: string
  readonly script: URL
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export class Python<Hello extends object> {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  readonly hello: Hello

  private constructor(child: ChildProcessWithoutNullStreams, lines: AsyncIterator<string>, hello: Hello) {
    this.#child = child
    this.#lines = lines
    this.hello = hello
  }

  /** Resolves with the program's first line. Throws TorchError when it cannot be started, or that line says that it has no PyTorch. */
  static async start<Hello extends object>({ python, script, args = [], env = {} }: PythonOptions): Promise<Python<Hello>> {
    const child = spawn(python, [fileURLToPath(script), ...args], { env: { ...process.env, ...env, PYTHONDONTWRITEBYTECODE: '1' } })
    let complaint = ''
    child.stderr.on('data', (chunk: Buffer) => {
      complaint = (complaint + chunk.toString()).slice(-2000)
    })
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const failed = once(child, 'error').then(([error]) => {
      throw new TorchError(
        `${python} could not be started: ${(error as Error).message}. Name a Python that has PyTorch with --python PATH.`,
      )
    })
    failed.catch(() => {})
    const first = await Promise.race([lines.next(), failed])
    if (first.done) throw new TorchError(`${python} ended at once: ${complaint.trim() || 'it said nothing'}`)
    const hello = JSON.parse(first.value) as Hello & { error?: string }
    if (hello.error !== undefined) throw new TorchError(`${python}: ${hello.error}. Name a Python that has PyTorch with --python PATH.`)
    child.stderr.on('data', (chunk: Buffer) => process.stderr.write(chunk))
    // Writing to a program that has just died is told by the missing answer.
    child.stdin.on('error', () => {})
    return new Python(child, lines, hello)
  }

  /** Throws TorchError when the program says why it failed, has ended, or takes longer than `patience` milliseconds, in which case it is ended. */
  async ask<Reply extends object>(request: object, patience?: number): Promise<Reply> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`)
    let late = false
    const timer =
      patience === undefined
        ? undefined
        : setTimeout(() => {
            late = true
            this.#child.kill('SIGKILL')
          }, patience)
    const line = await this.#lines.next()
    clearTimeout(timer)
    if (late) throw new TorchError(`PyTorch’s process was ended: it took more than ${Math.round((patience as number) / 1000)} s`)
    if (line.done) throw new TorchError('PyTorch’s process ended')
    const reply = JSON.parse(line.value) as Reply & { error?: string }
    if (reply.error !== undefined) throw new TorchError(`PyTorch’s side failed: ${reply.error}`)
    return reply
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** Ends the program when it has answered everything, or at once. */
  async close(now = false): Promise<void> {
    if (this.ended) return
    const exit = once(this.#child, 'exit')
    this.#child.stdin.end()
    if (now) this.#child.kill('SIGKILL')
    await exit
  }
}
