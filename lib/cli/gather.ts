/**
 * Collects what `source` gives into lists of up to `limit`. A list ends early when nothing more has arrived: who sends one line and waits for the
 * answer gets it, and a file comes in full lists. What was collected before an error is given out before the error.
 */
export async function* gather<T>(source: AsyncIterable<T>, limit: number): AsyncGenerator<T[], void, void> {
  const iterator = source[Symbol.asyncIterator]()
  const idle = Symbol('idle')
  let list: T[] = []
  try {
    let next = iterator.next()
    for (;;) {
      // A turn of the event loop lets input that is waiting come in.
      const arrived =
        list.length === 0 ? await next : await Promise.race([next, new Promise<typeof idle>(resolve => setTimeout(resolve, 5, idle))])
      if (arrived !== idle) {
        if (arrived.done) break
        list.push(arrived.value)
        next = iterator.next()
        // If it fails before it is awaited, that is not unhandled.
        next.catch(() => {})
      }
      if (list.length === limit || arrived === idle) {
        yield list
        list = []
      }
    }
  } catch (error) {
    if (list.length > 0) yield list
    throw error
  } finally {
    await iterator.return?.()
  }
  if (list.length > 0) yield list
}
