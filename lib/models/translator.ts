import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { packRagged } from '../data/batches.ts'
import { writeTextFile } from '../data/textFile.ts'
import { Tokenizer } from '../data/tokenizer.ts'
import { device as chooseDevice, type Device } from '../device.ts'
import { DataError, StateDictError } from '../errors.ts'
import { greedy } from '../generate/greedy.ts'
import { loadModule, saveModule } from '../nn/checkpoint.ts'
import { Transformer } from '../nn/transformer.ts'
import { readSafetensors } from '../safetensors.ts'
import { checkConfig, fewestElements, type TranslatorConfig } from './config.ts'
import {
  CONFIG,
  checkModelFolder,
  HISTORY,
  requireModelFolder,
  SOURCE_TOKENIZER,
  TARGET_TOKENIZER,
  WEIGHTS,
  writeFolder,
} from './folder.ts'

export interface TranslateOptions {
  /** Most tokens of a translation. Default: `3 × source tokens + 20`, and never more than the model's `maxLength`. */
  maxLength?: number | undefined
  /** Sentences decoded together. Default 64. */
  batchSize?: number | undefined
  /** Keep keys and values of earlier tokens instead of computing them again. Default true; the tokens are the same. */
  cache?: boolean | undefined
  signal?: AbortSignal | undefined
}

export interface SaveOptions {
  /** Replace a model that the folder holds. Default false. */
  overwrite?: boolean | undefined
  /** Lines of the history file. */
  history?: Iterable<string> | undefined
}

const FORMAT = 'tilewise-translator'
const VERSION = 1

/**
 * A sequence-to-sequence Transformer with the tokenizers of both sides. A model folder holds it: `config.json`, `model.safetensors`, and the
 * tokenizers as Hugging Face `tokenizer.json` in `source.json` and `target.json`.
 */
export class Translator {
  readonly config: Readonly<TranslatorConfig>
  readonly source: Tokenizer
  readonly target: Tokenizer
  readonly model: Transformer
  readonly device: Device

  private constructor(config: TranslatorConfig, source: Tokenizer, target: Tokenizer, device: Device) {
    this.config = config
    this.source = source
    this.target = target
    this.device = device
    const { appendSourceEos: _, dtype, ...shape } = config
    this.model = new Transformer(shape, { device, dtype })
  }

  /**
   * A new translator with random weights (see `seed`). The vocabulary sizes come from the tokenizers. Throws `DataError` for a configuration that makes
   * no sense.
   */
  static create(
    config: Omit<TranslatorConfig, 'sourceVocab' | 'targetVocab'>,
    tokenizers: { source: Tokenizer; target: Tokenizer },
    options: { device?: Device } = {},
  ): Translator {
    const { source, target } = tokenizers
    const full = checkConfig({ ...config, sourceVocab: source.vocabSize, targetVocab: target.vocabSize })
    return new Translator(full, source, target, options.device ?? chooseDevice('auto'))
  }

  /** Reads a model folder. Rejects with `DataError` or `SafetensorsError` that names the file and what is wrong with it. */
  static async load(folder: string, options: { device?: Device } = {}): Promise<Translator> {
    await requireModelFolder(folder)
    const config = await readConfig(join(folder, CONFIG))
    const source = await Tokenizer.load(join(folder, SOURCE_TOKENIZER))
    const target = await Tokenizer.load(join(folder, TARGET_TOKENIZER))
    checkTokenizer(source, join(folder, SOURCE_TOKENIZER), 'sourceVocab', config, config.appendSourceEos ? ['eos'] : [])
    checkTokenizer(target, join(folder, TARGET_TOKENIZER), 'targetVocab', config, ['bos', 'eos'])
    const weights = join(folder, WEIGHTS)
    await using file = await readSafetensors(weights)
    const elements = file.names().reduce((sum, name) => sum + file.info(name).shape.reduce((size, dimension) => size * dimension, 1), 0)
    const fewest = fewestElements(config)
    if (elements < fewest)
      throw new DataError(`has ${elements} weights, but a model as in ${CONFIG} has more than ${fewest}`, { file: weights })
    const translator = new Translator(config, source, target, options.device ?? chooseDevice('auto'))
    try {
      await loadModule(translator.model, file)
    } catch (error) {
      translator.dispose()
      if (!(error instanceof StateDictError)) throw error
      throw new DataError(`does not fit ${CONFIG}: ${error.message}`, { file: weights }, { cause: error })
    }
    translator.model.eval()
    return translator
  }

