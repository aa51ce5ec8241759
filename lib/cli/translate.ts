import { Command, Option } from 'commander'
import { type DeviceChoice, integer, openDevice, withDevice } from './options.ts'

interface TranslateArguments extends DeviceChoice {
  model: string
  batchSize: number
  maxLength?: number
  cache: boolean
}

export function translateCommand(): Command {
  const command = new Command('translate')
    .description('Translate standard input to standard output, a sentence a line; a blank line stays blank.')
    .requiredOption('--model <folder>', 'model folder, as `train` writes it')
    .addOption(new Option('--batch-size <n>', 'sentences translated together').argParser(integer(1)).default(64))
    .addOption(new Option('--max-length <n>', 'most tokens of a translation (default: 3 × source tokens + 20)').argParser(integer(1)))
    .option('--no-cache', 'compute keys and values of earlier tokens again for every token (slower, the same result)')
  return withDevice(command).action(run)
}

async function run({ model, batchSize, maxLength, cache, ...choice }: TranslateArguments): Promise<void> {
  const { Translator } = await import('../models/translator.ts')
  const { readLines } = await import('../data/pairs.ts')
  const { gather } = await import('./gather.ts')
  const translator = await Translator.load(model, { device: await openDevice(choice) })
  for await (const lines of gather(readLines(process.stdin, { name: 'standard input' }), batchSize)) {
    const translations = await translator.translate(
      lines.map(line => line.text),
      { batchSize, maxLength, cache },
    )
    // A line end inside a translation would shift all lines after it.
    const text = translations.map(translation => `${translation.replaceAll(/[\r\n]+/g, ' ')}\n`).join('')
    if (!process.stdout.write(text)) await new Promise(resolve => process.stdout.once('drain', resolve))
  }
  translator.dispose()
}
