/** PyTorch's fixtures as tensors and modules of ours. */
import { expect } from 'vitest'
import { type Device, type Tensor, tensor } from '../../lib/index.ts'
import type { Module } from '../../lib/nn/index.ts'
import type { Fixture, FixtureCase } from '../fixtures/fixture.ts'

export class CaseTensors {
  readonly leaves = new Map<string, Tensor>()

  constructor(
    readonly fixture: Fixture,
    readonly test: FixtureCase,
    readonly device: Device,
  ) {}

  has(name: string): boolean {
    return this.fixture.tensors.has(`${this.test.name}/${name}`)
  }

  /** A tensor of the case: the same one for the same name; a leaf that collects a gradient if the case has one for it. */
  get(name: string): Tensor {
    const known = this.leaves.get(name)
    if (known) return known
    const { shape, data } = this.fixture.tensor(this.test.name, name)
    const made = tensor(data, shape, { device: this.device })
    if (this.has(`grad_input/${name}`)) made.requireGrad()
    this.leaves.set(name, made)
    return made
  }

  /** Loads the case's weights into a module. `keys` renames PyTorch's. */
  load(module: Module, keys: (key: string) => string = key => key): void {
    const prefix = `${this.test.name}/state/`
    const state = new Map<string, Tensor>()
    for (const [name, { shape, data }] of this.fixture.tensors)
      if (name.startsWith(prefix)) state.set(keys(name.slice(prefix.length)), tensor(data, shape, { device: this.device }))
    module.loadStateDict(state)
  }

  /** Compares all gradients of the case. */
  async expectGradients(module: Module, keys: (key: string) => string = key => key, slack = 0): Promise<void> {
    const parameters = module.namedParameters()
    for (const name of this.test.gradients ?? []) {
      const owner = name.startsWith('grad/')
        ? parameters.get(keys(name.slice('grad/'.length)))
        : this.leaves.get(name.slice('grad_input/'.length))
      await this.expectClose(owner?.grad, name, { slack })
    }
  }

  /** Compares a tensor with the case's; `rows`: which rows (all dimensions but the last) count, the others must be 0; `slack`: see `expectNear`. */
  async expectClose(
    actual: Tensor | undefined,
    name: string,
    { rows, slack = 0 }: { rows?: (row: number) => boolean; slack?: number } = {},
  ): Promise<void> {
    if (actual === undefined) throw new Error(`${this.test.name}: ${name} was not computed`)
    const { shape, data } = this.fixture.tensor(this.test.name, name)
    expect(actual.shape, `${this.test.name}: shape of ${name}`).toEqual(shape)
    const width = shape.at(-1) as number
    const expected = rows ? data.map((value, i) => (rows(Math.floor(i / width)) ? value : 0)) : data
    expectNear(`${this.test.name}: ${name}`, await actual.read(), expected, {
      factor: name === 'output' || name === 'weights' ? 2 : 3,
      yardstick: this.test.float32Error?.[name] ?? 0,
      // GPU devices multiply factors of 22 bits, not 24 (docs/numerics.md).
      bits: actual.device.kind === 'cpu' ? 24 : 22,
      slack,
    })
  }
}

/**
 * An error of f32 may be `factor` times that of PyTorch's own f32 (2 forward, 3 backward), plus 16 units in the last place of the largest number: the
 * yardstick is one computation's luck. `bits`: of the factors of products, where that is not f32's 24. `slack`: a known larger error, relative to the
 * largest number.
 */
export function expectNear(
  name: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { factor, yardstick, bits = 24, slack = 0 }: { factor: number; yardstick: number; bits?: number; slack?: number },
): void {
  expect(actual.length, name).toBe(expected.length)
  let largest = 0
  let error = 0
  for (let i = 0; i < expected.length; i++) {
    const exact = expected[i] as number
    largest = Math.max(largest, Math.abs(exact))
    const difference = Math.abs((actual[i] as number) - exact)
    error = Math.max(error, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference)
  }
  const allowed = factor * yardstick + (16 * 2 ** (1 - bits) + slack) * Math.max(largest, 2 ** -6)
  expect(error, `${name}: error ${error}, allowed ${allowed}`).toBeLessThanOrEqual(allowed)
}
