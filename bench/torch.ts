/** PyTorch's CPU beside ours. */
import { Python } from './python.ts'
import type { Answers, TwinArguments } from './row.ts'

export class Torch {
  readonly #python: Python<{ torch: string }>
  /** Version and threads, one line for people. */
  readonly description: string

  private constructor(python: Python<{ torch: string }>, threads: number) {
    this.#python = python
    this.description = `PyTorch ${python.hello.torch}, ${threads} threads`
  }

  /** Starts `python` with `threads` threads. Throws TorchError when it cannot be started or has no PyTorch. */
  static async start(python: string, threads: number): Promise<Torch> {
    const env = { OMP_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads) }
    return new Torch(await Python.start({ python, script: new URL('./torch/server.py', import.meta.url), env }), threads)
  }

  /** Builds a twin, tries its ways and keeps the fastest. */
  prepare(twin: string, args: TwinArguments): Promise<{ way: string; answers: Answers }> {
    return this.#python.ask({ prepare: twin, args })
  }
  /** Seconds of one iteration, processors' seconds of all, and which share of a core the process used since its last answer, while it had nothing to do. */
  run(iterations: number): Promise<{ seconds: number; cpu: number; idleShare: number }> {
    return this.#python.ask({ run: iterations })
  }
  async release(): Promise<void> {
    await this.#python.ask({ release: true })
  }
  async close(): Promise<void> {
    await this.#python.close()
  }
}
