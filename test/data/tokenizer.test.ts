import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { trainCharTokenizer } from '../../lib/data/charTokenizer.ts'
import { Tokenizer } from '../../lib/data/tokenizer.ts'
import type { VocabularyOptions } from '../../lib/data/wordLevel.ts'
import { trainWordTokenizer } from '../../lib/data/wordTokenizer.ts'
import { DataError } from '../../lib/errors.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tilewise-tokenizer-'))
})
afterAll(() => rm(folder, { recursive: true }))

const english = ['I drink tea.', 'She drinks tea every morning, too!', "We don't drink 1,000 cups (or more) of well-known tea."]
const chinese = ['我喝茶。', '她每天早上也喝茶！', '我有3只猫，“你”呢？']

const trainers = { word: trainWordTokenizer, character: trainCharTokenizer }
const optionLists: VocabularyOptions[] = [
  {},
  { lowercase: true },
  { minFrequency: 2 },
  { maxVocab: 12, normalization: 'NFKC' },
  { normalization: 'none', specialTokens: { pad: '[PAD]', unk: '[UNK]', bos: '[CLS]', eos: '[SEP]', additional: ['<en>', '<zh>'] } },
]

/** Texts with what the tokenizers treat apart: scripts, marks, digits, spaces, special tokens, names of object properties. */
const anyText = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        ...english,
        ...chinese,
        ' ',
        '\n',
        '\t',
        '\u3000',
        '<s>',
        '</s>',
        '<unk>',
        '[CLS]',
        '__proto__',
        'constructor',
        'e\u0301',
        'é',
        'İ',
        '🙂',
        '𠮷',
        'カー',
      ),
      fc.string({ unit: 'grapheme', maxLength: 8 }),
      fc.string({ unit: 'binary', maxLength: 4 }),
    ),
    { maxLength: 6 },
  )
  .map(parts => parts.join(''))

/** The saved file read by the library alone, without our class around it. */
function byLibrary(tokenizer: Tokenizer): HuggingFaceTokenizer {
  const file = JSON.parse(tokenizer.toJSONText())
  return new HuggingFaceTokenizer(file, { unk_token: file.model.unk_token, clean_up_tokenization_spaces: false })
}

