import { exitCodes } from './exit.ts'

/** One Ctrl-C may arrive twice: from the terminal, and from `npm run`, which passes it on. So a second one counts only after this many milliseconds. */
const SAME_KEYPRESS = 500

/**
 * A signal that the first Ctrl-C (or SIGTERM) aborts, so that work under way can be saved; `say` tells so. A second one ends the process at once.
 * `release()` gives the keys back.
 */
export function interrupt(say: () => void): { signal: AbortSignal; release(): void } {
  const controller = new AbortController()
  let pressed = 0
  const stop = () => {
    if (controller.signal.aborted) {
      if (performance.now() - pressed > SAME_KEYPRESS) process.exit(exitCodes.interrupted)
      return
    }
    pressed = performance.now()
    say()
    controller.abort()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  return {
    signal: controller.signal,
    release() {
      process.off('SIGINT', stop)
      process.off('SIGTERM', stop)
    },
  }
}
