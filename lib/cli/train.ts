import { Command, Option } from 'commander'
import type { TranslatorConfig } from '../models/config.ts'
import { exitCodes } from './exit.ts'
import { interrupt } from './interrupt.ts'
import { type DeviceChoice, decimal, integer, openDevice, withDevice } from './options.ts'

interface TrainArguments extends DeviceChoice {
  data: string
  out: string
  force?: true
  valid: string
  seed: number
  preset?: '256-8-2' | '256-4-1' | '512-8-1'
  dModel?: number
  heads?: number
  layers?: number
  encoderLayers?: number
  decoderLayers?: number
  ff?: number
  dropout: number
  activation: TranslatorConfig['activation']
  gated?: true
  norm: TranslatorConfig['norm']
  normKind: TranslatorConfig['normKind']
  positions: TranslatorConfig['positions']
  maxLength: number
  tie: TranslatorConfig['tieEmbeddings']
  dtype: TranslatorConfig['dtype']
  sourceTokenizer: 'word' | 'char' | 'auto'
  targetTokenizer: 'word' | 'char' | 'auto'
  lowercase?: true
  minFrequency: number
  maxVocab?: number
  appendSourceEos?: true
  epochs: number
  maxSteps?: number
  maxTokens: number
  maxSentences?: number
  optimizer: 'adam' | 'adamw'
  lr: number
  schedule: 'noam' | 'cosine' | 'linear' | 'constant'
  warmup?: number
  weightDecay?: number
  clip: number
  labelSmoothing: number
  samples: number
}

const choice = (flags: string, description: string, choices: readonly string[], value: string) =>
  new Option(flags, description).choices(choices).default(value)
const whole = (flags: string, description: string, least: number, value?: number) => {
  const option = new Option(flags, description).argParser(integer(least))
  return value === undefined ? option : option.default(value)
}

export function trainCommand(): Command {
  const command = new Command('train')
    .description('Train a translator on pairs of sentences and write it to a folder.')
    .requiredOption('--data <file>', 'pairs to train on: source TAB target on each line, UTF-8')
    .requiredOption('--out <folder>', 'folder for the model, written after each epoch')
    .option('--force', 'replace a model that the folder already holds')
    .option('--valid <file|fraction>', 'pairs for validation, or which part of the data to hold out for it (0 for none)', '0.02')
    .addOption(whole('--seed <n>', 'of weights, dropout, order and split', 0, 0))
  command
    .optionsGroup('Model:')
    .addOption(new Option('--preset <name>', 'width, heads and layers at once').choices(['256-8-2', '256-4-1', '512-8-1']))
    .addOption(whole('--d-model <n>', 'width of the model (default: 256)', 1))
    .addOption(whole('--heads <n>', 'attention heads (default: 8)', 1))
    .addOption(whole('--layers <n>', 'layers of the encoder and of the decoder (default: 2)', 1))
    .addOption(whole('--encoder-layers <n>', 'layers of the encoder (default: as --layers)', 1))
    .addOption(whole('--decoder-layers <n>', 'layers of the decoder (default: as --layers)', 1))
    .addOption(whole('--ff <n>', 'width of the feed-forward layers (default: 4 × d-model)', 1))
    .addOption(new Option('--dropout <p>', 'dropout').argParser(decimal(0, 0.99)).default(0.1))
    .addOption(choice('--activation <name>', 'of the feed-forward layers', ['relu', 'gelu', 'geluTanh', 'silu', 'relu2'], 'relu'))
    .option('--gated', 'feed-forward layers with a gate: act(gate) · up')
    .addOption(choice('--norm <place>', 'normalize before or after each sub-layer', ['pre', 'post'], 'pre'))
    .addOption(choice('--norm-kind <kind>', 'LayerNorm or RMSNorm', ['layer', 'rms'], 'layer'))
    .addOption(choice('--positions <kind>', 'how positions are told', ['sinusoidal', 'learned', 'none'], 'sinusoidal'))
    .addOption(whole('--max-length <n>', 'most tokens of a sentence; longer pairs are left out', 2, 512))
    .addOption(
      choice('--tie <which>', 'one table for the target and the output, or for the source too', ['none', 'target-output', 'all'], 'none'),
    )
    .addOption(choice('--dtype <type>', 'of weights and computation', ['f32', 'bf16'], 'f32'))
  command
    .optionsGroup('Vocabulary:')
    .addOption(choice('--source-tokenizer <kind>', 'auto: characters for scripts without spaces', ['auto', 'word', 'char'], 'auto'))
    .addOption(choice('--target-tokenizer <kind>', 'auto: characters for scripts without spaces', ['auto', 'word', 'char'], 'auto'))
    .option('--lowercase', 'fold letters to lower case, on both sides')
    .addOption(whole('--min-frequency <n>', 'tokens seen less often are unknown', 1, 1))
    .addOption(whole('--max-vocab <n>', 'most tokens of each side (default: no limit)', 5))
    .option('--append-source-eos', 'end source sentences with the end-of-sentence token')
  command
    .optionsGroup('Training:')
    .addOption(whole('--epochs <n>', 'times through the data', 1, 10))
    .addOption(whole('--max-steps <n>', 'end earlier (default: no limit)', 1))
    .addOption(whole('--max-tokens <n>', 'most tokens of a batch, source and target together', 1, 4096))
    .addOption(whole('--max-sentences <n>', 'most pairs of a batch (default: no limit)', 1))
    .addOption(choice('--optimizer <name>', 'how weights are updated', ['adamw', 'adam'], 'adamw'))
    .addOption(new Option('--lr <rate>', 'highest learning rate').argParser(decimal(0, 1000, true)).default(0.001))
    .addOption(choice('--schedule <name>', 'of the learning rate after warm-up', ['cosine', 'noam', 'linear', 'constant'], 'cosine'))
    .addOption(whole('--warmup <steps>', 'steps to the highest rate (default: a tenth of all, at most 4000)', 0))
    .addOption(new Option('--weight-decay <x>', 'default: 0.01 for adamw, 0 for adam').argParser(decimal(0)))
    .addOption(new Option('--clip <norm>', 'largest norm of all gradients, 0 for no limit').argParser(decimal(0)).default(1))
    .addOption(new Option('--label-smoothing <x>', 'label smoothing').argParser(decimal(0, 0.99)).default(0.1))
    .addOption(whole('--samples <n>', 'sentences translated after each epoch', 0, 3))
  command.optionsGroup('Device:')
  return withDevice(command).action((options: TrainArguments) => run(options, command))
}

