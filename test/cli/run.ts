/** Runs the built command line as a child process, as people do. Builds `dist` first where it is older than the sources. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, rmdirSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export const root: string = fileURLToPath(new URL('../..', import.meta.url))
export const main = `${root}dist/cli/main.js`

let built: Promise<void> | undefined

const lock = join(tmpdir(), `tilewise-dist-${createHash('sha256').update(root).digest('hex').slice(0, 16)}.lock`)
/** Nobody builds longer than this: an older lock was left behind. */
const STALE = 120_000

/** Several test files may ask at once, in processes of their own: a folder is the lock. */
async function build(): Promise<void> {
  for (;;) {
    try {
      mkdirSync(lock)
      break
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      if (Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY) > STALE) rmdirSync(lock)
      await sleep(100)
    }
  }
  try {
    const sources = readdirSync(`${root}lib`, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'))
    const newest = Math.max(...sources.map(name => statSync(`${root}lib/${name}`).mtimeMs))
    if (!existsSync(main) || statSync(main).mtimeMs < newest)
      execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'pipe' })
  } finally {
    rmdirSync(lock)
  }
}

export interface Finished {
  code: number | null
  stdout: string
  stderr: string
}

export interface Running {
  child: ChildProcess
  finished: Promise<Finished>
  /** Resolves when standard error (or output) has shown `text`, rejects if the process ends before. */
  shows(text: string, where?: 'stdout' | 'stderr'): Promise<void>
}

/** Starts a command line; `input` goes to its standard input. */
export const start = (args: readonly string[], input: string | Uint8Array = ''): Promise<Running> => startScript(main, args, { input })

/** Starts a script that uses the built package. */
export async function startScript(
  script: string,
  args: readonly string[] = [],
  { input = '', env = {} }: { input?: string | Uint8Array; env?: NodeJS.ProcessEnv } = {},
): Promise<Running> {
  built ??= build()
  await built
  const child = spawn(process.execPath, [script, ...args], { stdio: 'pipe', env: { ...process.env, ...env } })
  let stdout = ''
  let stderr = ''
  const watchers = new Set<() => void>()
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    for (const look of watchers) look()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    for (const look of watchers) look()
  })
  // A process that has failed already reads nothing.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => resolve({ code, stdout, stderr }))
  })
  const shows = (text: string, where: 'stdout' | 'stderr' = 'stderr') =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!(where === 'stdout' ? stdout : stderr).includes(text)) return
        watchers.delete(look)
        resolve()
      }
      watchers.add(look)
      look()
      finished.then(() => reject(new Error(`the process ended without showing ${JSON.stringify(text)}:\n${stderr}`)), reject)
    })
  return { child, finished, shows }
}

export async function run(args: readonly string[], input: string | Uint8Array = ''): Promise<Finished> {
  return (await start(args, input)).finished
}
