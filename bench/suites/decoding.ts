/** Greedy decoding of a batch of sentences to a fixed number of tokens, keys and values kept on both sides. */

import { greedy } from '../../lib/generate/index.ts'
import type { FloatDType } from '../../lib/index.ts'
import type { Answers, Row } from '../row.ts'
import { BATCH, makeModel, modelArguments, type Size, SOURCE_TOKENS, sentences, sizeName, sizes, TARGET_TOKENS } from '../translation.ts'
import { shareWeights } from '../weights.ts'

const BOS = 1
/** No token has this id, so that every sentence takes all its tokens. */
const NEVER = -1
/** Two sides whose sums differ in the last bits may part where two tokens are equally likely, and stay apart to the end of that sentence. */
const EQUAL_PART = 0.95

function expectSameTokens(ours: Answers, theirs: Answers): void {
  const [mine = [], other = []] = [ours.tokens, theirs.tokens]
  const equal = mine.filter((id, i) => id === other[i]).length
  if (mine.length !== other.length || equal < EQUAL_PART * mine.length)
    throw new Error(`the sides decode different things: ${equal} tokens of ${mine.length} here and ${other.length} there are equal`)
}

function row(size: Size, dtype: FloatDType, cached: boolean): Row {
  const source = sentences('source')
  const name = `greedy ${sizeName(size)}, ${BATCH} sentences, ${SOURCE_TOKENS}→${TARGET_TOKENS} tokens`
  return {
    name: cached ? name : `${name}; PyTorch: nn.TransformerDecoder, no cache`,
    dtype,
    unit: 'ms',
    work: { amount: BATCH * TARGET_TOKENS, unit: 'tokens/s' },
    twin: {
      name: `translation.${cached ? 'greedy' : 'greedy_without_cache'}`,
      args: { batch: BATCH, source: [...source.ids], bos: BOS, tokens: TARGET_TOKENS, ...modelArguments(size, 0) },
    },
    async prepare(device) {
      const model = makeModel(size, 0, device)
      const { weights, remove } = await shareWeights(model)
      model.eval()
      const translate = () => greedy(model, source, { bos: BOS, eos: NEVER, maxLengths: TARGET_TOKENS })
      const tokens = (await translate()).flat()
      if (dtype !== 'f32') model.to(dtype)
      return {
        async sample(iterations) {
          const start = performance.now()
          for (let i = 0; i < iterations; i++) await translate()
          return (performance.now() - start) / iterations
        },
        shared: { weights },
        answers: { tokens },
        dispose: () => {
          remove()
          model.dispose()
        },
      }
    },
    verify: expectSameTokens,
  }
}

export function rows(): Row[] {
  return sizes.flatMap(size => (['f32', 'bf16'] as const).flatMap(dtype => [true, false].map(cached => row(size, dtype, cached))))
}
