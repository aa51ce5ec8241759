/**
 * Lengths by Zipf's law, a length's probability in proportion to its inverse, from a fixed draw: most sequences are short, and a few fill the padded batch.
 * The longest comes first.
 */
function* lengths(shortest: number, longest: number): Generator<number, never> {
  yield longest
  for (let state = 12345; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    yield Math.floor(shortest * (longest / shortest) ** (state / 2 ** 32))
  }
}

/** As many as make `total` tokens; the last one is cut. */
export function zipfLengths(shortest: number, longest: number, total: number): number[] {
  const drawn: number[] = []
  const more = lengths(shortest, longest)
  for (let left = total; left > 0; left -= drawn.at(-1) as number) drawn.push(Math.min(left, more.next().value))
  return drawn
}

/** Those of `count` sequences. */
export function zipfBatch(shortest: number, longest: number, count: number): number[] {
  const more = lengths(shortest, longest)
  return Array.from({ length: count }, () => more.next().value)
}
