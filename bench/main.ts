/** `npm run bench -- [suite …] [--against torch] [--rows PATTERN] [--json FILE]`. Without a suite: all of them. */
import { readdirSync } from 'node:fs'

const suites = readdirSync(new URL('./suites/', import.meta.url)).map(file => file.replace(/\.ts$/, ''))
const wanted = process.argv.slice(2).filter(argument => !argument.startsWith('--'))
for (const name of wanted) {
  if (!suites.includes(name)) {
    console.error(`bench: unknown suite '${name}'; there are ${suites.join(', ')}`)
    process.exit(2)
  }
}
for (const name of wanted.length > 0 ? wanted : suites) {
  const { run } = (await import(new URL(`./suites/${name}.ts`, import.meta.url).href)) as { run(): Promise<void> }
  await run()
}
