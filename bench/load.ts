/** What else the machine does while a sample is taken. */
import { existsSync, readFileSync } from 'node:fs'

const STAT = '/proc/stat'
/** The kernel counts in hundredths of a second. */
const TICK = 0.01

/** Seconds that all processors have spent on anything, time taken from this machine by its host included; 0 where Linux does not say. */
function busySeconds(): number {
  if (!existsSync(STAT)) return 0
  const [, ...fields] = (readFileSync(STAT, 'utf8').split('\n', 1)[0] as string).trim().split(/\s+/)
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields.map(Number)
  return (user + nice + system + irq + softirq + steal) * TICK
}

/** From here to `end`, in seconds: the clock, this process's processor time, and the processors' time that neither it nor `theirs` used. */
export class Watch {
  readonly #start = performance.now()
  readonly #busy = busySeconds()
  readonly #ours = process.cpuUsage()

  end(theirs = 0): { wall: number; cpu: number; others: number } {
    const { user, system } = process.cpuUsage(this.#ours)
    const cpu = (user + system) / 1e6
    return { wall: (performance.now() - this.#start) / 1000, cpu, others: Math.max(0, busySeconds() - this.#busy - cpu - theirs) }
  }
}

/** Whether a sample can stand: others took at most 5 % of one processor, or no more than the kernel's clock can tell. */
export const isQuiet = ({ wall, others }: { wall: number; others: number }) => others <= Math.max(0.05 * wall, 3 * TICK)

const pause = (milliseconds: number) => new Promise(resolve => setTimeout(resolve, milliseconds))

/** Waits until the machine has nothing else to do, at most `patience` milliseconds; resolves with those that it took. */
export async function untilQuiet(patience: number): Promise<number> {
  const start = performance.now()
  while (performance.now() - start < patience) {
    const watch = new Watch()
    await pause(100)
    if (isQuiet(watch.end())) break
  }
  return performance.now() - start
}
