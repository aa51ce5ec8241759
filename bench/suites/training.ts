/** One training step of a whole translation model: forward, smoothed cross-entropy, backward, AdamW. */
import { type FloatDType, noGrad, scope } from '../../lib/index.ts'
import { AdamW } from '../../lib/optim/index.ts'
import { randomIds } from '../data.ts'
import { type Row, timed } from '../row.ts'
import { BATCH, makeModel, modelArguments, type Size, SOURCE_TOKENS, sentences, sizeName, sizes, TARGET_TOKENS } from '../translation.ts'
import { expectClose, shareWeights } from '../weights.ts'

const LABEL_SMOOTHING = 0.1

function row(size: Size, dtype: FloatDType, dropout: number): Row {
  const source = sentences('source')
  const target = sentences('target')
  const labels = randomIds(target.ids.length, 6000)
  const args = { source: [...source.ids], target: [...target.ids], labels: [...labels] }
  return {
    name: `step ${sizeName(size)}, batch ${BATCH}, ${SOURCE_TOKENS}+${TARGET_TOKENS} tokens, dropout ${dropout}`,
    dtype,
    unit: 'ms',
    work: { amount: source.ids.length + target.ids.length, unit: 'tokens/s' },
    twin: {
      name: 'translation.step',
      args: { ...args, batch: BATCH, label_smoothing: LABEL_SMOOTHING, ...modelArguments(size, dropout) },
    },
    async prepare(device) {
      const model = makeModel(size, dropout, device)
      const { weights, remove } = await shareWeights(model)
      const batch = { source, target, labels }
      const lossOf = () => model.loss(batch, { labelSmoothing: LABEL_SMOOTHING })
      model.eval()
      using first = scope(() => noGrad(lossOf))
      const [loss] = (await first.read()) as Float32Array
      if (dtype !== 'f32') model.to(dtype)
      model.train()
      const optimizer = new AdamW(model.parameters(), { lr: 1e-4, betas: [0.9, 0.98], eps: 1e-9, weightDecay: 0.01 })
      const step = () =>
        scope(() => {
          lossOf().backward()
          optimizer.step()
        })
      return timed(device, step, {
        shared: { weights },
        answers: { loss: [loss as number] },
        dispose: () => {
          remove()
          optimizer.dispose()
          model.dispose()
        },
      })
    },
    verify: (ours, theirs) => expectClose('the first loss', ours.loss, theirs.loss, 1e-4),
  }
}

export function rows(): Row[] {
  return sizes.flatMap(size => (['f32', 'bf16'] as const).flatMap(dtype => [0.1, 0].map(dropout => row(size, dtype, dropout))))
}
