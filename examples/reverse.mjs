// Trains a Transformer to say sequences backwards: the smallest task that needs everything a translator needs. Ctrl-C stops early and shows
// what has been learned so far.
//
//     node examples/reverse.mjs [steps]
import { device, seed } from 'tilewise'
import { Batches, packRagged } from 'tilewise/data'
import { greedy } from 'tilewise/generate'
import * as nn from 'tilewise/nn'
import { AdamW, clipGradNorm, cosine } from 'tilewise/optim'
import { train } from 'tilewise/train'

const steps = Number(process.argv[2] ?? 1000)
const letters = 'abcdefghijklmnopqrstuvwxyz'
const [BOS, EOS, A] = [0, 1, 2] // what begins an output, what ends a sequence, and the id of 'a'
const vocabulary = A + letters.length

const pick = limit => Math.floor(Math.random() * limit)
const text = ids => ids.map(id => letters[id - A]).join('')
const pair = () => {
  const source = Array.from({ length: 1 + pick(12) }, () => A + pick(letters.length))
  return { source, target: source.toReversed() }
}

seed(1)
const model = new nn.Transformer({
  ...{ dModel: 64, numHeads: 4, numEncoderLayers: 1, numDecoderLayers: 1, dFeedForward: 128, dropout: 0, norm: 'pre' },
  ...{ sourceVocab: vocabulary, targetVocab: vocabulary, positions: 'sinusoidal' },
})
console.log(`${model.summary()}\n\non ${device('auto').reason}`)

// Batches of 64 pairs, short and long ones mixed: sequences are ragged inside, so nothing is spent on padding.
const pairs = Array.from({ length: 64 * steps }, pair)
const batches = new Batches(pairs, { maxSentences: 64, maxTokens: 4096, bucketWidth: 1000, bos: BOS, eos: EOS })
const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

try {
  await train(model, {
    batches,
    epochs: 1,
    maxSteps: steps,
    optimizer: new AdamW(model.parameters(), { betas: [0.9, 0.98], weightDecay: 0 }),
    learningRate: cosine({ lr: 3e-3, warmup: Math.ceil(steps / 10), total: steps }),
    clip: parameters => clipGradNorm(parameters, 1),
    signal: stop.signal,
    onStep({ step, loss, gradientNorm }) {
      const line = `step ${step}/${steps}  loss ${loss.toFixed(3)}  gradient ${gradientNorm.toFixed(2)}`
      if (process.stdout.isTTY) process.stdout.write(`\r${line} `)
      else if (step % 100 === 0 || step === steps) console.log(line)
    },
  })
} catch (error) {
  if (!stop.signal.aborted) throw error
  console.log('\nstopped')
}

// Sequences that it has not seen: the model decodes them together.
model.eval()
const tests = Array.from({ length: 200 }, pair)
const outputs = await greedy(model, packRagged(tests.map(({ source }) => source)), { bos: BOS, eos: EOS, maxLengths: 20 })
const answer = outputs.map((output, i) => ({ said: text(output), asked: text(tests[i].source), expected: text(tests[i].target) }))
console.log()
for (const { said, asked, expected } of answer.slice(0, 5)) console.log(`${asked} → ${said} ${said === expected ? '✓' : `(${expected})`}`)
const right = answer.filter(({ said, expected }) => said === expected).length
console.log(`${((100 * right) / tests.length).toFixed(0)} % of ${tests.length} new sequences reversed without a mistake`)
model.dispose()
