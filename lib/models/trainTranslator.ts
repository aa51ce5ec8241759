import { Batches } from '../data/batches.ts'
import type { Pair } from '../data/pairs.ts'
import { device as chooseDevice, type Device } from '../device.ts'
import { DataError } from '../errors.ts'
import { seed as seedGenerator } from '../generator.ts'
import { clipGradNorm } from '../optim/index.ts'
import { History, type Sample } from '../train/history.ts'
import { makeOptimizer, makeSchedule, type OptimizerName, type ScheduleName } from '../train/optimization.ts'
import { type EpochReport, type StepReport, train } from '../train/trainer.ts'
import { defaultConfig, type TranslatorConfig } from './config.ts'
import { checkModelFolder } from './folder.ts'
import { tokenizePairs } from './tokenizePairs.ts'
import { type TranslatorTokenizerOptions, trainTokenizers } from './tokenizers.ts'
import { Translator } from './translator.ts'

export interface TrainTranslatorOptions {
  pairs: readonly Pair[]
  /** Measured after each epoch; never trained on. */
  validation?: readonly Pair[] | undefined
  /** Translated after each epoch. Default: the first three of validation, else of `pairs`. */
  samples?: readonly Pair[] | undefined
  /** What differs from `defaultConfig`. `dFeedForward` is four times `dModel` if not given. */
  config?: Partial<Omit<TranslatorConfig, 'sourceVocab' | 'targetVocab'>> | undefined
  tokenizers?: Omit<TranslatorTokenizerOptions, 'shared'> | undefined
  /** Default 10. */
  epochs?: number | undefined
  /** Ends training early. Default no limit. */
  maxSteps?: number | undefined
  /** Most tokens of a batch, source and target together. Default 4096. */
  maxTokens?: number | undefined
  /** Most pairs of a batch. Default no limit. */
  maxSentences?: number | undefined
  /** Default `adamw`. */
  optimizer?: OptimizerName | undefined
  /** The highest learning rate. Default 1e-3. */
  lr?: number | undefined
  /** Default `cosine`. */
  schedule?: ScheduleName | undefined
  /** Steps until the rate is highest. Default: a tenth of all steps, at most 4000. */
  warmup?: number | undefined
  /** Default [0.9, 0.98]. */
  betas?: readonly [number, number] | undefined
  /** Default 1e-9. */
  eps?: number | undefined
  /** Default 0.01 for AdamW, 0 for Adam. */
  weightDecay?: number | undefined
  /** Largest norm of all gradients together; 0 for no limit. Default 1. */
  clip?: number | undefined
  /** Default 0.1. */
  labelSmoothing?: number | undefined
  /** Of weights, dropout and batches. Default 0. */
  seed?: number | undefined
  /** Default `device('auto')`. */
  device?: Device | undefined
  /** Model folder, written after each epoch and when training is stopped. Default: nothing is written. */
  out?: string | undefined
  /** Replace a model that `out` holds. Default false. */
  overwrite?: boolean | undefined
  /** Stops after the step under way; the model is saved to `out`, then the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined
  reporter?: TrainReporter | undefined
}

/** What training tells while it runs. */
export interface TrainReporter {
  /** Once, before the first step. */
  started?(start: TrainStart): void
  step?(report: StepReport): void
  epoch?(report: EpochReport, samples: readonly Sample[]): void
  saved?(folder: string): void
}

export interface TrainStart {
  translator: Translator
  /** Pairs to train on, and those left out because they have more tokens than the model or a batch takes. */
  pairs: number
  dropped: number
  validationPairs: number
  epochs: number
  /** Steps altogether, give or take a few: the last batches of an epoch depend on its order. */
  steps: number
  warmup: number
}

/**
 * Trains a translator from pairs: tokenizers, model, training, folder. Rejects with `DataError` for pairs or options that cannot be used, before
 * anything is written; with what `train` rejects with otherwise.
 */
export async function trainTranslator(options: TrainTranslatorOptions): Promise<{ translator: Translator; history: History }> {
  const { pairs, seed = 0, out, overwrite = false, signal } = options
  if (out !== undefined) await checkModelFolder(out, { overwrite })
  if (pairs.length === 0) throw new DataError('there are no pairs to train on')
  signal?.throwIfAborted()
  const given = { ...defaultConfig, ...options.config }
  const config = { dFeedForward: 4 * given.dModel, ...given }
  const tokenizers = await trainTokenizers(pairs, { ...options.tokenizers, shared: config.tieEmbeddings === 'all' })
  seedGenerator(seed)
  const translator = Translator.create(config, tokenizers, { device: options.device ?? chooseDevice('auto') })
  try {
    const history = await fit(translator, options)
    return { translator, history }
  } catch (error) {
    translator.dispose()
    throw error
  }
}

/** Trains what has been made, saving after each epoch and when stopped. */
async function fit(translator: Translator, options: TrainTranslatorOptions): Promise<History> {
  const { model } = translator
  const { pairs, validation = [], epochs = 10, maxSteps, out, signal, reporter } = options
  const { lr = 1e-3, schedule = 'cosine', clip = 1, labelSmoothing = 0.1 } = options
  const { batches, validationBatches, dropped } = makeBatches(translator, options)
  const steps = Math.min(epochs * batches.epoch(0).length, maxSteps ?? Number.POSITIVE_INFINITY)
  const warmup = options.warmup ?? Math.min(Math.ceil(steps / 10), 4000)
  const validationPairs = validationBatches?.size ?? 0
  reporter?.started?.({ translator, pairs: batches.size, dropped, validationPairs, epochs, steps, warmup })

  const samples = options.samples ?? (validation.length > 0 ? validation : pairs).slice(0, 3)
  const history = new History()
  const save = async () => {
    if (out === undefined) return
    // What is in the folder now is either nothing, what `overwrite` allows to go, or this training's own last epoch.
    await translator.save(out, { overwrite: true, history: history.lines() })
    reporter?.saved?.(out)
  }
  using optimizer = makeOptimizer(options.optimizer ?? 'adamw', model.parameters(), options)
  try {
    await train(model, {
      batches,
      validation: validationBatches,
      optimizer,
      learningRate: makeSchedule(schedule, { lr, warmup, steps }),
      epochs,
      maxSteps,
      labelSmoothing,
      clip: clip === 0 ? undefined : parameters => clipGradNorm(parameters, clip),
      signal,
      onStep: report => {
        history.addStep(report)
        reporter?.step?.(report)
      },
      onEpoch: async report => {
        const sources = samples.map(pair => pair.source)
        const translations = await translator.translate(sources, { signal })
        const shown = samples.map(({ source, target }, i) => ({ source, translation: translations[i] as string, target }))
        history.addEpoch(report, shown)
        reporter?.epoch?.(report, shown)
        await save()
      },
    })
  } catch (error) {
    if (signal?.aborted && history.rows.length > 0) await save()
    throw error
  }
  model.eval()
  return history
}

function makeBatches(translator: Translator, { pairs, validation = [], maxTokens = 4096, maxSentences, seed = 0 }: TrainTranslatorOptions) {
  const sentences = maxSentences === undefined ? {} : { maxSentences }
  const limits = { ...translator.batchOptions, ...sentences, maxTokens, tooLong: 'drop' } as const
  const { tokenized, dropped } = tokenizePairs(translator, pairs)
  const batches = new Batches(tokenized, { ...limits, seed })
  const held = tokenizePairs(translator, validation).tokenized
  const validationBatches = held.length === 0 ? undefined : new Batches(held, { ...limits, shuffle: false })
  return { batches, validationBatches, dropped: dropped + batches.dropped }
}
