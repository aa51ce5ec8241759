/** Programs that the command starts. */
import { spawn } from 'node:child_process'

export interface Ended {
  /** Null where a signal ended it, as the limit does. */
  code: number | null
  /** Both streams, as they came. */
  output: string
}

/** Runs a program to its end, for at most `limit` milliseconds. Rejects where it cannot be started. */
export function run(command: string, args: readonly string[], limit: number, env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      timeout: limit,
      killSignal: 'SIGKILL',
    })
    let output = ''
    const keep = (piece: Buffer) => {
      output += piece.toString()
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('error', reject)
    child.on('close', code => resolve({ code, output }))
  })
}

/** The last lines, for a message. */
export const tail = (text: string, lines = 30) => text.trimEnd().split('\n').slice(-lines).join('\n')
