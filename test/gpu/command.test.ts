/** The commands as they are called: what they say, and with which exit code. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { gpuReport } from '../../lib/index.ts'
import { root } from './plan.ts'

const call = (file: string, ...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', file, ...args], {
    cwd: root,
    encoding: 'utf8',
    timeout: 50_000,
  })
  return { status, stdout, stderr }
}
const { refusal } = gpuReport()

it.skipIf(refusal === '')('test:gpu without a GPU: the reason, skipped, and no failure', () => {
  const folder = mkdtempSync(join(tmpdir(), 'test-gpu-'))
  try {
    const file = join(folder, 'result.json')
    const said = call('test/gpu/main.ts', '--seed', '5', '--json', file)
    expect(said).toMatchObject({ status: 0, stdout: `test:gpu: ${refusal}\ntest:gpu: skipped, not run on a GPU\n` })
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ skipped: refusal, measuredOnGpu: false, seed: 5 })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('wrong calls end with 2, and say what is wrong', () => {
  expect(call('test/gpu/main.ts', '--device', 'cpu')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("test:gpu: --device must be 'cuda' or 'simt', is 'cpu'\nusage: npm run test:gpu"),
  })
  expect(call('bench/profile/main.ts')).toMatchObject({ status: 2, stderr: expect.stringContaining('usage: npm run profile -- ROW') })
  expect(call('bench/profile/main.ts', 'no such row')).toMatchObject({ status: 2, stderr: "profile: no row matches 'no such row'\n" })
})
