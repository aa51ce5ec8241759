// What we use of `@huggingface/tokenizers` 0.2.0 (tsconfig's `paths` points here). The package's own declarations import each other without file
// extensions, which TypeScript refuses with `module: nodenext`, and with `skipLibCheck` silently turns into `any`.

export class Tokenizer {
  constructor(tokenizer: object, config: object)
  encode(text: string, options?: { add_special_tokens?: boolean }): { ids: number[]; tokens: string[]; attention_mask: number[] }
  /** Throws for an empty list. */
  decode(ids: number[], options?: { skip_special_tokens?: boolean }): string
  tokenize(text: string, options?: { add_special_tokens?: boolean }): string[]
  token_to_id(token: string): number | undefined
  id_to_token(id: number): string | undefined
  get_vocab(withAddedTokens?: boolean): Map<string, number>
}