describe.each(Object.entries(trainers))('%s tokenizer', (kind, train) => {
  it.each(optionLists)('is the same after saving and loading, and in the library alone: %j', async options => {
    const trained = await train([...english, ...chinese, ...english], options)
    const path = join(folder, `${kind}.json`)
    await trained.save(path)
    const loaded = await Tokenizer.load(path)
    const library = byLibrary(loaded)
    expect(loaded.vocabSize).toBe(trained.vocabSize)
    expect(loaded.special).toEqual({ pad: 0, unk: 1, bos: 2, eos: 3 })
    expect(loaded.toJSONText()).toBe(await readFile(path, 'utf8'))
    fc.assert(
      fc.property(anyText, text => {
        const ids = trained.encode(text)
        expect(loaded.encode(text)).toEqual(ids)
        expect(library.encode(text, { add_special_tokens: false }).ids).toEqual(ids)
        expect(library.encode(text, { add_special_tokens: true }).ids).toEqual(loaded.encode(text, { addBos: true, addEos: true }))
        // Ids are those of the vocabulary, from the file itself; every other token is unknown.
        const { vocab } = JSON.parse(loaded.toJSONText()).model as { vocab: Record<string, number> }
        expect(ids).toEqual(trained.tokenize(text).map(token => (Object.hasOwn(vocab, token) ? vocab[token] : 1)))
        for (const skipSpecialTokens of [true, false]) {
          const decoded = trained.decode(ids, { skipSpecialTokens })
          expect(loaded.decode(ids, { skipSpecialTokens })).toBe(decoded)
          if (ids.length > 0) expect(library.decode(ids, { skip_special_tokens: skipSpecialTokens })).toBe(decoded)
        }
      }),
    )
  })

  it('decodes what it has learnt to the text it was', async () => {
    const texts = [...english, ...chinese]
    const tokenizer = await train(texts)
    expect(tokenizer.decodeBatch(tokenizer.encodeBatch(texts))).toEqual(texts)
  })

  it('gives special tokens the first ids, then the most frequent tokens', async () => {
    const tokenizer = await train(['b a b c b a'], { maxVocab: 7 })
    const tokens = Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenizer.idToToken(id))
    const expected = kind === 'word' ? ['b', 'a', 'c'] : [' ', 'b', 'a']
    expect(tokens).toEqual(['<pad>', '<unk>', '<s>', '</s>', ...expected])
    for (const [id, token] of tokens.entries()) expect(tokenizer.tokenToId(token)).toBe(id)
    expect(tokenizer.tokenToId('zebra')).toBeUndefined()
  })

  it('adds begin and end of sentence on request, each by itself', async () => {
    const tokenizer = await train(['a b'])
    const ids = tokenizer.encode('a b')
    expect(tokenizer.encode('a b', { addBos: true })).toEqual([2, ...ids])
    expect(tokenizer.encode('a b', { addEos: true })).toEqual([...ids, 3])
    expect(tokenizer.encode('', { addBos: true, addEos: true })).toEqual([2, 3])
    expect(tokenizer.encode('')).toEqual([])
    expect(tokenizer.decode([])).toBe('')
  })

  it('leaves out special tokens when decoding unless told otherwise', async () => {
    const tokenizer = await train(['ab'])
    const ids = tokenizer.encode('ab', { addBos: true, addEos: true })
    expect(tokenizer.decode([...ids, 0, 0])).toBe('ab')
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(kind === 'word' ? '<s> ab </s>' : '<s>ab</s>')
  })

  it('counts tokens as they are after normalization', async () => {
    const tokenizer = await train(['cafe\u0301 CAF\u00c9'], { lowercase: true })
    expect(tokenizer.tokenToId(kind === 'word' ? 'caf\u00e9' : '\u00e9')).toBeDefined()
    expect(tokenizer.encode('CAFE\u0301')).toEqual(tokenizer.encode('caf\u00e9'))
    expect(tokenizer.encode('caf\u00e9')).not.toContain(1)
  })

  it('trains from a stream, and twice alike', async () => {
    async function* stream() {
      yield* english
    }
    expect((await train(stream())).toJSONText()).toBe((await train(english)).toJSONText())
  })

  it('keeps tokens called like properties of objects', async () => {
    const tokenizer = await train(['constructor toString 1 0'], { specialTokens: { additional: ['__proto__'] } })
    const loaded = new Tokenizer(tokenizer.toJSONText())
    expect(loaded.encode('__proto__')).toEqual([4])
    expect(loaded.decode(loaded.encode('constructor toString 1 0'))).toBe('constructor toString 1 0')
  })

  it.each([
    ['no texts', [], {}, 'the training texts are empty'],
    ['empty texts', ['', ''], {}, 'the training texts are empty'],
    ['nothing frequent enough', ['a'], { minFrequency: 2 }, 'no token of the training texts occurs 2 times'],
    ['a special token given twice', ['a'], { specialTokens: { pad: '<s>' } }, 'the special token "<s>" is given twice'],
    ['an additional token that is there', ['a'], { specialTokens: { additional: ['x', 'x'] } }, 'the special token "x" is given twice'],
    ['an empty special token', ['a'], { specialTokens: { unk: '' } }, 'must not be empty'],
    ['no room for tokens', ['a'], { maxVocab: 4 }, 'maxVocab must be an integer above the number of special tokens (4), is 4'],
    ['half a token', ['a'], { maxVocab: 9.5 }, 'maxVocab must be'],
    ['a frequency of zero', ['a'], { minFrequency: 0 }, 'minFrequency must be an integer from 1, is 0'],
  ] as [string, string[], VocabularyOptions, string][])('refuses %s', async (_, texts, options, message) => {
    await expect(train(texts, options)).rejects.toThrow(DataError)
    await expect(train(texts, options)).rejects.toThrow(message)
  })

  it('refuses ids that it does not have', async () => {
    const tokenizer = await train(['a'])
    for (const id of [-1, tokenizer.vocabSize, 0.5, Number.NaN]) {
      expect(() => tokenizer.decode([0, id])).toThrow(`ids[1] must be an id from 0 to ${tokenizer.vocabSize - 1}, is ${id}`)
      expect(() => tokenizer.idToToken(id)).toThrow(DataError)
    }
  })
})

