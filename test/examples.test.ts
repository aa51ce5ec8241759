import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { readSafetensors } from '../lib/index.ts'
import { root, startScript } from './cli/run.ts'

const example = (name: string) => join(root, 'examples', `${name}.mjs`)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tilewise-examples-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** Runs an example in its short form; it must end well and complain of nothing. */
async function run(name: string, args: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { stdout, stderr, code } = await (await startScript(example(name), args, { env })).finished
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return stdout
}

it('every example is run here', async () => {
  const names = (await readdir(join(root, 'examples'))).map(file => file.replace(/\.mjs$/, ''))
  expect(names.toSorted()).toEqual(['attention', 'fused', 'reverse', 'translate', 'weights'])
})

it('attention: the first word sees itself alone, the last one all', async () => {
  const lines = (await run('attention')).split('\n')
  expect(lines[0]).toBe('     the ██')
  expect(lines[5]).toMatch(/^ {2}sleeps [░▒▓█]{12}$/)
})

it('fused: both ways agree, and fusing needs less memory', async () => {
  const out = await run('fused', ['64'])
  const differences = [...out.matchAll(/^(\w+) +differs by (\S+) at most$/gm)]
  expect(differences.map(([, name]) => name)).toEqual(['y', 'dx', 'dresidual', 'dweight', 'dbias'])
  for (const [, name, difference] of differences) expect(Number(difference), name).toBeLessThan(1e-4)
  expect(Number(/([\d.]+) times less memory/.exec(out)?.[1])).toBeGreaterThan(1.5)
})

it('reverse: trains as many steps as it is told', async () => {
  const out = await run('reverse', ['20'])
  expect(out).toMatch(/^step 20\/20 {2}loss \d\.\d{3}/m)
  expect(out).toMatch(/^\d+ % of 200 new sequences reversed without a mistake$/m)
})

it('reverse: Ctrl-C stops training, and what has been learned is shown', async () => {
  const { child, finished, shows } = await startScript(example('reverse'), ['3000'])
  await shows('step 100/', 'stdout')
  child.kill('SIGINT')
  const { code, stdout } = await finished
  expect(stdout).toMatch(/^stopped$/m)
  expect(stdout).toMatch(/reversed without a mistake$/m)
  expect(code).toBe(0)
})

it('weights: the file holds the keys of PyTorch, and comes back whole', async () => {
  const file = join(folder, 'encoder.safetensors')
  const out = await run('weights', [file])
  expect(out).toMatch(/largest difference between the two layers' outputs: 0$/m)
  expect(out).toMatch(/^TILEWISE_STATE_DICT: linear1\.weight must be/m)
  const opened = await readSafetensors(file)
  expect(opened.names()).toContain('self_attn.in_proj_weight')
  await opened.close()
})

it('translate: trains a translator and uses it', async () => {
  const out = await run('translate', [], { TILEWISE_STEPS: '5' })
  expect(out).toMatch(/^1\+1 layers, 64 wide, \d+ → \d+ tokens, on cpu$/m)
  expect(out).toMatch(/^the same alone and in company$/m)
  expect(out).toMatch(/ at most, 0 now$/m)
})
