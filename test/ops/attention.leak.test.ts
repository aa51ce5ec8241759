/**
 * What a mask hides does not reach the result, whatever options it comes with: a key or value is changed, and exactly the rows that may see it
 * change, bit by bit. Gradients likewise: what flows into one row comes back to exactly the keys that it sees.
 */
import { describe, expect, it } from 'vitest'
import { attention, type Device, Mask, Sequences, scope, seed, type Tensor, tensor } from '../../lib/index.ts'
import { PhiloxStream } from '../../lib/random.ts'
import { testDevices } from '../devices.ts'

const heads = 4
const kvHeads = 2
const dim = 4

interface Options {
  causal: boolean
  window: readonly [number, number] | undefined
  keyLength: number | undefined
  keep: 'none' | 'keys' | 'heads and queries'
  bias: 'none' | 'some -inf'
  extraKeys: number
  dropout: number
  ragged: boolean
  sizes: readonly [tq: number, tk: number]
}

const choices: { [K in keyof Options]: readonly Options[K][] } = {
  causal: [false, true],
  window: [undefined, [3, 2]],
  keyLength: [undefined, 5],
  keep: ['none', 'keys', 'heads and queries'],
  bias: ['none', 'some -inf'],
  extraKeys: [0, 1],
  dropout: [0, 0.4],
  ragged: [false, true],
  sizes: [
    [6, 6],
    [3, 9],
    [9, 4],
    [66, 67],
    [7, 130],
  ],
}

/** Every combination. */
function lattice(): Options[] {
  let all: Partial<Options>[] = [{}]
  for (const [key, values] of Object.entries(choices)) all = all.flatMap(some => values.map(value => ({ ...some, [key]: value })))
  return all as Options[]
}

const numbers = (count: number, counter: number, low = -1, high = 1) => {
  const stream = new PhiloxStream(11, counter)
  return Float32Array.from({ length: count }, () => low + (high - low) * stream.uniform())
}

/** The masks of one combination as numbers, [H, Tq, Tk]. */
function masksOf(o: Options) {
  const [tq, tk] = o.sizes
  const masked = tk - o.extraKeys
  const draws = numbers(heads * tq * masked, 3, 0, 1)
  const hiddenByBias = numbers(tq * masked, 4, 0, 1).map(x => (x < 0.2 ? Number.NEGATIVE_INFINITY : x))
  const keep = {
    none: undefined,
    keys: Uint8Array.from(draws.subarray(0, masked), x => Number(x > 0.3)),
    'heads and queries': Uint8Array.from(draws, x => Number(x > 0.3)),
  }[o.keep]
  const bias = o.bias === 'none' ? undefined : hiddenByBias
  const sees = (h: number, i: number, j: number): boolean => {
    if (j >= masked) return true
    const own = i + masked - tq
    if (o.causal && j > own) return false
    if (o.window && (j < own - o.window[0] || j > own + o.window[1])) return false
    if (o.keyLength !== undefined && j >= Math.min(o.keyLength, masked)) return false
    if (keep && keep[o.keep === 'keys' ? j : (h * tq + i) * masked + j] === 0) return false
    return !(bias && bias[i * masked + j] === Number.NEGATIVE_INFINITY)
  }
  return { keep, bias, sees, masked }
}

function maskOf(o: Options, batch: number, device: Device): Mask | undefined {
  const [tq] = o.sizes
  const { keep, bias, masked } = masksOf(o)
  const parts: Mask[] = []
  if (o.causal) parts.push(Mask.causal())
  if (o.window) parts.push(Mask.window(...o.window))
  if (o.keyLength !== undefined) parts.push(Mask.keyLengths(new Int32Array(batch).fill(Math.min(o.keyLength, masked))))
  if (keep) parts.push(Mask.keep(tensor(keep, o.keep === 'keys' ? [masked] : [heads, tq, masked], { device })))
  if (bias) parts.push(Mask.bias(tensor(bias, [tq, masked], { device })))
  return parts.reduce<Mask | undefined>((all, mask) => all?.and(mask) ?? mask, undefined)
}

/** q, k and v for `batch` copies of one sequence, `change` applied to copy b of k and v. */
function inputsOf(o: Options, batch: number, device: Device, change: (b: number, rows: Float32Array) => void) {
  const [tq, tk] = o.sizes
  const copies = (length: number, count: number, counter: number, changed: boolean) => {
    const one = numbers(length * count * dim, counter)
    const all = new Float32Array(batch * one.length)
    for (let b = 0; b < batch; b++) {
      const copy = all.subarray(b * one.length, (b + 1) * one.length)
      copy.set(one)
      if (changed) change(b, copy)
    }
    const shape = o.ragged ? [batch * length, count, dim] : [batch, length, count, dim]
    return tensor(all, shape, { device })
  }
  const options = {
    mask: maskOf(o, batch, device),
    extraKeys: o.extraKeys,
    dropout: o.dropout,
    sequences: o.ragged
      ? {
          q: Sequences.of(new Array(batch).fill(tq) as number[], device),
          k: Sequences.of(new Array(batch).fill(tk) as number[], device),
        }
      : undefined,
  }
  return { q: copies(tq, heads, 0, false), k: copies(tk, kvHeads, 1, true), v: copies(tk, kvHeads, 2, true), options }
}