async function run(options: TrainArguments, command: Command): Promise<void> {
  const fraction = Number(options.valid)
  if (options.valid.trim() !== '' && !Number.isNaN(fraction) && !(fraction >= 0 && fraction < 1))
    command.error(`error: option '--valid' must be a file, or a fraction from 0 to below 1, is ${options.valid}`)
  const { checkModelFolder } = await import('../models/folder.ts')
  // Whatever would stop training at its end is better told at once.
  await checkModelFolder(options.out, { overwrite: options.force ?? false })
  const { loadPairs } = await import('../data/pairs.ts')
  const all = await loadPairs(options.data)
  const { splitPairs } = await import('../train/split.ts')
  const { train, validation } =
    Number.isNaN(fraction) || options.valid.trim() === ''
      ? { train: all, validation: await loadPairs(options.valid) }
      : fraction === 0
        ? { train: all, validation: [] }
        : splitPairs(all, fraction, options.seed)

  const device = await openDevice(options)
  const { trainTranslator } = await import('../models/trainTranslator.ts')
  const { TrainingProgress } = await import('./trainingProgress.ts')
  const progress = new TrainingProgress(process.stderr)
  const interrupted = interrupt(() => progress.notice('stopping after this step and saving (Ctrl-C again to stop at once)'))
  try {
    await trainTranslator({
      pairs: train,
      validation,
      samples: (validation.length > 0 ? validation : train).slice(0, options.samples),
      config: await modelConfig(options),
      tokenizers: {
        source: options.sourceTokenizer,
        target: options.targetTokenizer,
        lowercase: options.lowercase ?? false,
        minFrequency: options.minFrequency,
        ...(options.maxVocab === undefined ? {} : { maxVocab: options.maxVocab }),
      },
      epochs: options.epochs,
      maxSteps: options.maxSteps,
      maxTokens: options.maxTokens,
      maxSentences: options.maxSentences,
      optimizer: options.optimizer,
      lr: options.lr,
      schedule: options.schedule,
      warmup: options.warmup,
      weightDecay: options.weightDecay,
      clip: options.clip,
      labelSmoothing: options.labelSmoothing,
      seed: options.seed,
      device,
      out: options.out,
      overwrite: options.force,
      signal: interrupted.signal,
      reporter: progress,
    })
  } catch (error) {
    if (!interrupted.signal.aborted || error !== interrupted.signal.reason) throw error
    process.exitCode = exitCodes.interrupted
  } finally {
    progress.end()
    interrupted.release()
  }
}

async function modelConfig(options: TrainArguments): Promise<Partial<TranslatorConfig>> {
  const { presets } = await import('../models/config.ts')
  const { dropout, activation, norm, normKind, positions, maxLength, dtype } = options
  const config: Partial<TranslatorConfig> = {
    ...(options.preset === undefined ? {} : presets[options.preset]),
    ...{ dropout, activation, norm, normKind, positions, maxLength, dtype, tieEmbeddings: options.tie },
    gated: options.gated ?? false,
    appendSourceEos: options.appendSourceEos ?? false,
  }
  const encoderLayers = options.encoderLayers ?? options.layers
  const decoderLayers = options.decoderLayers ?? options.layers
  if (options.dModel !== undefined) config.dModel = options.dModel
  if (options.heads !== undefined) config.numHeads = options.heads
  if (encoderLayers !== undefined) config.numEncoderLayers = encoderLayers
  if (decoderLayers !== undefined) config.numDecoderLayers = decoderLayers
  if (options.ff !== undefined) config.dFeedForward = options.ff
  return config
}
