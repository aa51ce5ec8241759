import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { englishChinese } from '../../lib/data/index.ts'
import { DataError } from '../../lib/errors.ts'
import { device, readSafetensors } from '../../lib/index.ts'
import { defaultConfig, type TrainTranslatorOptions, Translator, trainTokenizers, trainTranslator } from '../../lib/models/index.ts'

const cpu = device('cpu', { threads: 1 })
const { train: pairs, test } = englishChinese({ pairs: 300, validation: 0, test: 30 })
const small = { dModel: 32, numHeads: 4, numEncoderLayers: 1, numDecoderLayers: 1, dropout: 0 }
const options: TrainTranslatorOptions = {
  pairs,
  config: small,
  tokenizers: { lowercase: true },
  epochs: 1,
  maxTokens: 512,
  lr: 5e-3,
  device: cpu,
}

let root: string
let translator: Translator
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tilewise-translator-'))
  translator = (await trainTranslator({ ...options, epochs: 3 })).translator
})
afterAll(async () => {
  translator.dispose()
  await rm(root, { recursive: true })
})

const sources = test.map(pair => pair.source)

describe('Translator', () => {
  it.each([
    ['as trained by default', {}],
    [
      'tied, post-norm, learned positions',
      { tieEmbeddings: 'target-output', norm: 'post', positions: 'learned', maxLength: 64, appendSourceEos: true },
    ],
    ['one table for all', { tieEmbeddings: 'all' }],
  ] as const)('comes back from its folder as it was (%s)', async (name, config) => {
    const folder = join(root, name)
    const tokenizers = await trainTokenizers(pairs, {
      source: 'char',
      target: 'char',
      shared: 'tieEmbeddings' in config && config.tieEmbeddings === 'all',
    })
    using made = Translator.create({ ...defaultConfig, dFeedForward: 48, ...small, ...config }, tokenizers, { device: cpu })
    made.model.eval()
    await made.save(folder)
    using loaded = await Translator.load(folder, { device: cpu })
    expect(loaded.config).toEqual(made.config)
    const [before, after] = [made.model.stateDict(), loaded.model.stateDict()]
    expect([...after.keys()]).toEqual([...before.keys()])
    for (const [key, value] of before) expect(await after.get(key)!.read()).toEqual(await value.read())
    expect(await loaded.translate(sources)).toEqual(await made.translate(sources))
    await using file = await readSafetensors(join(folder, 'model.safetensors'))
    expect(file.names().length).toBe(made.model.parameters().length)
    // The same bytes again, over the old ones.
    const bytes = await readFile(join(folder, 'model.safetensors'))
    await expect(loaded.save(folder)).rejects.toThrow('already holds a model')
    await loaded.save(folder, { overwrite: true })
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(bytes)
  })

  it('gives every sentence its translation, however they are batched', async () => {
    const texts = [...sources.slice(0, 10), '', ' \u3000', ...sources.slice(10)]
    const together = await translator.translate(texts)
    expect(together).toHaveLength(texts.length)
    for (const [i, text] of texts.entries()) expect(together[i] === '').toBe(text.trim() === '')
    for (const more of [{ batchSize: 1 }, { batchSize: 5 }, { cache: false }])
      expect(await translator.translate(texts, more)).toEqual(together)
    expect(await translator.translate([])).toEqual([])
  })

  it('cuts what is longer than the model takes', async () => {
    const tokenizers = await trainTokenizers(pairs)
    const config = { ...defaultConfig, dFeedForward: 48, ...small, positions: 'learned', maxLength: 8, appendSourceEos: true } as const
    using short = Translator.create(config, tokenizers, { device: cpu })
    short.model.eval()
    const long = new Array(50).fill('car').join(' ')
    const [one, other] = await short.translate([long, `${long} house`])
    expect(other).toBe(one)
    expect([...(one as string)].length).toBeLessThan(8)
  })

  it('stops when aborted', async () => {
    await expect(translator.translate(sources, { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop')
  })
})

describe('trainTranslator', () => {
  it('chooses characters for Chinese and words for English', async () => {
    expect((await trainTokenizers(pairs)).kinds).toEqual({ source: 'word', target: 'char' })
    expect((await trainTokenizers(pairs.map(({ source, target }) => ({ source: target, target: source })))).kinds).toEqual({
      source: 'char',
      target: 'word',
    })
    await expect(trainTokenizers(pairs, { shared: true })).rejects.toThrow('one kind of tokenizer for both sides')
  })

  it('tells what it does, and the loss falls', async () => {
    const told: string[] = []
    const { translator: made, history } = await trainTranslator({
      ...options,
      epochs: 3,
      validation: test,
      reporter: {
        started: start => void told.push(`started ${start.pairs} ${start.dropped} ${start.validationPairs} ${start.epochs}`),
        step: report => void told.push(`step ${report.step}`),
        epoch: (report, samples) => void told.push(`epoch ${report.epoch} ${samples.length}`),
      },
    })
    made.dispose()
    expect(told[0]).toBe('started 270 0 30 3')
    expect(told.filter(line => line.startsWith('epoch'))).toEqual(['epoch 1 3', 'epoch 2 3', 'epoch 3 3'])
    expect(history.losses).toHaveLength(told.filter(line => line.startsWith('step')).length)
    const losses = history.epochs.map(epoch => epoch.validation!.loss)
    expect(losses[2]).toBeLessThan(losses[0]! - 0.3)
    expect(history.epochs[0]!.samples.map(sample => sample.source)).toEqual(sources.slice(0, 3))
  })

  it('leaves out pairs that are too long, and refuses when none is left', async () => {
    let dropped = 0
    const long = { source: new Array(600).fill('a').join(' '), target: '好' }
    const started = (start: { dropped: number }) => {
      dropped = start.dropped
    }
    const { translator: made } = await trainTranslator({
      ...options,
      pairs: [...pairs, long],
      maxSteps: 1,
      samples: [],
      reporter: { started },
    })
    made.dispose()
    expect(dropped).toBe(1)
    await expect(trainTranslator({ ...options, pairs: [long] })).rejects.toThrow(
      'all 1 pairs have a side with more tokens than the model takes (512)',
    )
    await expect(trainTranslator({ ...options, pairs: [] })).rejects.toThrow(DataError)
  })

  it('saves what it has when aborted, and rejects with the reason', async () => {
    const out = join(root, 'aborted')
    const controller = new AbortController()
    const reason = new Error('stop')
    const reporter = { step: (report: { step: number }) => void (report.step === 3 && controller.abort(reason)) }
    await expect(trainTranslator({ ...options, epochs: 100, out, signal: controller.signal, reporter })).rejects.toBe(reason)
    expect((await readdir(out)).sort()).toEqual(['config.json', 'history.jsonl', 'model.safetensors', 'source.json', 'target.json'])
    using loaded = await Translator.load(out, { device: cpu })
    expect(loaded.config.dModel).toBe(32)
  })

  it('leaves a model that is there when training fails', async () => {
    const out = join(root, 'kept')
    await translator.save(out)
    const before = await readFile(join(out, 'model.safetensors'))
    await expect(trainTranslator({ ...options, out })).rejects.toThrow('already holds a model')
    await expect(trainTranslator({ ...options, out, overwrite: true, epochs: 50, lr: 1e30, clip: 0 })).rejects.toThrow('the loss is')
    expect(await readFile(join(out, 'model.safetensors'))).toEqual(before)
    expect((await readdir(out)).sort()).toEqual(['config.json', 'model.safetensors', 'source.json', 'target.json'])
  })

  it('frees everything but the translator', async () => {
    await cpu.synchronize()
    const before = cpu.memory().live
    const { translator: made } = await trainTranslator({ ...options, maxSteps: 3 })
    made.dispose()
    await cpu.synchronize()
    expect(cpu.memory().live).toBe(before)
  })
})
