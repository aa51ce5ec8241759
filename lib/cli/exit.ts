import { TilewiseError } from '../errors.ts'

/** What the process ends with. 130 is the shell's number for a program that Ctrl-C has stopped. */
export const exitCodes = { failure: 1, usage: 2, interrupted: 130 } as const

/** One line for people; for what is not our own error, where it happened too. */
export function explain(error: unknown): string {
  if (error instanceof TilewiseError) return error.message
  if (error instanceof Error) return error.stack ?? error.message
  return String(error)
}
