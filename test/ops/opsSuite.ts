/**
 * Every case of every op, on every device: forward and gradient against the float64 reference, within the rule of docs/numerics.md; the
 * reference's own gradient against finite differences; the same bits when run twice.
 */
import { readdirSync } from 'node:fs'
import { describe, expect, inject, it } from 'vitest'
import { definedOps } from '../../lib/autograd/defineOp.ts'
import { PhiloxStream } from '../../lib/random.ts'
import type { TestDevice } from '../devices.ts'
import { allowed, deviations, elements, largest, share, together } from './accuracy.ts'
import type { FloatCase, OpCase, OpCases } from './cases.ts'
import { evaluate, numbers, type Run, runCase } from './runCase.ts'

/** What `npm run test:gpu` asks of the suite. Without it every case runs, on the same numbers every time. */
export interface Draw {
  /** Of the inputs. */
  seed: number
  /** Which cases, so that several processes share them: those whose number, counted through all ops, leaves `part` when divided by `parts`. */
  part: number
  parts: number
  /** Two small cases an op. */
  quick: boolean
}
/** The output or gradient of a case that came nearest to the allowed error. */
export interface Accuracy {
  op: string
  dtype: FloatCase
  what: string
  error: number
  allowed: number
}
declare module 'vitest' {
  export interface ProvidedContext {
    ops: Draw
  }
  interface TaskMeta {
    accuracy?: Accuracy
  }
}
const asked = inject('ops') as Draw | undefined
const draw: Draw = asked ?? { seed: 1, part: 0, parts: 1, quick: false }
/** Where inputs are new in every run: draws that are made together before one is called wrong. */
const DRAWS = 8
const SMALL = 4096

const here = new URL('.', import.meta.url)
const files = readdirSync(here).filter(file => file.endsWith('.cases.ts'))
const all: OpCases[] = await Promise.all(files.map(async file => (await import(new URL(file, here).href)).default as OpCases))

let counted = 0
/** Of an op's cases those that this run takes. */
function chosen(cases: readonly OpCase[]): readonly OpCase[] {
  const wanted = draw.quick ? cases.filter(test => elements(test) > 0 && elements(test) <= SMALL).slice(0, 2) : cases
  return wanted.filter(() => counted++ % draw.parts === draw.part)
}

/** Inputs and upstream gradients of a case. */
function drawn(test: OpCase, dtype: FloatCase, seed: number) {
  const stream = new PhiloxStream(seed, 0)
  return {
    data: Object.fromEntries(Object.entries(test.inputs).map(([name, spec]) => [name, numbers(spec, spec.dtype ?? dtype, stream)])),
    upstream: (name: string, size: number) => numbers({ shape: [size] }, dtype, new PhiloxStream(seed + 1, name.length)),
  }
}

/** Expects the same numbers in both. Their bytes are looked at first: to compare a million elements one by one takes toEqual a second. */
function expectEqual(actual: Run['outputs'], expected: Run['outputs'], what: string): void {
  const bytes = ({ buffer, byteOffset, byteLength }: Float64Array) => Buffer.from(buffer, byteOffset, byteLength)
  const names = Object.keys(expected)
  const same = names.every(name => actual[name] !== undefined && bytes(actual[name]).equals(bytes(expected[name] as Float64Array)))
  if (!same || Object.keys(actual).length !== names.length) expect(actual, what).toEqual(expected)
}

/** The suite on these devices. The files that call it run beside each other. */
export function opsSuite(devices: readonly TestDevice[]): void {
  if (devices.length === 0) {
    it.skip('no device of this kind is asked for', () => {})
    return
  }
  describe('every op', () => {
    it('has a cases file, and every cases file an op', () => {
      const covered = new Set(all.map(({ op }) => op.op))
      expect([...definedOps.keys()].filter(op => !covered.has(op))).toEqual([])
    })
  })

  for (const { op, cases } of all) {
    const taken = chosen(cases)
    if (taken.length === 0) continue
    describe(op.op, () => {
      for (const test of taken) {
        const dtypes: readonly FloatCase[] = test.dtypes ?? ['f32', 'bf16']
        for (const dtype of dtypes.includes('bf16') ? [...dtypes, 'f16' as const] : dtypes) {
          const { data, upstream } = drawn(test, dtype, draw.seed)
          for (const { name: deviceName, device, twins, f16 } of devices) {
            if (dtype === 'f16' && !f16) continue
            const skipped = test.skip?.device.test(deviceName) ? test.skip.reason : undefined
            it.skipIf(skipped !== undefined)(
              `${test.name} · ${dtype} · ${deviceName}${skipped ? ` (skipped: ${skipped})` : ''}`,
              async ({ task }) => {
                const run = await runCase(device, test, op, dtype, data, upstream)
                const draws = [deviations(test, op, run, dtype, data, upstream)]
                while (asked && draws.length < DRAWS && together(draws).some(each => !(share(each) <= 1))) {
                  const more = drawn(test, dtype, draw.seed + 1000 * draws.length)
                  const other = await runCase(device, test, op, dtype, more.data, more.upstream)
                  draws.push(deviations(test, op, other, dtype, more.data, more.upstream))
                }
                const found = together(draws).sort((a, b) => share(b) - share(a))
                for (const each of found)
                  expect(each.error, `${each.what}: error ${each.error}, allowed ${allowed(each)}`).toBeLessThanOrEqual(allowed(each))
                const [{ what, error } = { what: 'nothing', error: 0 }] = found
                if (found[0]) task.meta.accuracy = { op: op.op, dtype, what: `${test.name}, ${what}`, error, allowed: allowed(found[0]) }
                const again = await runCase(device, test, op, dtype, data, upstream)
                expectEqual(again.outputs, run.outputs, 'outputs, again')
                expectEqual(again.gradients, run.gradients, 'gradients, again')
                for (const twin of twins) {
                  const other = await runCase(twin, test, op, dtype, data, upstream)
                  expectEqual(other.outputs, run.outputs, `outputs, ${twin.reason}`)
                  expectEqual(other.gradients, run.gradients, `gradients, ${twin.reason}`)
                }
              },
            )
          }
          // The reference itself, which no device changes; and a difference over a kink, which a new draw may meet, says nothing.
          if (!asked && dtype === 'f32' && op.hasBackward && !test.noGradient) {
            it(`${test.name} · the reference's gradient agrees with finite differences`, async () => {
              const first = devices[0]
              if (first === undefined) return
              const run = await runCase(first.device, test, op, dtype, data, upstream)
              const exact = evaluate(test, op, run, data, 'f64', upstream)
              for (const [name, leaf] of Object.entries(exact.leaves)) {
                const gradient = exact.gradients[name] as Float64Array
                if (!(name in run.gradients) || gradient.length === 0) continue
                const direction = Float64Array.from(
                  numbers({ shape: [gradient.length], fill: 'uniform' }, 'f64', new PhiloxStream(draw.seed + 2, name.length)),
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
}
