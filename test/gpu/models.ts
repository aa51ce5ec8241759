/** The instructions of native/cuda/ptx beside their models: test/native/ptx_models.cc, built by both compilers, told by its exit codes. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './plan.ts'
import { type Ended, run, tail } from './process.ts'

export interface ModelsRun {
  what: string
  state: 'passed' | 'failed' | 'skipped'
  /** What the program said, or why it was not run. */
  lines: string[]
}

const LIMIT = 120_000
const program = (side: 'simt' | 'cuda') => `${root}build/Release/ptx_models_${side}`

/** The models first, whose results the instructions are then compared with. On the machine of fibers: with themselves. */
export async function models(kind: 'cuda' | 'simt', seed: number, say: (line: string) => void): Promise<ModelsRun[]> {
  const found: ModelsRun[] = []
  const note = (what: string, { code, output }: Ended) => {
    const lines = output.trimEnd().split('\n')
    const state = code === 0 ? 'passed' : 'failed'
    say(`${what}: ${state}: ${code === 0 ? lines.at(-1) : `ended with ${code ?? 'a signal'}\n${tail(output)}`}`)
    found.push({ what, state, lines })
    return state === 'passed'
  }
  const skip = (what: string, reason: string) => {
    say(`${what}: skipped: ${reason}`)
    found.push({ what, state: 'skipped', lines: [reason] })
  }
  if (!existsSync(program('simt'))) {
    skip('models', 'build/Release/ptx_models_simt is not built')
    return found
  }
  const folder = mkdtempSync(join(tmpdir(), 'ptx-models-'))
  try {
    const file = join(folder, 'simt.bin')
    const own = ['--seed', String(seed)]
    if (!note('models against plain arithmetic', await run(program('simt'), [...own, '--out', file], LIMIT))) return found
    if (kind === 'simt') {
      note('models against themselves', await run(program('simt'), [...own, '--against', file], LIMIT))
    } else if (!existsSync(program('cuda'))) {
      skip('instructions against models', 'build/Release/ptx_models_cuda is not built')
    } else {
      note('instructions against models', await run(program('cuda'), [...own, '--against', file], LIMIT))
      // What older GPUs get: the text for sm_80, which the driver compiles for this one.
      const env = { CUDA_FORCE_PTX_JIT: '1' }
      note('instructions of compute_80 against models', await run(program('cuda'), [...own, '--against', file], LIMIT, env))
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
  return found
}
