import { Command, CommanderError } from 'commander'
import { doctorCommand } from './doctor.ts'
import { evaluateCommand } from './evaluate.ts'
import { exitCodes, explain } from './exit.ts'
import { quickstartCommand } from './quickstart.ts'
import { summaryCommand } from './summary.ts'
import { trainCommand } from './train.ts'
import { translateCommand } from './translate.ts'
import { version } from './version.ts'

/**
 * Runs one command line and returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C. Results go to standard output, everything
 * else to standard error.
 */
export async function program(args: readonly string[]): Promise<number> {
  const cli = new Command('tilewise')
    .description('Transformers for Node.js: train a translator, and translate with it.')
    .version(version)
    .helpCommand(false)
    .showHelpAfterError('(add --help for what there is)')
  // A reader that has seen enough (`tilewise translate … | head`) is no failure.
  process.stdout.on('error', error => {
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(0)
    throw error
  })
  // Nor does work end because nobody reads how far it is.
  process.stderr.on('error', error => {
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
  })
  for (const command of [trainCommand, translateCommand, evaluateCommand, summaryCommand, doctorCommand, quickstartCommand])
    cli.addCommand(command())
  for (const command of [cli, ...cli.commands])
    command
      .exitOverride()
      .configureOutput({ writeOut: text => process.stdout.write(text) })
      .showHelpAfterError('(add --help for what there is)')
  try {
    await cli.parseAsync(args, { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (error) {
    // Help and version that were asked for end a command line too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.usage
    process.stderr.write(`tilewise: ${explain(error)}\n`)
    return exitCodes.failure
  }
}
