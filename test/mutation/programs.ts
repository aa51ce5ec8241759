/** What is run on a mutated kernel: every case of every op in each type, and the optimizer's steps, which have no cases. */
import { readdirSync } from 'node:fs'
import { AdamW, clipGradNorm } from '../../lib/optim/index.ts'
import { PhiloxStream } from '../../lib/random.ts'
import type { FloatCase, OpCases } from '../ops/cases.ts'
import { numbers, runCase } from '../ops/runCase.ts'
import { type Device, mul, scope, sum, tensor } from '../ops/surface.ts'

export interface Program {
  name: string
  /** All that the device computed. Rejects where the device says that a kernel is wrong. */
  run(device: Device): Promise<Record<string, Float64Array>>
}

function casePrograms({ op, cases }: OpCases): Program[] {
  return cases.flatMap(test => {
    if (test.skip?.device.test('simt')) return []
    const dtypes: readonly FloatCase[] = test.dtypes ?? ['f32', 'bf16']
    return dtypes.map(dtype => ({
      name: `${op.op} · ${test.name} · ${dtype}`,
      run: async (device: Device) => {
        const stream = new PhiloxStream(1, 0)
        const data = Object.fromEntries(
          Object.entries(test.inputs).map(([name, spec]) => [name, numbers(spec, spec.dtype ?? dtype, stream)]),
        )
        const upstream = (name: string, size: number) => numbers({ shape: [size] }, dtype, new PhiloxStream(2, name.length))
        const { outputs, gradients } = await runCase(device, test, op, dtype, data, upstream)
        return { ...outputs, ...Object.fromEntries(Object.entries(gradients).map(([name, g]) => [`gradient of ${name}`, g])) }
      },
    }))
  })
}

const optimizer: Program = {
  name: 'optimizer · clipGradNorm and AdamW over tensors of many sizes',
  run: device =>
    scope(async () => {
      const sizes = [1, 31, 32, 1000, 4099, 20000]
      const parameters = sizes.map(size =>
        tensor(
          Float32Array.from({ length: size }, (_, i) => Math.sin(i)),
          [size],
          { device },
        ).requireGrad(),
      )
      const adamw = new AdamW(parameters, { lr: 1e-2 })
      const norms: number[] = []
      for (let step = 0; step < 2; step++) {
        for (const parameter of parameters) sum(mul(parameter, parameter)).backward()
        norms.push(...(await clipGradNorm(parameters, 1).read()))
        adamw.step()
      }
      const values = await Promise.all(parameters.map(async parameter => Float64Array.from(await parameter.read())))
      return { norms: Float64Array.from(norms), ...Object.fromEntries(values.map((value, i) => [`parameter ${i}`, value])) }
    }),
}

export async function programs(): Promise<Program[]> {
  const folder = new URL('../ops/', import.meta.url)
  const files = readdirSync(folder).filter(file => file.endsWith('.cases.ts'))
  const cases = await Promise.all(files.map(async file => (await import(new URL(file, folder).href)).default as OpCases))
  return [...cases.flatMap(casePrograms), optimizer]
}
