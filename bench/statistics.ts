/** Figures of samples, and how they are written. */

/** Linear between the two samples around it. `sorted` ascends. */
export function quantile(sorted: readonly number[], q: number): number {
  const at = q * (sorted.length - 1)
  const below = sorted[Math.floor(at)] as number
  const above = sorted[Math.ceil(at)] as number
  return below + (above - below) * (at - Math.floor(at))
}

export const ascending = (samples: readonly number[]) => [...samples].sort((a, b) => a - b)

export const median = (samples: readonly number[]) => quantile(ascending(samples), 0.5)

/** Median, and the distance from the 10th to the 90th percentile over it. */
export function summary(samples: readonly number[]): { median: number; spread: number } {
  const sorted = ascending(samples)
  const middle = quantile(sorted, 0.5)
  return { median: middle, spread: (quantile(sorted, 0.9) - quantile(sorted, 0.1)) / middle }
}

/** Four significant digits. */
export const round = (x: number) => Number(x.toPrecision(4))

export function significant(x: number, digits = 3): string {
  return x >= 1000 ? Math.round(x).toLocaleString('en') : String(Number(x.toPrecision(digits)))
}
