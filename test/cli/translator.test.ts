import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { englishChinese, writePairs } from '../../lib/data/index.ts'
import { run, start } from './run.ts'

let root: string
let data: string
let test: string
let model: string
const tiny = ['--d-model', '32', '--heads', '4', '--layers', '1', '--dropout', '0', '--max-tokens', '512', '--threads', '1']

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tilewise-cli-'))
  data = join(root, 'pairs.tsv')
  test = join(root, 'test.tsv')
  model = join(root, 'model')
  const corpus = englishChinese({ pairs: 400, validation: 0, test: 40 })
  await writePairs(data, corpus.train)
  await writePairs(test, corpus.test)
  const { code, stderr } = await run(['train', '--data', data, '--out', model, '--epochs', '3', '--lr', '5e-3', '--lowercase', ...tiny])
  if (code !== 0) throw new Error(stderr)
}, 60_000)
afterAll(() => rm(root, { recursive: true }))

/** All files of a folder with their content. */
async function contents(folder: string): Promise<Record<string, string>> {
  const names = await readdir(folder)
  return Object.fromEntries(await Promise.all(names.map(async name => [name, (await readFile(join(folder, name))).toString('base64')])))
}

const lines = (text: string) => text.split('\n').slice(0, -1)

describe('train', () => {
  it('reports in plain lines, writes the folder, and the loss falls', async () => {
    const out = join(root, 'reported')
    const { code, stdout, stderr } = await run([
      'train',
      '--data',
      data,
      '--valid',
      test,
      '--out',
      out,
      '--epochs',
      '2',
      '--samples',
      '1',
      ...tiny,
    ])
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    expect(stderr).toMatch(/^device {6}cpu/m)
    expect(stderr).toMatch(/^pairs {7}360 to train on, 40 for validation$/m)
    expect(stderr).toMatch(/^epoch 1\/2 {2}loss [\d.]+ {2}validation loss [\d.]+, perplexity [\d.,]+ {2}[\d.,]+ tokens\/s/m)
    expect(stderr).toMatch(/^epoch 2\/2/m)
    expect(stderr).not.toContain('\x1b')
    expect((await readdir(out)).sort()).toEqual(['config.json', 'history.jsonl', 'model.safetensors', 'source.json', 'target.json'])
    const rows = lines(await readFile(join(out, 'history.jsonl'), 'utf8')).map(line => JSON.parse(line) as { kind: string; loss: number })
    const epochs = rows.filter(row => row.kind === 'epoch')
    expect(epochs).toHaveLength(2)
    expect(epochs[1]).toMatchObject({
      epoch: 2,
      samples: [{ source: expect.any(String), translation: expect.any(String), target: expect.any(String) }],
    })
    expect(epochs[1]!.loss).toBeLessThan(epochs[0]!.loss)
  })

  it('gives the same model from the same seed, another from another', async () => {
    const train = async (name: string, seed: string) => {
      const out = join(root, name)
      expect(
        (await run(['train', '--data', data, '--out', out, '--max-steps', '5', '--seed', seed, ...tiny, '--dropout', '0.1'])).code,
      ).toBe(0)
      return (await readFile(join(out, 'model.safetensors'))).toString('base64')
    }
    const first = await train('seed-a', '7')
    expect(await train('seed-b', '7')).toBe(first)
    expect(await train('seed-c', '8')).not.toBe(first)
  })

  it('takes every option', async () => {
    const all =
      '--preset 256-4-1 --d-model 16 --heads 2 --encoder-layers 2 --decoder-layers 1 --ff 24 --dropout 0.2 --activation gelu --gated --norm post --norm-kind rms'
    const more =
      '--positions learned --max-length 40 --tie target-output --source-tokenizer word --target-tokenizer char --lowercase --min-frequency 2'
    const rest =
      '--max-vocab 100 --append-source-eos --epochs 1 --max-steps 4 --max-tokens 300 --max-sentences 8 --optimizer adam --lr 0.01 --schedule noam'
    const last =
      '--warmup 2 --weight-decay 0.1 --clip 0.5 --label-smoothing 0.2 --samples 0 --valid 0 --seed 3 --device cpu --threads 1 --dtype f32'
    const out = join(root, 'all')
    const { code, stderr } = await run(['train', '--data', data, '--out', out, ...`${all} ${more} ${rest} ${last}`.split(' ')])
    expect(stderr).not.toContain('validation loss')
    expect(code).toBe(0)
    expect(JSON.parse(await readFile(join(out, 'config.json'), 'utf8'))).toMatchObject({
      ...{
        dModel: 16,
        numHeads: 2,
        numEncoderLayers: 2,
        numDecoderLayers: 1,
        dFeedForward: 24,
        dropout: 0.2,
        activation: 'gelu',
        gated: true,
      },
      ...{
        norm: 'post',
        normKind: 'rms',
        positions: 'learned',
        maxLength: 40,
        tieEmbeddings: 'target-output',
        appendSourceEos: true,
        dtype: 'f32',
      },
      ...{ sourceVocab: 100, targetVocab: 100 },
    })
    const { code: translated, stdout } = await run(['translate', '--model', out], 'He has a book.\n')
    expect(translated).toBe(0)
    expect(lines(stdout)).toHaveLength(1)
  })

  it.each(['256-8-2', '256-4-1', '512-8-1'])('knows the preset %s', async preset => {
    const out = join(root, preset)
    const small = ['--max-steps', '1', '--max-tokens', '64', '--valid', '0', '--samples', '0']
    expect((await run(['train', '--data', data, '--out', out, '--preset', preset, ...small])).code).toBe(0)
    const [dModel, numHeads, numEncoderLayers] = preset.split('-').map(Number)
    const config = JSON.parse(await readFile(join(out, 'config.json'), 'utf8'))
    expect(config).toMatchObject({ dModel, numHeads, numEncoderLayers, numDecoderLayers: numEncoderLayers, dFeedForward: 4 * dModel! })
  })

  it('keeps a model that is there, unless told to replace it', async () => {
    const out = join(root, 'kept')
    await cp(model, out, { recursive: true })
    const before = await contents(out)
    const again = ['train', '--data', data, '--out', out, '--max-steps', '1', ...tiny]
    const { code, stderr } = await run(again)
    expect(stderr).toContain(`tilewise: ${out}: the folder already holds a model`)
    expect(code).toBe(1)
    expect(await contents(out)).toEqual(before)
    expect((await run([...again, '--force'])).code).toBe(0)
    expect((await contents(out))['model.safetensors']).not.toBe(before['model.safetensors'])
  })

  it.each([
    ['no file', undefined, ': no such file'],
    ['a line without a tab', 'a\tb\nno tab here\n', ':2: the line has no tab (expected source TAB target)'],
    ['an empty source', 'a\tb\nc\td\n \te\n', ':3: the source (before the tab) is empty'],
    ['an empty target', 'a\t\n', ':1: the target (after the tab) is empty'],
    ['bytes that are not UTF-8', Buffer.from([0x61, 0x09, 0xff, 0x0a]), ':1: not valid UTF-8'],
    ['nothing in it', '', ': the file has no pairs'],
  ])('names file and line for %s, and writes nothing', async (_, content, message) => {
    const bad = join(root, 'bad.tsv')
    const out = join(root, 'never')
    await rm(bad, { force: true })
    if (content !== undefined) await writeFile(bad, content)
    for (const args of [
      ['--data', bad],
      ['--data', data, '--valid', bad],
    ]) {
      const { code, stdout, stderr } = await run(['train', ...args, '--out', out, ...tiny])
      expect(stderr).toBe(`tilewise: ${bad}${stderr.slice(`tilewise: ${bad}`.length)}`)
      expect(stderr).toContain(`${bad}${message}`)
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    }
    expect(await readdir(root)).not.toContain('never')
  })

  it('saves on Ctrl-C and ends with 130', async () => {
    const out = join(root, 'interrupted')
    const { child, finished, shows } = await start(['train', '--data', data, '--out', out, '--epochs', '10000', ...tiny])
    await shows('epoch 1/10000')
    child.kill('SIGINT')
    const { code, stderr } = await finished
    expect(stderr).toContain('stopping after this step and saving')
    expect(stderr.trimEnd().endsWith(`saved       ${out}`)).toBe(true)
    expect(code).toBe(130)
    expect((await run(['translate', '--model', out], 'He has a book.\n')).code).toBe(0)
    const rows = lines(await readFile(join(out, 'history.jsonl'), 'utf8'))
    expect(rows.length).toBeGreaterThan(1)
  })

  it('goes on when nobody reads its progress any more, and still saves', async () => {
    const out = join(root, 'unread')
    const { child, finished, shows } = await start(['train', '--data', data, '--out', out, '--epochs', '3', ...tiny])
    await shows('epoch 1/3')
    child.stderr?.destroy()
    expect((await finished).code).toBe(0)
    expect((await run(['translate', '--model', out], 'He has a book.\n')).code).toBe(0)
  })
})

