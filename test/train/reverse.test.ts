import { expect, it } from 'vitest'
import { Batches, packRagged, type TokenizedPair } from '../../lib/data/batches.ts'
import { greedy } from '../../lib/generate/greedy.ts'
import { device, seed } from '../../lib/index.ts'
import { Transformer } from '../../lib/nn/index.ts'
import { AdamW, clipGradNorm, cosine } from '../../lib/optim/index.ts'
import { hostCounter, PhiloxStream } from '../../lib/random.ts'
import { train } from '../../lib/train/trainer.ts'

const BOS = 0
const EOS = 1
const SYMBOLS = 50
const STEPS = 1500
const BATCH = 64

/** Sequences of 1 to 25 symbols, and the same backwards. */
function pairs(count: number, stream: PhiloxStream): TokenizedPair[] {
  return Array.from({ length: count }, () => {
    const source = Array.from({ length: 1 + stream.int(25) }, () => 2 + stream.int(SYMBOLS))
    return { source, target: source.toReversed() }
  })
}

// Needs everything that a translator needs: positions on both sides, cross-attention that finds one place, and an end at the right time.
it('learns to reverse sequences in 1,500 steps', { timeout: 600_000 }, async () => {
  const cpu = device('cpu')
  seed(1)
  const model = new Transformer(
    {
      ...{ dModel: 128, numHeads: 4, numEncoderLayers: 2, numDecoderLayers: 2, dFeedForward: 256, dropout: 0, norm: 'pre' },
      ...{ sourceVocab: SYMBOLS + 2, targetVocab: SYMBOLS + 2, positions: 'sinusoidal' },
    },
    { device: cpu },
  )
  const data = pairs(STEPS * BATCH, new PhiloxStream(1, hostCounter('user')))
  // Lengths mixed in every batch: without padding it costs nothing.
  const batches = new Batches(data, {
    maxTokens: BATCH * 60,
    maxSentences: BATCH,
    bucketWidth: 1000,
    bos: BOS,
    eos: EOS,
    appendSourceEos: EOS,
  })
  const optimizer = new AdamW(model.parameters(), { betas: [0.9, 0.98], eps: 1e-9, weightDecay: 0 })
  let steps = 0
  await train(model, {
    batches,
    optimizer,
    learningRate: cosine({ lr: 1e-3, warmup: 100, total: STEPS }),
    epochs: 1,
    labelSmoothing: 0.1,
    clip: parameters => clipGradNorm(parameters, 1),
    onStep: report => {
      steps = report.step
    },
  })
  expect(steps).toBe(STEPS)
  model.eval()
  const unseen = pairs(500, new PhiloxStream(2, hostCounter('user')))
  const outputs = await greedy(
    model,
    packRagged(
      unseen.map(pair => pair.source),
      { after: EOS },
    ),
    { bos: BOS, eos: EOS, maxLengths: 30 },
  )
  const right = outputs.filter((output, i) => output.join() === Array.from(unseen[i]!.target).join()).length
  expect(right / unseen.length).toBeGreaterThanOrEqual(0.95)
  model.dispose()
})
