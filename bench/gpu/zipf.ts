/**
 * A maker of lengths by Zipf's law, a length's probability in proportion to its inverse, from a fixed draw: most sequences are short, and a few fill the
 * padded batch. The longest comes first.
 */
function drawer(shortest: number, longest: number): () => number {
  let state = 12345
  let first = true
  return () => {
    if (first) {
      first = false
      return longest
    }
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(shortest * (longest / shortest) ** (state / 2 ** 32))
  }
}

/** As many as make `total` tokens; the last one is cut. */
export function zipfLengths(shortest: number, longest: number, total: number): number[] {
  const draw = drawer(shortest, longest)
  const lengths: number[] = []
  for (let left = total; left > 0; left -= lengths.at(-1) as number) lengths.push(Math.min(left, draw()))
  return lengths
}

/** Those of `count` sequences. */
export function zipfBatch(shortest: number, longest: number, count: number): number[] {
  const draw = drawer(shortest, longest)
  return Array.from({ length: count }, draw)
}
