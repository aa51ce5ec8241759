/** The command line of `npm run test:gpu`. */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'

export const USAGE = `usage: npm run test:gpu -- [options]
  --device cuda|simt   what to run on (default: cuda). simt is the dry run: the same command on the machine of fibers
  --quick              few cases of each op and few files: to see whether everything runs
  --sanitize           then also a subset under compute-sanitizer: memcheck, synccheck, initcheck
  --seed N             the inputs of an earlier run (default: drawn from the clock, and printed)
  --json FILE          write what was found to FILE
  --workers N          processes that share the GPU (default: one a processor)
  --limit S            seconds after which the tests are broken off (default: 480)`

export interface Options {
  device: 'cuda' | 'simt'
  quick: boolean
  sanitize: boolean
  seed: number
  json: string | undefined
  workers: number
  limit: number
}

/** A call that makes no sense; the message says why. */
export class UsageError extends Error {}

/** Seeds are small enough to be typed again. */
const SEEDS = 2 ** 31

function integer(name: string, text: string | undefined, fallback: number, from: number): number {
  if (text === undefined) return fallback
  const value = Number(text)
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < from || value >= SEEDS)
    throw new UsageError(`--${name} must be an integer from ${from} to 2^31 - 1, is '${text}'`)
  return value
}

/** @param now milliseconds, for the seed. Undefined where help is asked for. */
export function parse(args: readonly string[], now = Date.now()): Options | undefined {
  let values: Record<string, string | boolean | undefined>
  try {
    values = parseArgs({
      args: [...args],
      options: {
        device: { type: 'string' },
        quick: { type: 'boolean' },
        sanitize: { type: 'boolean' },
        seed: { type: 'string' },
        json: { type: 'string' },
        workers: { type: 'string' },
        limit: { type: 'string' },
        help: { type: 'boolean' },
      },
    }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
  if (values.help) return undefined
  const text = (name: string) => values[name] as string | undefined
  const device = text('device') ?? 'cuda'
  if (device !== 'cuda' && device !== 'simt') throw new UsageError(`--device must be 'cuda' or 'simt', is '${device}'`)
  return {
    device,
    quick: values.quick === true,
    sanitize: values.sanitize === true,
    seed: integer('seed', text('seed'), now % SEEDS, 0),
    json: text('json'),
    workers: integer('workers', text('workers'), availableParallelism(), 1),
    limit: integer('limit', text('limit'), 480, 1),
  }
}
