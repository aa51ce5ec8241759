/** Runs one case of an op on a device, and its reference: what the suite of cases and the mutation check share. */
import { observeOps } from '../../lib/autograd/defineOp.ts'
import { backward } from '../../lib/autograd/tape.ts'
import type { PhiloxStream } from '../../lib/random.ts'
import { type Arr, Float64Engine, roundings, sizeOf } from '../reference/float64.ts'
import type { FloatCase, InputSpec, OpCase, OpCases } from './cases.ts'
import { add, type Device, isFloatTensor, mul, scope, seed, sum, type Tensor, tensor } from './surface.ts'

export function numbers(spec: InputSpec, dtype: string, stream: PhiloxStream): number[] {
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

export interface Run {
  outputs: Record<string, Float64Array>
  gradients: Record<string, Float64Array>
  args: Record<string, unknown>
  tensors: Map<Tensor, string>
}

/** One call on a device, and its backward with the given upstream gradients. */
export async function runCase(
  device: Device,
  test: OpCase,
  op: OpCases['op'],
  dtype: FloatCase,
  data: Record<string, number[]>,
  upstream: (name: string, size: number) => number[],
): Promise<Run> {
  seed(7)
  const run = await scope(async () => {
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
    for (const [name, leaf] of Object.entries(leaves)) {
      if (!leaf.grad) continue
      result.gradients[name] = Float64Array.from(await leaf.grad.read())
      leaf.grad.dispose() // no scope frees a gradient
    }
    return result
  })
  // A scope keeps what is returned: of these only shapes are looked at from here on.
  for (const tensor of [...run.tensors.keys(), ...Object.values(run.args)])
    if (tensor && typeof tensor === 'object' && 'dispose' in tensor) (tensor as Tensor).dispose()
  return run
}

/** The reference in one precision: outputs and gradients by name. */
export function evaluate(
  test: OpCase,
  op: OpCases['op'],
  run: Run,
  data: Record<string, number[]>,
  rounding: 'f64' | FloatCase,
  upstream: (name: string, size: number) => number[],
) {
  const engine = new Float64Engine(roundings[rounding])
  const leaves: Record<string, Arr> = {}
  let looked = false
  for (const [name, spec] of Object.entries(test.inputs)) leaves[name] = engine.leaf(data[name] as number[], spec.shape)
  const forward = (): Record<string, Arr | undefined> => {
    if (test.reference) return test.reference(engine, leaves)
    const args: Record<string, unknown> = {}
    for (const [name, value] of Object.entries(run.args)) {
      const input = run.tensors.get(value as Tensor)
      if (input !== undefined) args[name] = leaves[input]
      else if (value && typeof value === 'object' && 'read' in value)
        args[name] = Object.defineProperty(engine.leaf(run.outputs[name] as Float64Array, (value as Tensor).shape), 'data', {
          get() {
            looked = true
            return run.outputs[name]
          },
        })
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
    /** Whether the reference looked at what the device has computed: then it is of that run alone. */
    looked,
  }
}
