/** The synchronizations of the kernel text: each is a mutant, the text without it. */
import { readdirSync, readFileSync } from 'node:fs'

export interface Mutant {
  /** `folder/file:line`, as the machine of fibers names a place. */
  site: string
  what: string
  /** The line, for people. */
  text: string
}

/** Calls that order threads or copies. A declaration of such a function is no call: it ends in a parameter list with a type. */
const kinds: readonly [RegExp, string][] = [
  [/\b__syncthreads(_or|_and|_count)?\(/, 'barrier'],
  [/\bnamed_barrier_(sync|arrive)\(/, 'named barrier'],
  [/\b__syncwarp\(/, 'warp barrier'],
  [/\bcopy_async_wait<[^>]*>\(/, 'wait'],
  [/\bcopy_async_commit\(/, 'commit'],
  [/\b__threadfence(_block)?\(/, 'fence'],
]

export function mutantsOf(folder: URL): Mutant[] {
  const found: Mutant[] = []
  for (const part of ['ops', 'prim'])
    for (const file of readdirSync(new URL(`${part}/`, folder)).sort())
      readFileSync(new URL(`${part}/${file}`, folder), 'utf8')
        .split('\n')
        .forEach((line, i) => {
          const code = line.replace(/\/\/.*/, '')
          for (const [pattern, what] of kinds)
            if (pattern.test(code)) found.push({ site: `${part}/${file}:${i + 1}`, what, text: line.trim() })
        })
  return found
}