describe('word tokenizer', () => {
  it('cuts into words, numbers, marks and Chinese characters', async () => {
    const tokenizer = await trainWordTokenizer(english)
    expect(tokenizer.tokenize("We don't drink 1,000.5 cups (or more)…")).toEqual([
      'We',
      "don't",
      'drink',
      '1,000.5',
      'cups',
      '(',
      'or',
      'more',
      ')',
      '…',
    ])
    expect(tokenizer.tokenize('我有3只猫，well-known吗？')).toEqual(['我', '有', '3', '只', '猫', '，', 'well-known', '吗', '？'])
    expect(tokenizer.tokenize('Владимир e\u0301t\u00e9 \u0939\u093f\u0928\u094d\u0926\u0940 カード')).toEqual([
      'Владимир',
      '\u00e9t\u00e9',
      '\u0939\u093f\u0928\u094d\u0926\u0940',
      'カ',
      'ー',
      'ド',
    ])
  })

  it('loses nothing but white space', async () => {
    const tokenizer = await trainWordTokenizer(english, { normalization: 'none' })
    fc.assert(
      fc.property(anyText, text => {
        const tokens = tokenizer.tokenize(text)
        expect(tokens.join('')).toBe(text.replace(/[\s\u0085]/gu, ''))
      }),
    )
  })

  it.each([
    ['Wait, what? (Yes: 5% of $3.50; “fine”!)', 'Wait, what? (Yes: 5% of $3.50; “fine”!)'],
    ['他说：“你好，世界！”（真的）', '他说：“你好，世界！”（真的）'],
    ['我 有 3 只 猫 。', '我有3只猫。'],
    ['too   many\tspaces .', 'too many spaces.'],
  ])('joins %j to %j', async (text, expected) => {
    const tokenizer = await trainWordTokenizer([text])
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(expected)
  })
})

describe('character tokenizer', () => {
  it('has one token a code point', async () => {
    const tokenizer = await trainCharTokenizer(['x'], {
      normalization: 'none',
      specialTokens: { pad: '\u{10ffff}1', unk: '\u{10ffff}2', bos: '\u{10ffff}3', eos: '\u{10ffff}4' },
    })
    fc.assert(
      fc.property(anyText, text => {
        expect(tokenizer.tokenize(text)).toEqual(Array.from(text))
      }),
    )
  })
})

