// A translator inside a Node.js program. Give it a folder that `tilewise train` or the quickstart has made, and sentences; without a folder it
// trains a small one first, in a few seconds.
//
//     node examples/translate.mjs [folder] [sentence …]
import { englishChinese } from 'tilewise/data'
import { Translator, trainTranslator } from 'tilewise/models'

const [folder, ...given] = process.argv.slice(2)
const sentences = given.length > 0 ? given : ['My mother bought two red apples yesterday.', 'Does Tom want to drink tea at home?']

const translator = folder === undefined ? await small() : await Translator.load(folder)
const { dModel, numEncoderLayers, numDecoderLayers, sourceVocab, targetVocab } = translator.config
console.log(
  `${numEncoderLayers}+${numDecoderLayers} layers, ${dModel} wide, ${sourceVocab} → ${targetVocab} tokens, on ${translator.device.kind}`,
)

// Sentences of one call are decoded together, and two calls may run side by side: a server translates what arrives, as it arrives. The event
// loop is never blocked. `signal` ends a call early.
const signal = AbortSignal.timeout(60_000)
const [first, again] = await Promise.all([translator.translate(sentences, { signal }), translator.translate(sentences.slice(0, 1))])
for (const [i, sentence] of sentences.entries()) console.log(`${sentence}\n    ${first[i]}`)
console.log(first[0] === again[0] ? 'the same alone and in company' : `alone it is ${again[0]}`)

const { live, peak } = translator.device.memory()
translator.dispose()
await translator.device.synchronize()
console.log(`${live} bytes of device memory while it lived, ${peak} at most, ${translator.device.memory().live} now`)

/** Some English-Chinese pairs, and a model small enough to wait for. */
async function small() {
  const { train } = englishChinese({ pairs: 6000, validation: 100, test: 100, seed: 1 })
  const { translator } = await trainTranslator({
    pairs: train,
    config: { dModel: 64, numHeads: 4, numEncoderLayers: 1, numDecoderLayers: 1, dropout: 0 },
    tokenizers: { lowercase: true },
    epochs: 4,
    maxTokens: 1024,
    ...(process.env.TILEWISE_STEPS && { maxSteps: Number(process.env.TILEWISE_STEPS) }), // how the tests make it short
    lr: 5e-3,
    reporter: { epoch: ({ epoch, loss, seconds }) => console.log(`epoch ${epoch}: loss ${loss.toFixed(2)}, ${seconds.toFixed(0)} s`) },
  })
  return translator
}
