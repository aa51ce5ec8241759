/**
 * Every case of every op, on every device: forward and gradient against the float64 reference, within the rule of docs/numerics.md; the
 * reference's own gradient against finite differences; the same bits when run twice.
 */
import { readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { definedOps, observeOps } from '../../lib/autograd/defineOp.ts'
import { backward } from '../../lib/autograd/tape.ts'
import { PhiloxStream } from '../../lib/random.ts'
import { testDevices } from '../devices.ts'
import { type Arr, Float64Engine, roundings, sizeOf } from '../reference/float64.ts'
import type { FloatCase, InputSpec, OpCase, OpCases } from './cases.ts'
import { add, type Device, isFloatTensor, mul, scope, seed, sum, type Tensor, tensor } from './surface.ts'

const here = new URL('.', import.meta.url)
const files = readdirSync(here).filter(file => file.endsWith('.cases.ts'))
const all: OpCases[] = await Promise.all(files.map(async file => (await import(new URL(file, here).href)).default as OpCases))

function numbers(spec: InputSpec, dtype: string, stream: PhiloxStream): number[] {
  const { fill = 'normal', scale = 1 } = spec
  const round = roundings[dtype as keyof typeof roundings] ?? ((x: number) => x)
  const normal = () => Math.sqrt(-2 * Math.log(1 - stream.uniform())) * Math.cos(2 * Math.PI * stream.uniform())
  const one = (i: number): number => {
    if (fill === 'normal') return normal() * scale
    if (fill === 'uniform') return (stream.uniform() * 2 - 1) * scale
    if (fill === 'positive') return (stream.uniform() + 0.1) * scale
    if ('int' in fill) return fill.int[0] + stream.int(fill.int[1] - fill.int[0])
    if ('bernoulli' in fill) return Number(stream.uniform() < fill.bernoulli)
    return fill.values[i] as number
  }
  return Array.from({ length: sizeOf(spec.shape) }, (_, i) => round(one(i)))
}

interface Run {
  outputs: Record<string, Float64Array>
  gradients: Record<string, Float64Array>
  args: Record<string, unknown>
  tensors: Map<Tensor, string>
}

/** One call on a device, and its backward with the given upstream gradients. */
async function runCase(
  device: Device,
  test: OpCase,
  op: OpCases['op'],
  dtype: FloatCase,
  data: Record<string, number[]>,
  upstream: (name: string, size: number) => number[],
): Promise<Run> {
  seed(7)
  return scope(async () => {
    const inputs: Record<string, Tensor> = {}
    const leaves: Record<string, Tensor> = {}
    for (const [name, spec] of Object.entries(test.inputs)) {
      const type = spec.dtype ?? dtype
      const values = data[name] as number[]
      const array = type === 'i32' ? Int32Array.from(values) : type === 'u8' ? Uint8Array.from(values) : Float32Array.from(values)
      const leaf = tensor(array, spec.shape, { device, dtype: type })
      const differentiable = spec.gradient ?? spec.dtype === undefined
      if (differentiable && op.hasBackward && !test.noGradient) leaf.requireGrad()
      leaves[name] = leaf
      inputs[name] = spec.transposed ? leaf.transpose().contiguous().transpose() : leaf
    }
    let args: Record<string, unknown> = {}
    const stop = observeOps((name, seen) => {
      if (name === op.op) args = seen
    })
    try {
      test.call(inputs)
    } finally {
      stop()
    }
    const tensors = new Map(Object.entries(inputs).map(([name, t]) => [t, name]))
    const result: Run = { outputs: {}, gradients: {}, args, tensors }
    const outputs = op.differentiable
      .map(name => [name, args[name]] as const)
      .filter((entry): entry is [string, Tensor] => entry[1] !== undefined)
    if (Object.values(leaves).some(leaf => leaf.requiresGrad)) {
      let loss: Tensor | undefined
      for (const [name, output] of outputs) {
        const weights = tensor(Float32Array.from(upstream(name, output.size)), output.shape, { device, dtype: output.dtype })
        const term = sum(mul(output, weights))
        loss = loss === undefined ? term : add(loss, term)
      }
      if (loss?.requiresGrad) backward(loss)
    }
    for (const [name, value] of Object.entries(args))
      if (isFloatTensor(value) && !(name in inputs)) result.outputs[name] = Float64Array.from(await value.read())
      else if (value && typeof value === 'object' && 'read' in value)
        result.outputs[name] = Float64Array.from(await (value as Tensor).read())
    for (const [name, leaf] of Object.entries(leaves)) if (leaf.grad) result.gradients[name] = Float64Array.from(await leaf.grad.read())
    return result
  })
}

/** The reference in one precision: outputs and gradients by name. */
function evaluate(
  test: OpCase,
  op: OpCases['op'],
  run: Run,
  data: Record<string, number[]>,
  rounding: 'f64' | FloatCase,
  upstream: (name: string, size: number) => number[],
) {
  const engine = new Float64Engine(roundings[rounding])
  const leaves: Record<string, Arr> = {}
  for (const [name, spec] of Object.entries(test.inputs)) leaves[name] = engine.leaf(data[name] as number[], spec.shape)
  const forward = (): Record<string, Arr | undefined> => {
    if (test.reference) return test.reference(engine, leaves)
    const args: Record<string, unknown> = {}
    for (const [name, value] of Object.entries(run.args)) {
      const input = run.tensors.get(value as Tensor)
      if (input !== undefined) args[name] = leaves[input]
      else if (value && typeof value === 'object' && 'read' in value)
        args[name] = engine.leaf(run.outputs[name] as Float64Array, (value as Tensor).shape)
      else args[name] = value
    }
    return op.reference(engine, args as never) as Record<string, Arr | undefined>
  }
  const outputs = forward()
  const flowing = op.differentiable.flatMap(name => {
    const arr = outputs[name]
    return arr ? [{ arr, upstream: Float64Array.from(upstream(name, arr.data.length)) }] : []
  })
  const gradients = engine.gradients(flowing, Object.values(leaves))
  const loss = () => {
    const again = forward()
    return op.differentiable.reduce((total, name) => {
      const arr = again[name]
      if (!arr) return total
      const weights = upstream(name, arr.data.length)
      return total + arr.data.reduce((part, y, i) => part + y * (weights[i] as number), 0)
    }, 0)
  }
  return {
    outputs,
    gradients: Object.fromEntries(Object.keys(leaves).map((name, i) => [name, gradients[i] as Float64Array])),
    leaves,
    loss,
  }
}

const worst = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  let error = 0
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number]
    if (Object.is(x, y) || x === y || (Number.isNaN(x) && Number.isNaN(y))) continue
    const difference = Math.abs(x - y)
    error = Math.max(error, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference)
  }
  return error
}
const largest = (a: ArrayLike<number>) => Array.from(a).reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0)
/** One rounding of the output's precision (four in f32, where polynomial functions are good to a few units in the last place). */
const oneRounding = { f32: 4 * 2 ** -23, bf16: 2 ** -8, f16: 2 ** -11 }

