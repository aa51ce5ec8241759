import { DataError } from '../errors.ts'

/** An entry of `added_tokens` in a Hugging Face `tokenizer.json`. */
export interface AddedTokenEntry {
  id: number
  content: string
  single_word: boolean
  lstrip: boolean
  rstrip: boolean
  normalized: boolean
  special: boolean
}

/** A component (normalizer, pre-tokenizer, decoder, post-processor): its `type`, and what belongs to that type. */
export interface Component {
  type: string
  [option: string]: unknown
}

/** The content of a Hugging Face `tokenizer.json` (version 1.0). */
export interface TokenizerFile {
  version: string
  truncation: null
  padding: Component | null
  added_tokens: AddedTokenEntry[]
  normalizer: Component | null
  pre_tokenizer: Component | null
  post_processor: Component | null
  decoder: Component | null
  model: Component
}

type JsonObject = Record<string, unknown>

const isObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value)
const show = (value: unknown) => (value === undefined ? 'missing' : (JSON.stringify(value) ?? String(value)).slice(0, 60))

/**
 * Parses and checks a `tokenizer.json`. Only what every reader relies on is checked here (shapes, ids, the unknown token); whether a component is
 * supported is for the library that builds it to say. Throws `DataError` that names `file` and the field.
 */
export function parseTokenizerFile(text: string, file: string): TokenizerFile {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new DataError(`not valid JSON (${cause instanceof Error ? cause.message : cause})`, { file }, { cause })
  }
  const fail = (message: string): never => {
    throw new DataError(`not a tokenizer.json: ${message}`, { file })
  }
  if (!isObject(json)) return fail('expected an object at the top')

  const component = (name: string, value: unknown): Component | null => {
    if (value === null || value === undefined) return null
    if (!isObject(value) || (typeof value.type !== 'string' && name !== 'padding')) {
      return fail(`"${name}" must be null or an object with a "type", is ${show(value)}`)
    }
    checkPatterns(name, value, fail)
    return value as Component
  }
  if (!isObject(json.model)) return fail(`"model" must be an object, is ${show(json.model)}`)
  const model = { ...json.model, type: typeof json.model.type === 'string' ? json.model.type : '' } as Component
  const vocabulary = readVocabulary(model, fail)

  const entries = json.added_tokens ?? []
  if (!Array.isArray(entries)) return fail(`"added_tokens" must be an array, is ${show(entries)}`)
  const added = entries.map((entry: unknown, i): AddedTokenEntry => {
    if (!isObject(entry)) return fail(`"added_tokens[${i}]" must be an object, is ${show(entry)}`)
    const { id, content } = entry
    if (typeof content !== 'string' || content === '') return fail(`"added_tokens[${i}].content" must be a text, is ${show(content)}`)
    if (!isId(id)) return fail(`"added_tokens[${i}].id" must be an integer from 0, is ${show(id)}`)
    const other = vocabulary.get(id)
    if (other !== undefined && other !== content) return fail(`id ${id} is both ${show(other)} and ${show(content)}`)
    vocabulary.set(id, content)
    const flag = (name: string) => entry[name] === true
    const special = flag('special')
    return {
      id,
      content,
      single_word: flag('single_word'),
      lstrip: flag('lstrip'),
      rstrip: flag('rstrip'),
      normalized: typeof entry.normalized === 'boolean' ? entry.normalized : !special,
      special,
    }
  })
  if (vocabulary.size === 0) return fail('the vocabulary is empty')
  for (let id = 0; id < vocabulary.size; id++) {
    if (!vocabulary.has(id)) return fail(`the ids of the vocabulary must run from 0 to ${vocabulary.size - 1}, ${id} is missing`)
  }
  const unknown = model.unk_token
  if (typeof unknown === 'string' && ![...vocabulary.values()].includes(unknown))
    return fail(`"model.unk_token" ${show(unknown)} is not in the vocabulary`)
  if (model.type === 'WordLevel' && typeof unknown !== 'string') return fail(`"model.unk_token" must be a text, is ${show(unknown)}`)

  return {
    version: typeof json.version === 'string' ? json.version : '1.0',
    truncation: null,
    padding: component('padding', json.padding),
    added_tokens: added,
    normalizer: component('normalizer', json.normalizer),
    pre_tokenizer: component('pre_tokenizer', json.pre_tokenizer),
    post_processor: component('post_processor', json.post_processor),
    decoder: component('decoder', json.decoder),
    model,
  }
}

/** The library passes over a pattern that is missing or that it does not understand, and then does not cut at all. */
function checkPatterns(name: string, value: unknown, fail: (message: string) => never): void {
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) checkPatterns(`${name}[${i}]`, item, fail)
  } else if (isObject(value)) {
    const { pattern } = value
    if (
      (value.type === 'Split' || value.type === 'Replace') &&
      !(isObject(pattern) && typeof (pattern.Regex ?? pattern.String) === 'string')
    ) {
      fail(`"${name}.pattern" must be {"Regex": text} or {"String": text}, is ${show(pattern)}`)
    }
    for (const [key, item] of Object.entries(value)) checkPatterns(`${name}.${key}`, item, fail)
  }
}

const isId = (value: unknown): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

/** Tokens by id, from either form of `model.vocab`: an object of ids (WordLevel, BPE, WordPiece) or an array of [token, score] (Unigram). */
function readVocabulary(model: Component, fail: (message: string) => never): Map<number, string> {
  const tokens = new Map<number, string>()
  const { vocab } = model
  if (Array.isArray(vocab)) {
    vocab.forEach((entry: unknown, id) => {
      const token = Array.isArray(entry) ? (entry[0] as unknown) : undefined
      if (typeof token !== 'string') fail(`"model.vocab[${id}]" must be [token, score], is ${show(entry)}`)
      else tokens.set(id, token)
    })
  } else if (isObject(vocab)) {
    for (const [token, id] of Object.entries(vocab)) {
      if (!isId(id)) return fail(`"model.vocab" gives ${show(token)} the id ${show(id)}, expected an integer from 0`)
      if (tokens.has(id)) return fail(`"model.vocab" gives id ${id} to both ${show(tokens.get(id))} and ${show(token)}`)
      tokens.set(id, token)
    }
  } else {
    return fail(`"model.vocab" must be an object or an array, is ${show(vocab)}`)
  }
  return tokens
}
