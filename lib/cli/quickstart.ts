import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { exitCodes } from './exit.ts'
import { interrupt } from './interrupt.ts'
import { type DeviceChoice, integer, openDevice, show, since, withDevice } from './options.ts'

interface QuickstartArguments extends DeviceChoice {
  short?: true
  out: string
  seed: number
}

/** Sizes found by measurement: the long form reaches its score with room to spare, the short one shows that training works. */
const forms = {
  long: {
    pairs: 24_000,
    held: 500,
    epochs: 3,
    maxTokens: 1024,
    config: { dModel: 128, numHeads: 4, numEncoderLayers: 2, numDecoderLayers: 2, dropout: 0 },
    lr: 3e-3,
    leastBleu: 60,
  },
  short: {
    pairs: 4_000,
    held: 100,
    epochs: 1,
    maxTokens: 1024,
    config: { dModel: 64, numHeads: 4, numEncoderLayers: 1, numDecoderLayers: 1, dropout: 0 },
    lr: 5e-3,
    leastBleu: 0,
  },
} as const

/** In the short form, the loss at the end is at most this part of the loss at the start. */
const CLEARLY_FALLEN = 0.6

/** English that the corpus can say; whether it is among the pairs trained on does not matter here. */
const sentences = ['My mother bought two red apples yesterday.', 'Does Tom want to drink tea at home?']

export function quickstartCommand(): Command {
  const command = new Command('quickstart')
    .description(
      'Make an English-Chinese corpus, train a translator on it, measure it, and translate two sentences. Takes less than three minutes.',
    )
    .option('--short', 'a small corpus and model: half a minute, only to see that everything works')
    .option('--out <folder>', 'folder for the corpus and the model; an earlier quickstart in it is replaced', 'quickstart')
    .addOption(new Option('--seed <n>', 'of corpus, weights and order').argParser(integer(0)).default(0))
  return withDevice(command).action(run)
}

async function run({ short, out, seed, ...choice }: QuickstartArguments): Promise<void> {
  const began = performance.now()
  const form = forms[short ? 'short' : 'long']
  const { englishChinese, writePairs } = await import('../data/englishChinese.ts')
  const { trainTranslator } = await import('../models/trainTranslator.ts')
  const { evaluateTranslator } = await import('../models/evaluate.ts')
  const { Translator } = await import('../models/translator.ts')
  const { TrainingProgress } = await import('./trainingProgress.ts')
  const say = (text: string) => void process.stdout.write(`${text}\n`)
  const progress = new TrainingProgress(process.stderr)
  const interrupted = interrupt(() => progress.notice('stopping (Ctrl-C again to stop at once)'))
  try {
    const corpus = englishChinese({ pairs: form.pairs, validation: form.held, test: form.held, seed })
    await mkdir(out, { recursive: true })
    for (const part of ['train', 'validation', 'test'] as const) await writePairs(join(out, `${part}.tsv`), corpus[part])
    say(
      `1. made ${show(form.pairs)} English-Chinese pairs in ${out}/: ${show(corpus.train.length)} to train on, ${show(corpus.validation.length)} for validation, ${show(corpus.test.length)} for the test`,
    )
    for (const { source, target } of corpus.train.slice(0, 3)) say(`     ${source}  ${target}`)

    say('2. training')
    const device = await openDevice(choice)
    const folder = join(out, 'model')
    const { translator: trained, history } = await trainTranslator({
      pairs: corpus.train,
      validation: corpus.validation,
      config: form.config,
      tokenizers: { lowercase: true },
      epochs: form.epochs,
      maxTokens: form.maxTokens,
      lr: form.lr,
      seed,
      device,
      out: folder,
      overwrite: true,
      signal: interrupted.signal,
      reporter: progress,
    })
    trained.dispose()

    // What is measured and used from here on is what the folder holds.
    const translator = await Translator.load(folder, { device })
    const { pairs, bleu, exact, perplexity } = await evaluateTranslator(translator, corpus.test, { bleu: 'zh', signal: interrupted.signal })
    say(
      `3. on ${show(pairs)} pairs that it has never seen: perplexity ${perplexity.toFixed(2)}, BLEU ${bleu.toFixed(1)}, ${(100 * exact).toFixed(1)} % exactly right`,
    )
    say('4. translating')
    const translations = await translator.translate(sentences)
    translator.dispose()
    for (const [i, sentence] of sentences.entries()) say(`     ${sentence}  ${translations[i]}`)
    say(`   now you: echo "${sentences[1]}" | npx tilewise translate --model ${folder}`)

    const epochs = history.epochs
    const tokens = epochs.reduce((sum, epoch) => sum + epoch.tokens, 0) / epochs.reduce((sum, epoch) => sum + epoch.seconds, 0)
    const problem = shortfall(history.losses, bleu, form.leastBleu)
    if (problem !== undefined) {
      process.stderr.write(`tilewise: the quickstart failed: ${problem}\n`)
      process.exitCode = exitCodes.failure
    }
    say(
      `quickstart: bleu=${bleu.toFixed(2)} exact=${exact.toFixed(3)} tokens_per_s=${Math.round(tokens)} seconds=${since(began).toFixed(1)}`,
    )
  } catch (error) {
    if (!interrupted.signal.aborted || error !== interrupted.signal.reason) throw error
    process.exitCode = exitCodes.interrupted
  } finally {
    progress.end()
    interrupted.release()
  }
}

/** What is wrong with the result, or undefined. */
function shortfall(losses: readonly number[], bleu: number, leastBleu: number): string | undefined {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  const tenth = Math.max(1, Math.floor(losses.length / 10))
  const first = mean(losses.slice(0, tenth))
  const last = mean(losses.slice(-tenth))
  if (!(last <= CLEARLY_FALLEN * first)) return `the loss has gone from ${first.toFixed(3)} to ${last.toFixed(3)} only`
  if (!(bleu >= leastBleu)) return `BLEU is ${bleu.toFixed(1)}, at least ${leastBleu} was expected`
  return undefined
}
