import { Command } from 'commander'
import { type DeviceChoice, openDevice, withDevice } from './options.ts'

export function summaryCommand(): Command {
  const command = new Command('summary')
    .description('Show the layers of a model: shapes, parameters, bytes.')
    .requiredOption('--model <folder>', 'model folder, as `train` writes it')
  return withDevice(command).action(run)
}

async function run({ model, ...choice }: DeviceChoice & { model: string }): Promise<void> {
  const { Translator } = await import('../models/translator.ts')
  const translator = await Translator.load(model, { device: await openDevice(choice) })
  const { config } = translator
  process.stdout.write(`${translator.model.summary()}\n\n`)
  for (const [name, value] of Object.entries(config)) process.stdout.write(`${name.padEnd(18)} ${value}\n`)
  translator.dispose()
}
