/** `--sanitize`: a subset of the cases under compute-sanitizer, one of its tools after another. */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run, tail } from './process.ts'

export const TOOLS = ['memcheck', 'synccheck', 'initcheck'] as const
type Tool = (typeof TOOLS)[number] | 'none'

export interface Sanitized {
  tool: Tool
  /** `skipped`: the tool is not there, or cannot watch this GPU. */
  state: 'passed' | 'failed' | 'skipped'
  /** What it ran, or why it did not; for a failure the end of what it said. */
  message: string
}

/** What compute-sanitizer exits with where it found something; no program of ours ends with it. */
const FOUND = 86
const SUBSET = fileURLToPath(new URL('sanitized.ts', import.meta.url))
const PLACES = ['/usr/local/cuda/bin', '/usr/local/cuda/compute-sanitizer']

export function findSanitizer(path = process.env.PATH ?? ''): string | undefined {
  return [...path.split(delimiter), ...PLACES].map(folder => join(folder, 'compute-sanitizer')).find(file => existsSync(file))
}

/** What a finished run means. */
export function verdict(tool: Tool, code: number | null, output: string): Sanitized {
  const ran = /^sanitized: (.*)$/m.exec(output)?.[1]
  const unsupported = /.*(?:Device not supported|Failed to initialize|Unable to find injection).*/i.exec(output)?.[0]
  if (code === 0 && ran !== undefined) return { tool, state: 'passed', message: ran }
  if (code !== FOUND && unsupported !== undefined)
    return { tool, state: 'skipped', message: `compute-sanitizer cannot run here: ${unsupported}` }
  return { tool, state: 'failed', message: `${code === FOUND ? 'found errors' : `ended with ${code ?? 'a signal'}`}\n${tail(output)}` }
}

/** Runs the subset for `seconds` under each tool; on the machine of fibers once, under none, so that the subset itself has been run. */
export async function sanitize(kind: 'cuda' | 'simt', seconds: number, say: (line: string) => void): Promise<Sanitized[]> {
  const subset = ['--import', 'tsx', SUBSET, kind, String(seconds)]
  // Start-up, and the checker's work on the last program, are beyond the subset's own time.
  const limit = 1000 * (3 * seconds + 60)
  const found: Sanitized[] = []
  const done = (result: Sanitized) => {
    say(`${result.tool === 'none' ? 'the subset of the checkers, without one' : result.tool}: ${result.state}: ${result.message}`)
    found.push(result)
  }
  if (kind === 'simt') {
    const { code, output } = await run(process.execPath, subset, limit)
    done(verdict('none', code, output))
    return found
  }
  const sanitizer = findSanitizer()
  for (const tool of TOOLS) {
    if (sanitizer === undefined) {
      done({ tool, state: 'skipped', message: 'there is no compute-sanitizer here' })
      continue
    }
    const options = ['--tool', tool, '--error-exitcode', String(FOUND), '--target-processes', 'application-only']
    const { code, output } = await run(sanitizer, [...options, process.execPath, ...subset], limit)
    done(verdict(tool, code, output))
  }
  return found
}
