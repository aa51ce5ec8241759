/** PyTorch in a child process that lives as long as the benchmark: one JSON line there, one JSON line back. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Answers, TwinArguments } from './row.ts'

/** Python or PyTorch is not there, or a twin failed. */
export class TorchError extends Error {}

interface Reply {
  error?: string
  torch?: string
  way?: string
  answers?: Answers
  seconds?: number
  cpu?: number
  idleShare?: number
}

export class Torch {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  /** Version and threads, one line for people. */
  readonly description: string

  private constructor(child: ChildProcessWithoutNullStreams, lines: AsyncIterator<string>, description: string) {
    this.#child = child
    this.#lines = lines
    this.description = description
  }

  /** Starts `python` with `threads` threads. Throws TorchError when it cannot be started or has no PyTorch. */
  static async start(python: string, threads: number): Promise<Torch> {
    const server = fileURLToPath(new URL('./torch/server.py', import.meta.url))
    const child = spawn(python, [server], {
      env: { ...process.env, OMP_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads), PYTHONDONTWRITEBYTECODE: '1' },
    })
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
    const hello = JSON.parse(first.value) as Reply
    if (hello.torch === undefined) throw new TorchError(`${python}: ${hello.error}. Name a Python that has PyTorch with --python PATH.`)
    child.stderr.on('data', (chunk: Buffer) => process.stderr.write(chunk))
    return new Torch(child, lines, `PyTorch ${hello.torch}, ${threads} threads`)
  }

  async #ask(request: object): Promise<Reply> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`)
    const line = await this.#lines.next()
    if (line.done) throw new TorchError('PyTorch’s process ended')
    const reply = JSON.parse(line.value) as Reply
    if (reply.error !== undefined) throw new TorchError(`PyTorch’s side failed: ${reply.error}`)
    return reply
  }

  /** Builds a twin, tries its ways and keeps the fastest. */
  async prepare(twin: string, args: TwinArguments): Promise<{ way: string; answers: Answers }> {
    const { way = '', answers = {} } = await this.#ask({ prepare: twin, args })
    return { way, answers }
  }
  /** Seconds of one iteration, processors' seconds of all, and which share of a core the process used since its last answer, while it had nothing to do. */
  async run(iterations: number): Promise<{ seconds: number; cpu: number; idleShare: number }> {
    const { seconds = 0, cpu = 0, idleShare = 0 } = await this.#ask({ run: iterations })
    return { seconds, cpu, idleShare }
  }
  async release(): Promise<void> {
    await this.#ask({ release: true })
  }
  async close(): Promise<void> {
    this.#child.stdin.end()
    if (this.#child.exitCode === null) await once(this.#child, 'exit')
  }
}
