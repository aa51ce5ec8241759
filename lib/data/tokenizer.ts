import { readFile } from 'node:fs/promises'
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { DataError } from '../errors.ts'
import { writeTextFile } from './textFile.ts'
import { parseTokenizerFile, type TokenizerFile } from './tokenizerFile.ts'

export interface EncodeOptions {
  /** Put the begin-of-sentence token first. Default false. */
  addBos?: boolean
  /** Put the end-of-sentence token last. Default false. */
  addEos?: boolean
}

export interface DecodeOptions {
  /** Leave out `<pad>`, `<unk>`, `<s>`, `</s>` and other special tokens. Default true. */
  skipSpecialTokens?: boolean
}

/** The ids of the special tokens that a tokenizer has. */
export interface SpecialIds {
  pad: number | undefined
  unk: number | undefined
  bos: number | undefined
  eos: number | undefined
}

/**
 * Text to ids and back. Everything it knows is in its `tokenizer.json`, which any Hugging Face reader understands; encoding and decoding are done by
 * `@huggingface/tokenizers`. Made by `trainWordTokenizer` or `trainCharTokenizer`, or read by `Tokenizer.load`.
 *
 * As in every Hugging Face tokenizer, special tokens are found in the text too: the text `</s>` encodes to the id of `</s>`.
 */
export class Tokenizer {
  /** Number of ids, special tokens included: ids run from 0 to `vocabSize - 1`. */
  readonly vocabSize: number
  readonly special: Readonly<SpecialIds>
  readonly #file: TokenizerFile
  readonly #inner: HuggingFaceTokenizer

  /** @param json the content of a `tokenizer.json`. @param name what errors call it. Throws `DataError` for content that cannot be used. */
  constructor(json: string, name = 'tokenizer.json') {
    this.#file = parseTokenizerFile(json, name)
    const { model } = this.#file
    try {
      // The library has no WordLevel of its own: it takes the token for itself if it is in the vocabulary, and `unk_token` of the second argument if not.
      // Its clean-up of English punctuation is off, because what to do with spaces is the decoder's business.
      const config = { clean_up_tokenization_spaces: false, ...(typeof model.unk_token === 'string' && { unk_token: model.unk_token }) }
      this.#inner = new HuggingFaceTokenizer(this.#file, config)
      // Some damage (a template that is no list) shows at the first use only.
      this.#inner.decode(this.#inner.encode('a 1').ids)
    } catch (cause) {
      throw new DataError(`cannot be used (${cause instanceof Error ? cause.message : cause})`, { file: name }, { cause })
    }
    this.vocabSize = this.#inner.get_vocab().size
    this.special = this.#findSpecial()
  }

  /** Reads a `tokenizer.json`. Throws `DataError` that names the file and what is wrong with it. */
  static async load(path: string): Promise<Tokenizer> {
    let bytes: Uint8Array
    try {
      bytes = await readFile(path)
    } catch (cause) {
      const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
      throw new DataError(
        missing ? 'no such file' : `cannot be read (${cause instanceof Error ? cause.message : cause})`,
        { file: path },
        { cause },
      )
    }
    let text: string
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch (cause) {
      throw new DataError('not valid UTF-8', { file: path }, { cause })
    }
    return new Tokenizer(text, path)
  }

  /** Writes the `tokenizer.json`, replacing a file that is there only when the new one is complete. */
  async save(path: string): Promise<void> {
    await writeTextFile(path, [this.toJSONText()])
  }

  /** The content of the `tokenizer.json`. */
  toJSONText(): string {
    return `${JSON.stringify(this.#file, undefined, 2)}\n`
  }

  /** Ids of a text. Words that the vocabulary lacks become the unknown token. */
  encode(text: string, options: EncodeOptions = {}): number[] {
    const { ids } = this.#inner.encode(text, { add_special_tokens: false })
    if (options.addBos) ids.unshift(this.specialId('bos'))
    if (options.addEos) ids.push(this.specialId('eos'))
    return ids
  }

  /** `encode` of each text. Nothing is padded. */
  encodeBatch(texts: Iterable<string>, options: EncodeOptions = {}): number[][] {
    return Array.from(texts, text => this.encode(text, options))
  }

  /** Text of ids. Throws `DataError` for an id outside 0 … `vocabSize - 1`. */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const list = Array.from(ids)
    for (const [i, id] of list.entries()) this.#token(id, `ids[${i}]`)
    // The library refuses an empty list.
    if (list.length === 0) return ''
    return this.#inner.decode(list, { skip_special_tokens: options.skipSpecialTokens ?? true })
  }

  /** `decode` of each list of ids. */
  decodeBatch(batch: Iterable<Iterable<number>>, options: DecodeOptions = {}): string[] {
    return Array.from(batch, ids => this.decode(ids, options))
  }

  /** The tokens that a text is cut into, before unknown ones are replaced. */
  tokenize(text: string): string[] {
    return this.#inner.tokenize(text)
  }

  /** Id of a token, or undefined if the vocabulary lacks it. */
  tokenToId(token: string): number | undefined {
    return this.#inner.token_to_id(token)
  }

  /** Token of an id. Throws `DataError` for an id outside 0 … `vocabSize - 1`. */
  idToToken(id: number): string {
    return this.#token(id, 'id')
  }

  /** Id of a special token. Throws `DataError` if the tokenizer has none for this role; `special` has undefined then. */
  specialId(role: keyof SpecialIds): number {
    const id = this.special[role]
    const names: Record<keyof SpecialIds, string> = { pad: 'padding', unk: 'unknown', bos: 'begin-of-sentence', eos: 'end-of-sentence' }
    if (id === undefined) throw new DataError(`this tokenizer has no ${names[role]} token`)
    return id
  }

  #token(id: number, name: string): string {
    const token = Number.isInteger(id) ? this.#inner.id_to_token(id) : undefined
    if (token === undefined) throw new DataError(`${name} must be an id from 0 to ${this.vocabSize - 1}, is ${id}`)
    return token
  }

  /** The roles of special tokens stand where Hugging Face keeps them: the model (unknown), the padding, and the template around a sentence. */
  #findSpecial(): SpecialIds {
    const { model, padding, post_processor } = this.#file
    const id = (token: unknown) => (typeof token === 'string' ? this.#inner.token_to_id(token) : undefined)
    const special: SpecialIds = { pad: id(padding?.pad_token) ?? id('<pad>'), unk: id(model.unk_token), bos: undefined, eos: undefined }
    const template = post_processor?.type === 'TemplateProcessing' ? post_processor.single : undefined
    if (Array.isArray(template)) {
      const items = template as { Sequence?: unknown; SpecialToken?: { id: string } }[]
      const sequence = items.findIndex(item => item.Sequence !== undefined)
      special.bos = id(items.slice(0, Math.max(sequence, 0)).at(-1)?.SpecialToken?.id)
      special.eos = id(items[sequence + 1]?.SpecialToken?.id)
    }
    special.bos ??= id('<s>')
    special.eos ??= id('</s>')
    return special
  }
}