function expectWithin(what: string, actual: Float64Array, exact: Arr['data'], low: Arr['data'], dtype: FloatCase, factor: number) {
  expect(actual.length, `${what}: size`).toBe(exact.length)
  const allowed = factor * worst(low, exact) + oneRounding[dtype] * largest(exact)
  const error = worst(actual, exact)
  expect(error, `${what}: error ${error}, allowed ${allowed}`).toBeLessThanOrEqual(allowed)
}

describe('every op', () => {
  it('has a cases file, and every cases file an op', () => {
    const covered = new Set(all.map(({ op }) => op.op))
    expect([...definedOps.keys()].filter(op => !covered.has(op))).toEqual([])
  })
})

for (const { op, cases } of all) {
  describe(op.op, () => {
    for (const test of cases) {
      const dtypes: readonly FloatCase[] = test.dtypes ?? ['f32', 'bf16']
      for (const dtype of dtypes.includes('bf16') ? [...dtypes, 'f16' as const] : dtypes) {
        const stream = new PhiloxStream(1, 0)
        const data = Object.fromEntries(
          Object.entries(test.inputs).map(([name, spec]) => [name, numbers(spec, spec.dtype ?? dtype, stream)]),
        )
        const upstream = (name: string, size: number) => numbers({ shape: [size] }, dtype, new PhiloxStream(2, name.length))
        for (const { name: deviceName, device, twins, f16 } of testDevices) {
          if (dtype === 'f16' && !f16) continue
          const skipped = test.skip?.device.test(deviceName) ? test.skip.reason : undefined
          it.skipIf(skipped !== undefined)(
            `${test.name} · ${dtype} · ${deviceName}${skipped ? ` (skipped: ${skipped})` : ''}`,
            async () => {
              const run = await runCase(device, test, op, dtype, data, upstream)
              const exact = evaluate(test, op, run, data, 'f64', upstream)
              const low = evaluate(test, op, run, data, dtype, upstream)
              for (const [name, arr] of Object.entries(exact.outputs)) {
                if (arr === undefined) continue
                expectWithin(`output ${name}`, run.outputs[name] as Float64Array, arr.data, (low.outputs[name] as Arr).data, dtype, 2)
              }
              for (const [name, gradient] of Object.entries(run.gradients))
                expectWithin(
                  `gradient of ${name}`,
                  gradient,
                  exact.gradients[name] as Float64Array,
                  low.gradients[name] as Float64Array,
                  dtype,
                  3,
                )
              const again = await runCase(device, test, op, dtype, data, upstream)
              expect(again.outputs).toEqual(run.outputs)
              expect(again.gradients).toEqual(run.gradients)
              for (const twin of twins) {
                const other = await runCase(twin, test, op, dtype, data, upstream)
                expect(other.outputs, `outputs, ${twin.reason}`).toEqual(run.outputs)
                expect(other.gradients, `gradients, ${twin.reason}`).toEqual(run.gradients)
              }
            },
          )
        }
        if (dtype === 'f32' && op.hasBackward && !test.noGradient) {
          it(`${test.name} · the reference's gradient agrees with finite differences`, async () => {
            const first = testDevices[0]
            if (first === undefined) return
            const run = await runCase(first.device, test, op, dtype, data, upstream)
            const exact = evaluate(test, op, run, data, 'f64', upstream)
            for (const [name, leaf] of Object.entries(exact.leaves)) {
              const gradient = exact.gradients[name] as Float64Array
              if (!(name in run.gradients) || gradient.length === 0) continue
              const direction = Float64Array.from(
                numbers({ shape: [gradient.length], fill: 'uniform' }, 'f64', new PhiloxStream(3, name.length)),
              )
              const start = Float64Array.from(leaf.data)
              const step = 1e-6 * Math.max(1e-3, largest(start))
              const at = (h: number) => {
                for (let i = 0; i < start.length; i++) leaf.data[i] = (start[i] as number) + h * (direction[i] as number)
                return exact.loss()
              }
              const slope = (at(step) - at(-step)) / (2 * step)
              leaf.data.set(start)
              const expected = gradient.reduce((total, g, i) => total + g * (direction[i] as number), 0)
              const size = gradient.reduce((total, g, i) => total + Math.abs(g * (direction[i] as number)), 0)
              expect(Math.abs(slope - expected), `gradient of ${name}: ${expected}, by differences ${slope}`).toBeLessThanOrEqual(
                1e-4 * Math.max(1e-2, size),
              )
            }
          })
        }
      }
    }
  })
}
