/** Options that several commands have, and what option values are parsed with. */
import { type Command, InvalidArgumentError, Option } from 'commander'

/** A parser of whole numbers from `least` to `most`. */
export const integer =
  (least: number, most: number = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < least || value > most)
      throw new InvalidArgumentError(
        most === Number.MAX_SAFE_INTEGER ? `It must be an integer from ${least}.` : `It must be an integer from ${least} to ${most}.`,
      )
    return value
  }

/** A parser of numbers from `least` to `most`; `above` leaves `least` out. */
export const decimal =
  (least: number, most: number = Number.POSITIVE_INFINITY, above = false) =>
  (text: string): number => {
    const value = Number(text)
    if (text.trim() === '' || !Number.isFinite(value) || value < least || value > most || (above && value === least)) {
      const from = above ? `above ${least}` : `from ${least}`
      throw new InvalidArgumentError(`It must be a number ${from}${most === Number.POSITIVE_INFINITY ? '' : ` to ${most}`}.`)
    }
    return value
  }

export interface DeviceChoice {
  device: 'auto' | 'cpu' | 'cuda'
  threads?: number
}

/** Adds `--device` and `--threads`. */
export function withDevice(command: Command): Command {
  return command
    .addOption(new Option('--device <kind>', 'where to compute').choices(['auto', 'cpu', 'cuda']).default('auto'))
    .addOption(new Option('--threads <n>', 'CPU threads (default: the cores available)').argParser(integer(1, 1024)))
}

/** Loads the library and opens the device; done late, so that help and wrong usage need neither. */
export async function openDevice({ device: kind, threads }: DeviceChoice) {
  const { device } = await import('../device.ts')
  await import('../ops/index.ts')
  return device(kind, threads === undefined ? {} : { threads })
}

/** Seconds since a `performance.now()`. */
export const since = (start: number): number => (performance.now() - start) / 1000

/** 12345.6 as 12,346; 1.234567 as 1.235. */
export const show = (value: number, digits = 3): string =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en-US') : Number(value.toFixed(digits)).toString()