describe('Tokenizer.load', () => {
  const good = async () => JSON.parse((await trainWordTokenizer(english)).toJSONText())

  it.each<[string, (file: Awaited<ReturnType<typeof good>>) => unknown, string]>([
    ['no object', () => [], 'expected an object at the top'],
    ['no model', file => ({ ...file, model: undefined }), '"model" must be an object, is missing'],
    ['no vocabulary', file => ({ ...file, model: { ...file.model, vocab: 3 } }), '"model.vocab" must be an object or an array, is 3'],
    ['an empty vocabulary', file => ({ ...file, added_tokens: [], model: { ...file.model, vocab: {} } }), 'the vocabulary is empty'],
    [
      'an id that is no number',
      file => ({ ...file, model: { ...file.model, vocab: { tea: '7' } } }),
      '"model.vocab" gives "tea" the id "7"',
    ],
    [
      'an id used twice',
      file => ({ ...file, model: { ...file.model, vocab: { tea: 7, I: 7 } } }),
      '"model.vocab" gives id 7 to both "tea" and "I"',
    ],
    ['an added token of another id', file => ({ ...file, added_tokens: [{ id: 0, content: '<x>' }] }), 'id 0 is both "<pad>" and "<x>"'],
    [
      'an added token without text',
      file => ({ ...file, added_tokens: [{ id: 0 }] }),
      '"added_tokens[0].content" must be a text, is missing',
    ],
    [
      'a hole in the ids',
      file => ({ ...file, added_tokens: [{ id: 999, content: '<x>' }] }),
      'the ids of the vocabulary must run from 0 to',
    ],
    [
      'an unknown token that is not there',
      file => ({ ...file, model: { ...file.model, unk_token: '<no>' } }),
      '"model.unk_token" "<no>" is not in the vocabulary',
    ],
    ['no unknown token', file => ({ ...file, model: { ...file.model, unk_token: null } }), '"model.unk_token" must be a text, is null'],
    [
      'a decoder of no type',
      file => ({ ...file, decoder: 'WordPiece' }),
      '"decoder" must be null or an object with a "type", is "WordPiece"',
    ],
    [
      'a decoder that nobody knows',
      file => ({ ...file, decoder: { type: 'Nonsense' } }),
      'cannot be used (Unknown Decoder type: Nonsense)',
    ],
  ])('names the file and what is wrong: %s', async (_, damage, message) => {
    const path = join(folder, 'damaged.json')
    await writeFile(path, JSON.stringify(damage(await good())))
    await expect(Tokenizer.load(path)).rejects.toThrow(DataError)
    await expect(Tokenizer.load(path)).rejects.toThrow(`${path}: `)
    await expect(Tokenizer.load(path)).rejects.toThrow(message)
  })

  it('names a missing file, a cut-off file and one that is not UTF-8', async () => {
    const missing = join(folder, 'missing.json')
    await expect(Tokenizer.load(missing)).rejects.toThrow(`${missing}: no such file`)
    const path = join(folder, 'cut.json')
    const text = (await trainWordTokenizer(english)).toJSONText()
    await writeFile(path, text.slice(0, text.length / 2))
    await expect(Tokenizer.load(path)).rejects.toThrow(`${path}: not valid JSON`)
    await writeFile(path, Buffer.from([0xff, 0xfe, 0x7b]))
    await expect(Tokenizer.load(path)).rejects.toThrow(`${path}: not valid UTF-8`)
  })

  it('is not harmed by any change of one byte: it loads or throws a DataError that names the file', async () => {
    const text = (await trainCharTokenizer(['ab'])).toJSONText()
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 1 }), (at, character) => {
        try {
          new Tokenizer(text.slice(0, at) + character + text.slice(at + 1), 'file.json').encode('ab')
        } catch (error) {
          expect(error).toBeInstanceOf(DataError)
          expect(String(error)).toContain('file.json: ')
        }
      }),
      { numRuns: 500 },
    )
  })

  it('finds the special tokens of a file that another program has written', async () => {
    // A BERT-like file: template with [CLS] and [SEP], no padding section, WordPiece.
    const json = {
      version: '1.0',
      added_tokens: [{ id: 1, content: '[CLS]', special: true }],
      normalizer: { type: 'BertNormalizer', lowercase: true },
      pre_tokenizer: { type: 'BertPreTokenizer' },
      post_processor: {
        type: 'TemplateProcessing',
        single: [
          { SpecialToken: { id: '[CLS]', type_id: 0 } },
          { Sequence: { id: 'A', type_id: 0 } },
          { SpecialToken: { id: '[SEP]', type_id: 0 } },
        ],
        pair: [],
      },
      decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
      model: {
        type: 'WordPiece',
        unk_token: '[UNK]',
        continuing_subword_prefix: '##',
        vocab: { '[UNK]': 0, '[CLS]': 1, '[SEP]': 2, tea: 3, '##s': 4 },
      },
    }
    const tokenizer = new Tokenizer(JSON.stringify(json))
    expect(tokenizer.special).toEqual({ pad: undefined, unk: 0, bos: 1, eos: 2 })
    expect(tokenizer.encode('Teas', { addBos: true, addEos: true })).toEqual([1, 3, 4, 2])
    expect(tokenizer.decode([3, 4])).toBe('teas')
    expect(tokenizer.specialId('eos')).toBe(2)
    expect(() => tokenizer.specialId('pad')).toThrow('this tokenizer has no padding token')
    const bare = new Tokenizer(JSON.stringify({ ...json, post_processor: null }))
    expect(() => bare.encode('tea', { addEos: true })).toThrow('this tokenizer has no end-of-sentence token')
  })
})

describe('Tokenizer.save', () => {
  it('leaves the old file and no temporary file behind when it fails', async () => {
    const tokenizer = await trainWordTokenizer(english)
    const missing = join(folder, 'no', 'such', 'tokenizer.json')
    await expect(tokenizer.save(missing)).rejects.toThrow(`${missing}: cannot be written`)
    await expect(tokenizer.save(folder)).rejects.toThrow(`${folder}: cannot be written`)
    expect((await readdir(folder)).filter(name => name.endsWith('.tmp'))).toEqual([])
    expect((await readdir(join(folder, '..'))).filter(name => name.startsWith('.tilewise-tokenizer-'))).toEqual([])
  })
})
