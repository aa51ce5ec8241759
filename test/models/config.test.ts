import { describe, expect, it } from 'vitest'
import { DataError } from '../../lib/errors.ts'
import { checkConfig, defaultConfig, fewestElements, presets, type TranslatorConfig } from '../../lib/models/config.ts'

const good: TranslatorConfig = { ...defaultConfig, dFeedForward: 1024, sourceVocab: 100, targetVocab: 200 }

describe('checkConfig', () => {
  it('takes what it gave', () => {
    expect(checkConfig(JSON.parse(JSON.stringify(good)))).toEqual(good)
    for (const preset of Object.values(presets)) expect(checkConfig({ ...good, ...preset }).dModel).toBe(preset.dModel)
  })

  it.each([
    ['dModel', '256', '"dModel" must be an integer from 1 to 32768, is "256"'],
    ['dModel', 1e9, '"dModel" must be an integer from 1 to 32768, is 1000000000'],
    ['dModel', 2.5, '"dModel" must be an integer'],
    ['numHeads', 0, '"numHeads" must be an integer from 1'],
    ['numHeads', 7, '"numHeads" must divide "dModel" (256), is 7'],
    ['numEncoderLayers', -1, '"numEncoderLayers" must be'],
    ['dropout', 1, '"dropout" must be a number from 0 to 0.99, is 1'],
    ['dropout', null, '"dropout" must be a number from 0 to 0.99, is null'],
    ['activation', 'swish', '"activation" must be one of relu, gelu, geluTanh, silu, relu2, is "swish"'],
    ['norm', ['pre'], '"norm" must be one of pre, post, is ["pre"]'],
    ['gated', 1, '"gated" must be true or false, is 1'],
    ['tieEmbeddings', 'all', '"sourceVocab" is 100 and "targetVocab" 200'],
    ['maxLength', 1, '"maxLength" must be an integer from 2'],
    ['targetVocab', 2 ** 40, '"targetVocab" must be an integer from 1 to 16777216'],
    ['surprise', 1, '"surprise" is not a known field'],
    ['dtype', undefined, '"dtype" must be one of f32, bf16, is undefined'],
  ])('names %s that is %j', (field, value, message) => {
    const check = () => checkConfig({ ...good, [field]: value }, 'model/config.json')
    expect(check).toThrow(DataError)
    expect(check).toThrow(message)
    expect(check).toThrow('model/config.json: ')
  })

  it('names every field that is missing', () => {
    for (const field of Object.keys(good)) {
      const { [field as keyof TranslatorConfig]: _, ...rest } = good
      expect(() => checkConfig(rest)).toThrow(`"${field}" is missing`)
    }
    for (const value of [null, [], 'x', 1]) expect(() => checkConfig(value)).toThrow('must be an object')
  })
})

it('counts fewer elements than any such model has, and grows with every size', () => {
  const count = fewestElements(good)
  // Two layers each of attention (4 or 8 square matrices) and feed-forward, and three tables of the vocabulary.
  expect(count).toBe(2 * (4 * 256 ** 2 + 2 * 256 * 1024) + 2 * (8 * 256 ** 2 + 2 * 256 * 1024) + 256 * (100 + 200 + 200))
  for (const field of ['dModel', 'numEncoderLayers', 'numDecoderLayers', 'dFeedForward', 'sourceVocab', 'targetVocab'] as const)
    expect(fewestElements({ ...good, [field]: good[field] * 2 })).toBeGreaterThan(count)
})
