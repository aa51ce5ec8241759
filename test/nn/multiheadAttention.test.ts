import { describe, expect, test } from 'vitest'
import { ArgumentError, Mask, scope, type Tensor, tensor } from '../../lib/index.ts'
import { MultiheadAttention, type MultiheadAttentionForward } from '../../lib/nn/index.ts'
import { testDevices } from '../devices.ts'
import { loadFixture } from '../fixtures/fixture.ts'
import { CaseTensors } from './pytorch.ts'

const fixture = loadFixture('multihead_attention')

type Options = ConstructorParameters<typeof MultiheadAttention>[0]

/**
 * The second pass for weights and the backward pass compute them again from scores and the logarithm of their sum, both in f32: above 1024 either is rounded by
 * up to 2^-14.
 */
const slackOf = (name: string) => (name === 'large_scores' ? 2 ** -13 : 0)

interface Forward {
  needWeights: boolean
  averageAttnWeights: boolean
  isCausal: boolean
  attnMask?: string
  keyPaddingMask?: string
}

/** PyTorch's masks: 1 hides, floats are added. */
const maskOf = (t: Tensor) => (t.dtype === 'u8' ? Mask.drop(t) : Mask.bias(t))

describe.each(testDevices)('MultiheadAttention on $name', ({ device }) => {
  test.each(fixture.cases.map(each => [each.name, each] as const))('%s', async (_, each) => {
    await scope(async () => {
      const tensors = new CaseTensors(fixture, each, device)
      const module = new MultiheadAttention(each.options as unknown as Options, { device })
      tensors.load(module)
      const [query, key, value] = (each.inputs as string[]).map(name => tensors.get(name)) as [Tensor, Tensor, Tensor]
      const { needWeights, averageAttnWeights, isCausal, attnMask, keyPaddingMask } = each.forward as unknown as Forward
      const options: MultiheadAttentionForward = { needWeights, averageAttnWeights, isCausal }
      if (attnMask) options.mask = maskOf(tensors.get(attnMask))
      if (keyPaddingMask) options.keyPaddingMask = maskOf(tensors.get(keyPaddingMask))
      const { output, weights } = module.forward(query, key, value, options)
      await tensors.expectClose(output, 'output')
      if (needWeights) await tensors.expectClose(weights, 'weights', { slack: slackOf(each.name) })
      else expect(weights).toBeUndefined()
      if (each.gradients?.length) {
        output.backward(tensors.get('grad_output'))
        await tensors.expectGradients(module, key => key, slackOf(each.name))
      }
      module.dispose()
    })
  })
})

const first = testDevices[0]?.device as (typeof testDevices)[0]['device']
const zeros = (shape: readonly number[], dtype: 'f32' | 'u8' | 'i32' = 'f32') => {
  const size = shape.reduce((product, each) => product * each, 1)
  const data = dtype === 'u8' ? new Uint8Array(size) : dtype === 'i32' ? new Int32Array(size) : new Float32Array(size)
  return tensor(data, shape, { device: first })
}

describe('errors', () => {
  interface ErrorCase {
    name: string
    options: Options
    shapes: Record<string, number[]>
    dtypes?: Record<string, string>
  }
  // Where PyTorch refuses and we do not: masks of four dimensions broadcast, and truth values are u8.
  const ours = new Map([
    ['attn_mask_4d', 'a mask that broadcasts to [B, H, Tq, Tk] is one of ours'],
    ['attn_mask_uint8', 'u8 is the type of truth values here'],
    ['key_padding_mask_uint8', 'u8 is the type of truth values here'],
  ])
  for (const each of fixture.table.errors as ErrorCase[]) {
    const call = () =>
      scope(() => {
        using module = new MultiheadAttention(each.options, { device: first })
        const { query, key, value, attnMask, keyPaddingMask } = each.shapes as Record<string, number[] | undefined>
        const mask = (name: string, shape: readonly number[]) => {
          const dtype = each.dtypes?.[name] === 'int64' ? 'i32' : 'u8'
          return Mask.drop(zeros(shape, dtype) as Tensor<readonly number[], 'u8'>)
        }
        module.forward(zeros(query as number[]) as Tensor, zeros(key as number[]) as Tensor, zeros(value as number[]) as Tensor, {
          ...(attnMask ? { mask: mask('attnMask', attnMask) } : {}),
          ...(keyPaddingMask ? { keyPaddingMask: mask('keyPaddingMask', keyPaddingMask) } : {}),
        })
      })
    const difference = ours.get(each.name)
    if (difference) test(`${each.name}: allowed, ${difference}`, () => expect(call).not.toThrow())
    else test(each.name, () => expect(call).toThrow(ArgumentError))
  }

  test('name the option', () => {
    const make = (options: Options) => () => new MultiheadAttention(options, { device: first })
    expect(make({ embedDim: 8, numHeads: 3 })).toThrow('[MultiheadAttention] embedDim must be divisible by numHeads')
    expect(make({ embedDim: 8, numHeads: 4, numKVHeads: 3 })).toThrow('numKVHeads must divide numHeads, is 3 for 4 heads')
    expect(make({ embedDim: 8, numHeads: 4, dropout: 1 })).toThrow('dropout must be at least 0 and below 1, is 1')
    expect(make({ embedDim: 8, numHeads: 4, headDim: 0 })).toThrow('headDim must be an integer from 1, is 0')
  })
})