describe('translate', () => {
  it('keeps order and blank lines, whatever the batch and the cache', async () => {
    const sources = lines(await readFile(test, 'utf8')).map(line => line.split('\t')[0] as string)
    const input = [...sources.slice(0, 20), '', '   ', ...sources.slice(20), '']
    const { code, stdout, stderr } = await run(['translate', '--model', model], `${input.join('\n')}\n`)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const translations = lines(stdout)
    expect(translations).toHaveLength(input.length)
    for (const [i, source] of input.entries()) expect(translations[i] === '').toBe(source.trim() === '')
    for (const more of [['--batch-size', '7'], ['--no-cache'], ['--batch-size', '1', '--threads', '1']])
      expect((await run(['translate', '--model', model, ...more], `${input.join('\n')}\n`)).stdout).toBe(stdout)
  })

  it('takes unknown words, a last line without an end, CRLF, and no input at all', async () => {
    const { code, stdout } = await run(['translate', '--model', model], 'Xyzzy plugh quux.\r\nHe has a book.')
    expect(code).toBe(0)
    expect(lines(stdout)).toHaveLength(2)
    expect(await run(['translate', '--model', model])).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  it('keeps to the longest length', async () => {
    const { stdout } = await run(['translate', '--model', model, '--max-length', '2'], 'He has a book.\n')
    expect(lines(stdout)[0]!.length).toBeLessThanOrEqual(2)
  })

  it('names the line that is not UTF-8', async () => {
    const input = Buffer.concat([Buffer.from('He has a book.\n'), Buffer.from([0xc3, 0x28, 0x0a])])
    const { code, stderr } = await run(['translate', '--model', model], input)
    expect(code).toBe(1)
    expect(stderr).toBe('tilewise: standard input:2: not valid UTF-8\n')
  })
})

describe('evaluate', () => {
  it('prints one line of JSON', async () => {
    const { code, stdout, stderr } = await run(['evaluate', '--data', test, '--model', model])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(lines(stdout)).toHaveLength(1)
    const report = JSON.parse(stdout) as Record<string, number | string>
    expect(report).toMatchObject({ pairs: 40, dropped: 0, bleuSignature: expect.stringContaining('tok:zh') })
    expect(report.perplexity).toBeCloseTo(Math.exp(report.loss as number), 8)
    for (const [name, least, most] of [
      ['bleu', 0, 100],
      ['exact', 0, 1],
      ['loss', 0, 20],
      ['tokens', 40, 4000],
    ] as const) {
      expect(report[name]).toBeGreaterThanOrEqual(least)
      expect(report[name]).toBeLessThanOrEqual(most)
    }
    const chars = await run(['evaluate', '--data', test, '--model', model, '--bleu', 'char', '--batch-size', '3', '--max-tokens', '100'])
    const other = JSON.parse(chars.stdout) as Record<string, number | string>
    expect(other.bleuSignature).toContain('tok:char')
    expect(other.loss).toBeCloseTo(report.loss as number, 4)
    expect(other.exact).toBe(report.exact)
  })
})

describe('summary', () => {
  it('shows the layers and the configuration', async () => {
    const { code, stdout, stderr } = await run(['summary', '--model', model])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/layers\.0 +TransformerEncoderLayer/)
    expect(stdout).toMatch(/^dModel {13}32$/m)
  })
})

describe('a damaged model folder', () => {
  const edit = async (folder: string, change: (config: Record<string, unknown>) => Record<string, unknown>) => {
    const path = join(folder, 'config.json')
    await writeFile(path, JSON.stringify(change(JSON.parse(await readFile(path, 'utf8')))))
  }
  type Damage = [name: string, damage: (folder: string) => Promise<unknown>, message: RegExp]
  const cases: Damage[] = [
    ['no folder', folder => rm(folder, { recursive: true }), /: no such folder$/],
    ...['config.json', 'model.safetensors', 'source.json', 'target.json'].map(
      (name): Damage => [`no ${name}`, folder => rm(join(folder, name)), new RegExp(`is not a model folder: ${name} is missing$`)],
    ),
    ['cut weights', folder => truncate(join(folder, 'model.safetensors'), 5000), /model\.safetensors: /],
    ['empty weights', folder => truncate(join(folder, 'model.safetensors'), 0), /model\.safetensors: /],
    ['cut config', folder => truncate(join(folder, 'config.json'), 20), /config\.json: cannot be read as JSON/],
    [
      'a config of another kind',
      folder => writeFile(join(folder, 'config.json'), '{"model_type":"bert"}'),
      /config\.json: "format" must be/,
    ],
    ['a list as config', folder => writeFile(join(folder, 'config.json'), '[]'), /config\.json: the configuration must be an object/],
    [
      'a config of a later version',
      folder => edit(folder, config => ({ ...config, version: 2 })),
      /config\.json: "version" must be 1, is 2/,
    ],
    ['a text for a number', folder => edit(folder, config => ({ ...config, dModel: '32' })), /config\.json: "dModel" must be an integer/],
    [
      'an absurd number',
      folder => edit(folder, config => ({ ...config, numEncoderLayers: 1e12 })),
      /config\.json: "numEncoderLayers" must be/,
    ],
    [
      'large numbers',
      folder => edit(folder, config => ({ ...config, dModel: 32768, numEncoderLayers: 500 })),
      /model\.safetensors: has \d+ weights, but/,
    ],
    ['another width', folder => edit(folder, config => ({ ...config, dModel: 16 })), /model\.safetensors: does not fit config\.json: /],
    [
      'another depth',
      folder => edit(folder, config => ({ ...config, numEncoderLayers: 2, dFeedForward: 1 })),
      /model\.safetensors: does not fit config\.json: /,
    ],
    [
      'another vocabulary',
      folder => edit(folder, config => ({ ...config, sourceVocab: 77 })),
      /source\.json: has \d+ tokens, but "sourceVocab" in config\.json is 77/,
    ],
    [
      'swapped tokenizers',
      folder => cp(join(folder, 'source.json'), join(folder, 'target.json')),
      /target\.json: has \d+ tokens, but "targetVocab"/,
    ],
    ['a damaged tokenizer', folder => writeFile(join(folder, 'target.json'), '{"version":"1.0"}'), /target\.json: not a tokenizer\.json/],
  ]
  it.each(cases)('%s', async (_, damage, message) => {
    const folder = await mkdtemp(join(root, 'damaged-'))
    await cp(model, folder, { recursive: true })
    await damage(folder)
    const { code, stdout, stderr } = await run(['translate', '--model', folder], 'He has a book.\n')
    expect(stderr.trimEnd()).toMatch(message)
    expect(lines(stderr)).toHaveLength(1)
    expect(stderr).toContain(`tilewise: ${folder}`)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  })
})