  /**
   * Writes the model folder. Every file is written elsewhere first, so a failure leaves what was there. Rejects with `DataError` if the folder holds a
   * model already and `overwrite` is not set.
   */
  async save(folder: string, options: SaveOptions = {}): Promise<void> {
    const { overwrite = false, history } = options
    await checkModelFolder(folder, { overwrite })
    const config = `${JSON.stringify({ format: FORMAT, version: VERSION, ...this.config }, undefined, 2)}\n`
    await writeFolder(folder, [
      { name: SOURCE_TOKENIZER, write: path => this.source.save(path) },
      { name: TARGET_TOKENIZER, write: path => this.target.save(path) },
      { name: WEIGHTS, write: path => saveModule(this.model, path) },
      ...(history === undefined ? [] : [{ name: HISTORY, write: (path: string) => writeTextFile(path, history) }]),
      { name: CONFIG, write: path => writeTextFile(path, [config]) },
    ])
  }

  /** The options of `Batches` that are this model's: which ids stand around the sentences. */
  get batchOptions(): { bos: number; eos: number; appendSourceEos: number | false } {
    const { source, target } = this
    return {
      bos: target.specialId('bos'),
      eos: target.specialId('eos'),
      appendSourceEos: this.config.appendSourceEos && source.specialId('eos'),
    }
  }

  /**
   * Translates sentences, longer ones apart from shorter ones, and gives them back in the order they came. A blank sentence gives an empty one; what is
   * longer than the model's `maxLength` is cut there.
   */
  async translate(texts: readonly string[], options: TranslateOptions = {}): Promise<string[]> {
    const { batchSize = 64, cache = true, signal, maxLength } = options
    const limit = this.config.maxLength
    const { bos, eos, appendSourceEos } = this.batchOptions
    const added = appendSourceEos === false ? {} : { after: appendSourceEos }
    const sources = texts.map(text => this.source.encode(text.trim()).slice(0, appendSourceEos === false ? limit : limit - 1))
    const results = new Array<string>(texts.length).fill('')
    const order = [...sources.keys()].filter(i => sources[i]!.length > 0).sort((a, b) => sources[a]!.length - sources[b]!.length || a - b)
    for (let start = 0; start < order.length; start += batchSize) {
      const batch = order.slice(start, start + batchSize)
      const outputs = await greedy(
        this.model,
        packRagged(
          batch.map(i => sources[i]!),
          added,
        ),
        {
          bos,
          eos,
          maxLengths: batch.map(i => Math.min(maxLength ?? 3 * sources[i]!.length + 20, limit - 1)),
          cache,
          signal,
        },
      )
      for (const [j, i] of batch.entries()) results[i] = this.target.decode(outputs[j]!)
    }
    return results
  }

  dispose(): void {
    this.model.dispose()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }
}

async function readConfig(path: string): Promise<TranslatorConfig> {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path)))
  } catch (cause) {
    throw new DataError(`cannot be read as JSON (${cause instanceof Error ? cause.message : cause})`, { file: path }, { cause })
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new DataError('the configuration must be an object', { file: path })
  const { format, version, ...config } = json as Record<string, unknown>
  if (format !== FORMAT) throw new DataError(`"format" must be "${FORMAT}", is ${JSON.stringify(format)}`, { file: path })
  if (version !== VERSION) throw new DataError(`"version" must be ${VERSION}, is ${JSON.stringify(version)}`, { file: path })
  return checkConfig(config, path)
}

function checkTokenizer(
  tokenizer: Tokenizer,
  file: string,
  field: 'sourceVocab' | 'targetVocab',
  config: TranslatorConfig,
  roles: readonly ('bos' | 'eos')[],
): void {
  if (tokenizer.vocabSize !== config[field])
    throw new DataError(`has ${tokenizer.vocabSize} tokens, but "${field}" in ${CONFIG} is ${config[field]}`, { file })
  for (const role of roles)
    if (tokenizer.special[role] === undefined) throw new DataError(`has no ${role === 'bos' ? 'begin' : 'end'}-of-sentence token`, { file })
}
