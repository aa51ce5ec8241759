import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { gpuReport } from '../../lib/index.ts'
import { root, run } from './run.ts'

const commands = ['train', 'translate', 'evaluate', 'summary', 'doctor', 'quickstart']

describe('help and version', () => {
  it('names every command', async () => {
    const { code, stdout } = await run(['--help'])
    expect(code).toBe(0)
    for (const command of commands) expect(stdout).toContain(`  ${command} `)
  })

  it.each(commands)('explains %s', async command => {
    const { code, stdout, stderr } = await run([command, '--help'])
    expect(stdout).toContain(`Usage: tilewise ${command}`)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  it('tells the version', async () => {
    const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { version: string }
    expect(await run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })
})

describe('wrong usage ends with 2, says what is wrong, and says nothing on standard output', () => {
  it.each([
    [[], 'Usage: tilewise'],
    [['trian'], "unknown command 'trian'"],
    [['train', '--data', 'x', '--out', 'y', '--epoch', '3'], "unknown option '--epoch'"],
    [['train', '--data', 'x'], "required option '--out <folder>' not specified"],
    [
      ['train', '--data', 'x', '--out', 'y', '--epochs', 'many'],
      "option '--epochs <n>' argument 'many' is invalid. It must be an integer from 1.",
    ],
    [['train', '--data', 'x', '--out', 'y', '--epochs', '1.5'], 'It must be an integer from 1.'],
    [['train', '--data', 'x', '--out', 'y', '--lr', '0'], 'It must be a number above 0 to 1000.'],
    [['train', '--data', 'x', '--out', 'y', '--dropout', '1'], 'It must be a number from 0 to 0.99.'],
    [['train', '--data', 'x', '--out', 'y', '--schedule', 'zigzag'], 'Allowed choices are cosine, noam, linear, constant.'],
    [['train', '--data', 'x', '--out', 'y', '--valid', '1.5'], "option '--valid' must be a file, or a fraction from 0 to below 1, is 1.5"],
    [['train', '--data', 'x', '--out', 'y', 'z'], 'too many arguments'],
    [['translate'], "required option '--model <folder>' not specified"],
    [['translate', '--model', 'x', '--threads', '0'], 'It must be an integer from 1 to 1024.'],
    [['evaluate', '--model', 'x'], "required option '--data <file>' not specified"],
    [['doctor', '--device', 'tpu'], 'Allowed choices are auto, cpu, cuda.'],
  ])('%j', async (args, message) => {
    const { code, stdout, stderr } = await run(args)
    expect(stderr).toContain(message)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  })
})

describe('doctor', () => {
  it('says what is chosen and why, and whether there is CUDA', async () => {
    const { code, stdout, stderr } = await run(['doctor'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const part of [
      /^tilewise +\d/m,
      /^node +v\d+/m,
      /^device +(cpu|cuda) \(.+\)$/m,
      /^cuda +(can be used|cannot be used: .+)$/m,
      /^bf16 +computed/m,
    ])
      expect(stdout).toMatch(part)
    const { built, refusal } = gpuReport()
    if (refusal !== '') expect(stdout).toContain(`(${refusal})`)
    if (built) expect(stdout).toMatch(/^cuda kernels +sm_80, sm_90a, .*built with CUDA/m)
    expect(stdout).toMatch(/^memory +[\d.]+ GiB (for this process|on the GPU)/m)
    expect(stdout).toMatch(/^self-check +passed/m)
  })

  it('speaks JSON, and uses the threads asked for', async () => {
    const { code, stdout } = await run(['doctor', '--json', '--threads', '1'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ threads: '1', problems: [] })
  })

  it.skipIf(gpuReport().refusal === '')('fails where the device asked for is not there', async () => {
    const { code, stdout, stderr } = await run(['doctor', '--device', 'cuda'])
    expect(code).toBe(1)
    expect(stdout).toContain('node')
    expect(stderr).toContain(`'cuda' cannot be used: ${gpuReport().refusal}`)
  })
})
