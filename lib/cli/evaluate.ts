import { Command, Option } from 'commander'
import type { BleuTokenizer } from '../data/bleu.ts'
import { type DeviceChoice, integer, openDevice, withDevice } from './options.ts'

interface EvaluateArguments extends DeviceChoice {
  data: string
  model: string
  bleu: BleuTokenizer | 'auto'
  batchSize: number
  maxTokens: number
}

export function evaluateCommand(): Command {
  const command = new Command('evaluate')
    .description('Measure a model on pairs: loss, perplexity, BLEU and exact match of its translations, as one line of JSON.')
    .requiredOption('--data <file>', 'pairs: source TAB target on each line, UTF-8')
    .requiredOption('--model <folder>', 'model folder, as `train` writes it')
    .addOption(
      new Option('--bleu <tokenizer>', 'how BLEU cuts text into words (auto: zh for Chinese and Japanese targets, else 13a)')
        .choices(['auto', '13a', 'zh', 'char', 'none'])
        .default('auto'),
    )
    .addOption(new Option('--batch-size <n>', 'sentences translated together').argParser(integer(1)).default(64))
    .addOption(new Option('--max-tokens <n>', 'most tokens of a batch for the loss').argParser(integer(1)).default(4096))
  return withDevice(command).action(run)
}

async function run({ data, model, bleu, batchSize, maxTokens, ...choice }: EvaluateArguments): Promise<void> {
  const { Translator } = await import('../models/translator.ts')
  const { evaluateTranslator } = await import('../models/evaluate.ts')
  const { loadPairs } = await import('../data/pairs.ts')
  const pairs = await loadPairs(data)
  const translator = await Translator.load(model, { device: await openDevice(choice) })
  const { translations: _, ...report } = await evaluateTranslator(translator, pairs, { bleu, batchSize, maxTokens })
  translator.dispose()
  process.stdout.write(`${JSON.stringify(report)}\n`)
}
