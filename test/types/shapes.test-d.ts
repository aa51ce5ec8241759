/** Shapes that the compiler checks. */
import { assertType, describe, expectTypeOf, test } from 'vitest'
import { type Shape, type Tensor, tensor } from '../../lib/index.ts'
import * as nn from '../../lib/nn/index.ts'
import type { Last, WithLast } from '../../lib/types/shape.ts'

declare const wide: Tensor<[8, 16, 512]>
declare const narrow: Tensor<[8, 16, 256]>
declare const rows: Tensor<[16, 512]>
declare const anyLength: Tensor<[number, number, 512]>
declare const anyShape: Tensor<Shape>
declare const anyWidth: Tensor<[8, 16, number]>

describe('dimensions', () => {
  test('the last one', () => {
    expectTypeOf<Last<[8, 16, 512]>>().toEqualTypeOf<512>()
    expectTypeOf<Last<readonly number[]>>().toEqualTypeOf<number>()
    expectTypeOf<WithLast<[8, 16, 512], 64>>().toEqualTypeOf<[8, 16, 64]>()
    expectTypeOf<WithLast<Shape, 64>>().toEqualTypeOf<Shape>()
  })
  test('come from literals', () => {
    expectTypeOf(tensor(new Float32Array(6), [2, 3]).shape).toEqualTypeOf<readonly [2, 3]>()
    expectTypeOf(tensor([[1, 2]]).shape).toEqualTypeOf<Shape>()
  })
})

describe('Linear', () => {
  const linear = new nn.Linear(512, 2048)
  test('maps the last dimension', () => {
    expectTypeOf(linear.forward(wide)).toEqualTypeOf<Tensor<[8, 16, 2048]>>()
    expectTypeOf(linear.forward(anyLength)).toEqualTypeOf<Tensor<[number, number, 2048]>>()
  })
  test('refuses another width, and takes what is not known', () => {
    // @ts-expect-error 256 is not 512
    linear.forward(narrow)
    assertType<Tensor>(linear.forward(anyShape))
    assertType<Tensor>(linear.forward(anyWidth))
  })
  test('of unknown sizes takes everything', () => {
    const unknown = new nn.Linear(512 as number, 64)
    assertType<Tensor>(unknown.forward(narrow))
  })
})

describe('MultiheadAttention', () => {
  const attention = new nn.MultiheadAttention({ embedDim: 512, numHeads: 8 })
  test('refuses a query, key or value of another width', () => {
    // @ts-expect-error 256 is not 512
    attention.forward(narrow, narrow, narrow)
    // @ts-expect-error 256 is not 512
    attention.forward(wide, narrow, wide)
    // @ts-expect-error 256 is not 512
    attention.forward(wide, wide, narrow)
  })
  test('gives the shape of the query', () => {
    expectTypeOf(attention.forward(wide, wide, wide).output).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    expectTypeOf(attention.forward(rows).output).toEqualTypeOf<Tensor<[16, 512]>>()
    expectTypeOf(attention.forward(wide, anyShape, anyLength).output).toEqualTypeOf<Tensor<[8, 16, 512]>>()
  })
  test('knows widths of keys and values', () => {
    const mixed = new nn.MultiheadAttention({ embedDim: 512, numHeads: 8, kdim: 256, vdim: 512 })
    expectTypeOf(mixed.forward(wide, narrow, wide).output).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    // @ts-expect-error 512 is not 256
    mixed.forward(wide, wide, wide)
  })
})

describe('layers and stacks', () => {
  const options = { dModel: 512, numHeads: 8 } as const
  test('refuse another width', () => {
    const encoder = new nn.TransformerEncoder({ ...options, numLayers: 2 })
    expectTypeOf(encoder.forward(wide)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    // @ts-expect-error 256 is not 512
    encoder.forward(narrow)
    const decoder = new nn.TransformerDecoderLayer(options)
    expectTypeOf(decoder.forward(wide, anyLength)).toEqualTypeOf<Tensor<[8, 16, 512]>>()
    // @ts-expect-error 256 is not 512
    decoder.forward(wide, narrow)
    const transformer = new nn.Transformer({ dModel: 512 })
    expectTypeOf(transformer.forward(wide, anyLength)).toEqualTypeOf<Tensor<[number, number, 512]>>()
    // @ts-expect-error 256 is not 512
    transformer.forward(narrow, wide)
    // @ts-expect-error 256 is not 512
    new nn.LayerNorm(512).forward(narrow)
    // @ts-expect-error 256 is not 512
    new nn.FeedForward({ dModel: 512 }).forward(narrow)
  })
})

describe('places', () => {
  test('converting is immediate, moving is not', () => {
    const linear = new nn.Linear(4, 4)
    expectTypeOf(linear.to('bf16')).toEqualTypeOf<nn.Linear<4, 4>>()
    expectTypeOf(linear.to(anyShape.device)).toEqualTypeOf<Promise<nn.Linear<4, 4>>>()
  })
})
