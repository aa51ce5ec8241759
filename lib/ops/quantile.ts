/** The inverse of the truncated normal distribution in float64, for the reference of random draws. */

const ERF_SQRT2 = 0.9544997361036416

/** erf by its Maclaurin series: all that |z| <= √2 needs. */
function erfSeries(x: number): number {
  let term = x
  let sum = x
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

/** The z in [-2, 2] below which the fraction `u` of a standard normal distribution cut at ±2 lies. Newton's method on erf. */
export function truncatedQuantile(u: number): number {
  const target = ERF_SQRT2 * (2 * u - 1)
  let x = target
  for (let i = 0; i < 60; i++) {
    const step = (erfSeries(x) - target) / ((2 / Math.sqrt(Math.PI)) * Math.exp(-x * x))
    x -= step
    if (Math.abs(step) < 1e-16) break
  }
  return Math.SQRT2 * x
}
