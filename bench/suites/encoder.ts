/** One encoder layer of the paper's base size, dense and with ragged lengths. Ours takes packed rows; PyTorch takes padding and a key padding mask. */
import { type Device, type FloatDType, noGrad, Sequences, type Shape, scope, type Tensor, tensor } from '../../lib/index.ts'
import { TransformerEncoderLayer } from '../../lib/nn/index.ts'
import { randoms } from '../data.ts'
import { type Row, timed } from '../row.ts'
import { expectClose, shareWeights } from '../weights.ts'

const WIDTH = 512
const HEADS = 8
const HIDDEN = 2048
/** As nn.TransformerEncoderLayer's default. */
const DROPOUT = 0.1
const REAL_PART = 0.55

interface Shapes {
  readonly batch: number
  readonly tokens: number
}

/** Lengths from a fixed draw, even from 0.1 to 1 of `tokens`, the longest full; together 55 % of the places. */
export function raggedLengths({ batch, tokens }: Shapes): number[] {
  let state = 12345
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  const lengths = Array.from({ length: batch }, () => Math.max(1, Math.round(tokens * (0.1 + 0.9 * uniform()))))
  lengths[0] = tokens
  const wanted = Math.round(REAL_PART * batch * tokens)
  for (let i = 1, missing = wanted - lengths.reduce((sum, length) => sum + length, 0); missing !== 0; i = (i % (batch - 1)) + 1) {
    const length = lengths[i] as number
    const next = Math.min(tokens, Math.max(1, length + Math.sign(missing)))
    missing -= next - length
    lengths[i] = next
  }
  return lengths
}

/** Mean of |y| over the real tokens for an input that both sides can make: equal only with equal weights and masks. */
async function signature(
  device: Device,
  forward: (x: Tensor) => Tensor,
  { batch, tokens }: Shapes,
  lengths: readonly number[] | undefined,
) {
  const kept: number[] = []
  for (let b = 0; b < batch; b++)
    for (let i = 0; i < (lengths?.[b] ?? tokens) * WIDTH; i++) kept.push(Math.fround(Math.sin(b * tokens * WIDTH + i)))
  const shape = lengths ? [kept.length / WIDTH, WIDTH] : [batch, tokens, WIDTH]
  using x = tensor(Float32Array.from(kept), shape, { device })
  using y = scope(() => noGrad(() => forward(x)))
  let sum = 0
  const values = (await y.read()) as Float32Array
  for (const value of values) sum += Math.abs(value)
  return sum / values.length
}

function row(shapes: Shapes, dtype: FloatDType, backward: boolean, ragged: boolean): Row {
  const { batch, tokens } = shapes
  const lengths = ragged ? raggedLengths(shapes) : undefined
  const real = lengths?.reduce((sum, length) => sum + length, 0) ?? batch * tokens
  return {
    name: `layer ${batch}×${tokens}${ragged ? ', 45 % padding' : ''}, ${backward ? 'forward+backward' : 'forward'}`,
    dtype,
    unit: 'ms',
    work: { amount: real, unit: 'tokens/s' },
    twin: {
      name: 'encoder.layer',
      args: { batch, tokens, width: WIDTH, heads: HEADS, hidden: HIDDEN, dropout: DROPOUT, backward, ...(lengths ? { lengths } : {}) },
    },
    async prepare(device) {
      const layer = new TransformerEncoderLayer({ dModel: WIDTH, numHeads: HEADS, dFeedForward: HIDDEN, dropout: DROPOUT }, { device })
      const { weights, remove } = await shareWeights(layer)
      const sequences = lengths && Sequences.of(lengths, device)
      const forward = (x: Tensor) => layer.forward<Shape>(x as never, sequences ? { sequences } : {}) as Tensor
      layer.eval()
      const mean = await signature(device, forward, shapes, lengths)
      if (dtype !== 'f32') layer.to(dtype)
      const shape = ragged ? [real, WIDTH] : [batch, tokens, WIDTH]
      const random = randoms(device, dtype)
      const [x, dy] = [random(shape), random(shape)]
      if (backward) {
        layer.train()
        x.requireGrad()
      }
      const evaluate = () => scope(() => void noGrad(() => forward(x)))
      const train = () => scope(() => forward(x).backward(dy))
      return timed(device, backward ? train : evaluate, {
        shared: { weights },
        answers: { mean: [mean] },
        dispose: () => {
          remove()
          layer.dispose()
          sequences?.dispose()
          for (const used of [x, dy]) used.dispose()
        },
      })
    },
    verify: (ours, theirs) => expectClose('the mean of the outputs', ours.mean, theirs.mean, 1e-4),
  }
}

export function rows(): Row[] {
  const shapes: Shapes[] = [
    { batch: 32, tokens: 64 },
    { batch: 8, tokens: 512 },
  ]
  return [false, true].flatMap(ragged =>
    shapes.flatMap(each => (['f32', 'bf16'] as const).flatMap(dtype => [false, true].map(backward => row(each, dtype, backward, ragged)))),
  )
}
