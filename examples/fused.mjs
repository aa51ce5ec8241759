// An op of your own is a function of ops: the tape differentiates it, on every device. A fused op computes the same in one pass over memory.
// Here is layer norm both ways: the same numbers, the same gradients, and what fusing saves.
//
//     node examples/fused.mjs [rows]
import { layerNorm, normal, rsqrt, scope, seed } from 'tilewise'

const [rows, width] = [Number(process.argv[2] ?? 4096), 512]
const last = { dims: [-1], keepDims: true }

/** (s - mean) / √(variance + eps) · weight + bias, where s = x + residual: ten ops, each of which writes its result to memory. */
function composite({ x, residual, weight, bias }) {
  const s = x.add(residual) // [N, C]
  const centered = s.sub(s.mean(last)) // [N, C] - [N, 1]
  const variance = centered.mul(centered).mean(last) // [N, 1]
  return centered
    .mul(rsqrt(variance.add(1e-5)))
    .mul(weight)
    .add(bias)
}

/** The same as one op: it saves the sum, and two numbers a row. */
const fused = ({ x, residual, weight, bias }) => layerNorm(x, weight, bias, { residual })

seed(3)
const leaf = shape => normal(shape, { requiresGrad: true })
const inputs = { x: leaf([rows, width]), residual: leaf([rows, width]), weight: leaf([width]), bias: leaf([width]) }
const gradient = normal([rows, width]) // as if it came from what follows
const { device: where } = gradient
console.log(`[${rows}, ${width}] on ${where.kind}: ${where.reason}`)

const [a, b] = [await measure('composite', composite), await measure('fused', fused)]
for (const [name, values] of Object.entries(a.results)) {
  const difference = values.reduce((most, value, i) => Math.max(most, Math.abs(value - b.results[name][i])), 0)
  console.log(`${name.padEnd(9)} differs by ${difference.toExponential(1)} at most`)
}
console.log(`fused: ${(a.time / b.time).toFixed(1)} times as fast, ${(a.memory / b.memory).toFixed(1)} times less memory for intermediates`)

/** Forward and backward, five times: the fastest, the memory at its peak beyond the inputs, and what came out. */
async function measure(name, op) {
  const results = {}
  let time = Number.POSITIVE_INFINITY
  await where.synchronize()
  const before = where.memory().live
  where.resetPeak()
  for (let round = 0; round < 5; round++) {
    const begin = performance.now()
    const y = scope(() => {
      const y = op(inputs)
      y.backward(gradient)
      return y
    })
    await where.synchronize()
    time = Math.min(time, performance.now() - begin)
    results.y = await y.read()
    for (const [key, input] of Object.entries(inputs)) {
      results[`d${key}`] = await input.grad.read()
      input.grad.dispose()
      input.grad = undefined
    }
    y.dispose()
  }
  const memory = where.memory().peak - before
  console.log(`${name.padEnd(9)} ${time.toFixed(2)} ms, ${(memory / 2 ** 20).toFixed(0)} MiB`)
  return { time, memory, results }
}