const addTo = (rows: Float32Array, j: number) => {
  for (let at = j * kvHeads * dim; at < (j + 1) * kvHeads * dim; at++) rows[at] = (rows[at] as number) + 0.75
}

/** Output and log-sum-exp of rows (i, h) of each copy, as the bits that they are. */
async function rowsOf(o: Options, output: Tensor, logSumExp: Tensor, batch: number) {
  const [tq] = o.sizes
  const [y, l] = [Float32Array.from(await output.read()), await logSumExp.read()]
  const bits = (b: number, row: number) => {
    const at = b * tq * heads + row
    return Buffer.from(Float32Array.of(...y.subarray(at * dim, (at + 1) * dim), l[at] as number).buffer).toString('hex')
  }
  return Array.from({ length: batch }, (_, b) => Array.from({ length: tq * heads }, (_, row) => bits(b, row)))
}

/** Rows [i, h] by key j: which differ from the unchanged call. */
async function changedRows(o: Options, device: Device): Promise<boolean[][]> {
  const [, tk] = o.sizes
  // Dropout depends on the place in the batch, so each changed key then needs a call of its own.
  if (o.dropout > 0) {
    const runs: string[][] = []
    for (let j = -1; j < tk; j++) {
      seed(5)
      const { q, k, v, options } = inputsOf(o, 1, device, (_, rows) => j >= 0 && addTo(rows, j))
      const { output, logSumExp } = attention(q, k, v, options)
      runs.push(...(await rowsOf(o, output, logSumExp, 1)))
    }
    return runs.slice(1).map(run => run.map((bits, row) => bits !== runs[0]?.[row]))
  }
  const { q, k, v, options } = inputsOf(o, tk + 1, device, (b, rows) => b > 0 && addTo(rows, b - 1))
  const { output, logSumExp } = attention(q, k, v, options)
  const runs = await rowsOf(o, output, logSumExp, tk + 1)
  return runs.slice(1).map(run => run.map((bits, row) => bits !== runs[0]?.[row]))
}

/** Keys that a gradient into row i alone (all heads) comes back to, [i][j], by dk or dv of any head. */
async function reachedKeys(o: Options, device: Device): Promise<boolean[][]> {
  const [tq, tk] = o.sizes
  const { q, k, v, options } = inputsOf(o, tq, device, () => {})
  for (const x of [q, k, v]) x.requireGrad()
  const { output } = attention(q, k, v, options)
  const upstream = new Float32Array(tq * tq * heads * dim)
  for (let b = 0; b < tq; b++) upstream.fill(1, (b * tq + b) * heads * dim, (b * tq + b + 1) * heads * dim)
  output.backward(tensor(upstream, output.shape, { device }))
  const [dk, dv] = [Float32Array.from(await (k.grad as Tensor).read()), Float32Array.from(await (v.grad as Tensor).read())]
  const width = kvHeads * dim
  const touched = (from: Float32Array, b: number, j: number) =>
    from.subarray((b * tk + j) * width, (b * tk + j + 1) * width).some(x => x !== 0)
  return Array.from({ length: tq }, (_, b) => Array.from({ length: tk }, (_, j) => touched(dk, b, j) || touched(dv, b, j)))
}

const small = ({ sizes: [tq, tk] }: Pick<Options, 'sizes'>) => tq < 60 && tk < 100

for (const [index, { name, device }] of testDevices.entries()) {
  // The text is the same on all instruction sets; the others see a part of the lattice, and the machine of fibers a smaller one (11 and 61
  // share no factor with the numbers of choices).
  const step = name === 'simt' ? 61 : index === 0 ? 1 : 11
  const all = lattice().filter((_, i) => i % step === 0)
  describe(name, () => {
    for (const sizes of choices.sizes) {
      const some = all.filter(o => o.sizes === sizes)
      it(`a changed key reaches exactly the rows that see it, ${sizes[0]} queries and ${sizes[1]} keys, ${some.length} combinations`, async () => {
        for (const o of small({ sizes }) ? some : some.filter(({ dropout }) => dropout === 0)) {
          const { sees } = masksOf(o)
          const changed = await scope(() => changedRows(o, device))
          const expected = changed.map((run, j) => run.map((_, row) => sees(row % heads, Math.floor(row / heads), j)))
          expect(changed, JSON.stringify(o)).toEqual(expected)
        }
      }, 120_000)
    }
    it('a gradient comes back to exactly the keys that its row sees', async () => {
      for (const o of all.filter(o => o.dropout === 0)) {
        const { sees } = masksOf(o)
        const reached = await scope(() => reachedKeys(o, device))
        const expected = reached.map((keys, i) => keys.map((_, j) => [0, 1, 2, 3].some(h => sees(h, i, j))))
        expect(reached, JSON.stringify(o)).toEqual(expected)
      }
    }, 120_000)
  })
}
