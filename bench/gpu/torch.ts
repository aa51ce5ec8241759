/** PyTorch on the GPU beside ours; in a dry run PyTorch's CPU with stand-ins for torch.cuda, so that the same lines run. */
import { Python, TorchError } from '../python.ts'
import type { TwinArguments } from '../row.ts'
import type { GpuRow } from './row.ts'

interface Hello {
  readonly torch: string
  readonly device: string
  readonly cuda: string
  readonly cudnn: string
}

export interface Prepared {
  /** The fastest way, and what each took at first sight, in µs. */
  readonly way: string
  readonly ways: Readonly<Record<string, number>>
  /** Ways that PyTorch does not go, with the first line of its reason. */
  readonly refused: Readonly<Record<string, string>>
  readonly answers?: readonly (readonly number[])[]
}

/** Longer than any row's preparation should take, torch.compile included. */
const PATIENCE = 150_000

/** Which Python, and whether it computes on GPU `index` or, in a rehearsal, on the CPU. */
export interface Where {
  readonly python: string
  readonly dry: boolean
  readonly index: number
}

function startServer({ python, dry, index }: Where): Promise<Python<Hello>> {
  const script = new URL('./torch/server.py', import.meta.url)
  // Small tensors on several threads wait for each other more than they compute.
  return Python.start({
    python,
    script,
    args: ['--device', dry ? 'cpu' : 'cuda', '--index', String(index)],
    ...(dry ? { env: { OMP_NUM_THREADS: '1' } } : {}),
  })
}

export class GpuTorch {
  #python: Python<Hello>
  readonly #start: () => Promise<Python<Hello>>

  private constructor(python: Python<Hello>, start: () => Promise<Python<Hello>>) {
    this.#python = python
    this.#start = start
  }

  /** Throws TorchError where there is no PyTorch, or it sees no GPU. */
  static async start(where: Where): Promise<GpuTorch> {
    const start = () => startServer(where)
    return new GpuTorch(await start(), start)
  }

  get versions(): Hello {
    return this.#python.hello
  }

  /** Builds a twin, tries its ways and keeps the fastest. `compile`: also those through torch.compile. */
  prepare(row: GpuRow, shared: TwinArguments, options: { compared: boolean; compile: boolean }): Promise<Prepared> {
    return this.#ask({ prepare: row.twin.name, args: { ...row.twin.args, ...shared }, ...options })
  }

  /** Milliseconds of each of `count` iterations, by CUDA events. */
  async sample(count: number): Promise<number[]> {
    const { milliseconds } = await this.#ask<{ milliseconds: number[] }>({ sample: count })
    return milliseconds
  }

  async release(): Promise<void> {
    await this.#ask({ release: true })
  }

  /** Asks, and starts PyTorch anew for the next row where it has died of this one, or its CUDA context is lost. */
  async #ask<Reply extends object>(request: object): Promise<Reply> {
    try {
      return await this.#python.ask<Reply>(request, PATIENCE)
    } catch (error) {
      if (error instanceof TorchError) {
        if (/CUDA error/.test(error.message)) await this.#python.close(true)
        if (await this.#died()) this.#python = await this.#start()
      }
      throw error
    }
  }

  async #died(): Promise<boolean> {
    // A process that closed its output is ending: its exit comes a moment later.
    for (let i = 0; i < 20 && !this.#python.ended; i++) await new Promise(resolve => setTimeout(resolve, 50))
    return this.#python.ended
  }

  async close(): Promise<void> {
    await this.#python.close()
  }
}

/**
 * Compiles what `rows` will need in processes of their own, several at once, into inductor's cache on disk, so that the measuring process finds it there. Ends
 * after `limit` milliseconds at the latest; what is not done by then is compiled when its row comes.
 */
export async function compileAhead(where: Where, rows: readonly GpuRow[], processes: number, limit: number): Promise<number> {
  const queue = rows.filter(row => row.twin.compiles)
  const end = performance.now() + limit
  let done = 0
  const work = async () => {
    if (queue.length === 0) return
    const child = await startServer(where)
    try {
      for (let row = queue.shift(); row && performance.now() < end; row = queue.shift()) {
        await child.ask({ compile: row.twin.name, args: row.twin.args, compared: false }, Math.max(1000, end - performance.now()))
        done++
      }
    } catch (error) {
      // The row itself will say what is wrong; a compiler that is late or dead is no reason to stop.
      if (!(error instanceof TorchError)) throw error
      console.error(`bench: compiling ahead: ${error.message}`)
    } finally {
      await child.close(true)
    }
  }
  await Promise.all(Array.from({ length: processes }, work))
  return done
}
