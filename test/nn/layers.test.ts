/** Layers, stacks and the whole Transformer against PyTorch: dense with mask tensors, and packed by key lengths. */
import { describe, expect, test } from 'vitest'
import { type Device, Mask, scope, type Tensor } from '../../lib/index.ts'
import {
  type Module,
  Transformer,
  TransformerDecoder,
  TransformerDecoderLayer,
  TransformerEncoder,
  TransformerEncoderLayer,
} from '../../lib/nn/index.ts'
import { testDevices } from '../devices.ts'
import { type Fixture, type FixtureCase, loadFixture } from '../fixtures/fixture.ts'
import { CaseTensors } from './pytorch.ts'

type Encoder = TransformerEncoder | TransformerEncoderLayer
type Decoder = TransformerDecoder | TransformerDecoderLayer

interface Family {
  make: (options: never, device: Device) => Module
  run: (module: never, inputs: never, options: never) => Tensor
  /** The padding of the rows that come out. */
  own: string
}

const encoder = { run: (module: Encoder, [src]: [Tensor], options: object) => module.forward(src, options), own: 'srcKeyPaddingMask' }
const decoder = {
  run: (module: Decoder, [tgt, memory]: [Tensor, Tensor], options: object) => module.forward(tgt, memory, options),
  own: 'tgtKeyPaddingMask',
}
const families: Record<string, Family> = {
  encoder_layer: { make: (options, device) => new TransformerEncoderLayer(options, { device }), ...encoder },
  decoder_layer: { make: (options, device) => new TransformerDecoderLayer(options, { device }), ...decoder },
  encoder: { make: (options, device) => new TransformerEncoder(options, { device }), ...encoder },
  decoder: { make: (options, device) => new TransformerDecoder(options, { device }), ...decoder },
  transformer: {
    make: (options, device) => new Transformer(options, { device }),
    run: (module: Transformer, [src, tgt]: [Tensor, Tensor], options: object) => module.forward(src, tgt, options),
    own: 'tgtKeyPaddingMask',
  },
}

/** Lengths of sequences whose padding is at the end: uint8 1, or −∞, hides. */
function lengthsOf(fixture: Fixture, each: FixtureCase, name: string): number[] {
  const { shape, data } = fixture.tensor(each.name, name)
  const length = shape.at(-1) as number
  return Array.from({ length: data.length / length }, (_, b) => {
    const hidden = Array.from(data.subarray(b * length, (b + 1) * length), value => value === 1 || value === Number.NEGATIVE_INFINITY)
    const count = hidden.indexOf(true) < 0 ? length : hidden.indexOf(true)
    expect(hidden.slice(count).every(Boolean), 'padding is at the end').toBe(true)
    return count
  })
}

function optionsOf(tensors: CaseTensors, fixture: Fixture, each: FixtureCase, packed: boolean): Record<string, unknown> {
  const options: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(each.forward ?? {})) {
    if (typeof value === 'boolean') options[key === 'srcIsCausal' && each.inputs?.length === 1 ? 'isCausal' : key] = value
    else if (packed && key.endsWith('KeyPaddingMask')) options[key] = Mask.keyLengths(lengthsOf(fixture, each, value))
    else options[key] = tensors.get(value).dtype === 'u8' ? Mask.drop(tensors.get(value)) : Mask.bias(tensors.get(value))
  }
  // What the flag says and the mask holds must be the same.
  if (each.forward?.tgtIsCausal) delete options.tgtMask
  if (each.forward?.srcIsCausal) delete options.srcMask
  return options
}

describe.each(testDevices)('$name', ({ device }) => {
  describe.each(Object.keys(families))('%s', family => {
    const { make, run, own } = families[family] as Family
    const fixture = loadFixture(family)
    describe.each([
      ['dense', false],
      ['packed', true],
    ])('%s', (_, packed) => {
      const cases = fixture.cases.filter(each => !packed || Object.keys(each.forward ?? {}).some(key => key.endsWith('KeyPaddingMask')))
      test.each(cases.map(each => [each.name, each] as const))('%s', async (_, each) => {
        await scope(async () => {
          const tensors = new CaseTensors(fixture, each, device)
          const module = make(each.options as never, device)
          tensors.load(module)
          const options = optionsOf(tensors, fixture, each, packed)
          const output = run(module as never, (each.inputs as string[]).map(name => tensors.get(name)) as never, options as never)
          const padding = each.forward?.[own]
          const length = output.shape.at(-2) as number
          const lengths = packed && typeof padding === 'string' ? lengthsOf(fixture, each, padding) : undefined
          await tensors.expectClose(
            output,
            'output',
            lengths && { rows: row => row % length < (lengths[Math.floor(row / length)] as number) },
          )
          output.backward(tensors.get('grad_output'))
          await tensors.expectGradients(module)
          module.dispose()
        })
      })
    })
  })
})
