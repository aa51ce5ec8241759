/** The GPU's clocks, power and temperature beside the measurement, read by nvidia-smi. Nothing is set. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { median, round } from '../statistics.ts'

const FIELDS = ['clocks.sm', 'clocks.mem', 'power.draw', 'temperature.gpu', 'clocks_event_reasons.active'] as const
const EVERY = 200

interface Reading {
  readonly at: number
  /** MHz, W, °C. */
  readonly sm: number
  readonly memory: number
  readonly power: number
  readonly temperature: number
  /** A bit mask; 0: nothing holds the clocks back. */
  readonly reasons: string
}

export interface Clocks {
  /** MHz, medians over the row's samples. */
  readonly sm: number
  readonly memory: number
  /** W and °C, the highest. */
  readonly power: number
  readonly temperature: number
  /** What held the clocks back in any reading, as nvidia-smi's bit mask. */
  readonly reasons: string
}

export class ClockWatch {
  readonly #child: ChildProcess
  readonly #readings: Reading[] = []
  #gone = false

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Starts nvidia-smi for GPU `index`; undefined where it is not there or shows nothing within five seconds. */
  static async start(index: number, program = 'nvidia-smi'): Promise<ClockWatch | undefined> {
    const child = spawn(
      program,
      [`--query-gpu=${FIELDS.join(',')}`, '--format=csv,noheader,nounits', `-lms`, String(EVERY), '-i', String(index)],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    )
    const watch = new ClockWatch(child)
    const ended = new Promise<void>(resolve => child.once('exit', () => resolve()).once('error', () => resolve())).then(() => {
      watch.#gone = true
    })
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    const first = once(lines, 'line')
    lines.on('line', line => watch.#read(line))
    await Promise.race([first, ended, new Promise(resolve => setTimeout(resolve, 5000).unref())])
    if (watch.#readings.length > 0) return watch
    child.kill()
    return undefined
  }

  #read(line: string): void {
    const [sm, memory, power, temperature, reasons = ''] = line.split(',').map(field => field.trim())
    const reading = {
      at: performance.now(),
      sm: Number(sm),
      memory: Number(memory),
      power: Number(power),
      temperature: Number(temperature),
      reasons,
    }
    if (Number.isFinite(reading.sm)) this.#readings.push(reading)
  }

  /** What was read between two moments of `performance.now()`, or, where that is nothing, last. Undefined where nothing ever was. */
  between(from: number, to: number): Clocks | undefined {
    const inside = this.#readings.filter(({ at }) => at >= from && at <= to)
    const used = inside.length > 0 ? inside : this.#readings.slice(-1)
    if (used.length === 0) return undefined
    const all = (field: 'sm' | 'memory' | 'power' | 'temperature') => used.map(reading => reading[field])
    return {
      sm: median(all('sm')),
      memory: median(all('memory')),
      // Some GPUs do not tell their power.
      power: round(Math.max(0, ...all('power').filter(Number.isFinite))),
      temperature: Math.max(...all('temperature')),
      reasons: used.map(({ reasons }) => reasons).find(reasons => /[1-9a-f]/i.test(reasons.replace(/^0x/, ''))) ?? '0x0',
    }
  }

  /** Whether the last `count` readings of the SM clock are within 2 % of each other. */
  settled(count: number): boolean {
    const last = this.#readings.slice(-count).map(({ sm }) => sm)
    return this.#gone || (last.length === count && Math.max(...last) <= 1.02 * Math.min(...last))
  }

  stop(): void {
    this.#child.kill()
  }
}
