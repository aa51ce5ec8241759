/** What a whole model keeps: independence of padding, causality, gradients that add up, memory, and decoding with a cache. */
import { describe, expect, test } from 'vitest'
import { observeOps } from '../../lib/autograd/defineOp.ts'
import { packRagged } from '../../lib/data/index.ts'
import { type Device, device, Mask, noGrad, Sequences, scope, seed, type Tensor, tensor, zeros } from '../../lib/index.ts'
import {
  MultiheadAttention,
  SelfAttentionCache,
  Transformer,
  TransformerEncoder,
  type TransformerOptions,
  type TranslationBatch,
} from '../../lib/nn/index.ts'
import { PhiloxStream } from '../../lib/random.ts'
import { testDevices } from '../devices.ts'

const cpu = (testDevices[0] as { device: Device }).device
const small = {
  dModel: 16,
  numHeads: 4,
  numEncoderLayers: 2,
  numDecoderLayers: 2,
  dFeedForward: 24,
  dropout: 0,
  sourceVocab: 11,
  targetVocab: 13,
} as const

const variants: [string, TransformerOptions][] = [
  ['post-norm', { ...small }],
  [
    'pre-norm, learned positions, tied output',
    { ...small, norm: 'pre', positions: 'learned', maxLength: 32, tieEmbeddings: 'target-output' },
  ],
  [
    'grouped heads, explicit head size, gated, RMS norm',
    { ...small, norm: 'pre', numKVHeads: 2, headDim: 6, gated: true, activation: 'silu', normKind: 'rms' },
  ],
  [
    'no positions, no biases, all tied',
    { ...small, targetVocab: 11, positions: 'none', bias: false, tieEmbeddings: 'all', finalNorm: false },
  ],
]

const make = (options: TransformerOptions, place: { device: Device; dtype?: 'bf16' | 'f32' } = { device: cpu }) => {
  seed(1)
  return new Transformer(options, place)
}

const stream = new PhiloxStream(9)
const ids = (length: number, vocab = 11) => Array.from({ length }, () => stream.int(vocab))
const pairs = [
  [5, 4],
  [1, 7],
  [8, 2],
  [3, 3],
].map(([source, target]) => ({ source: ids(source as number), target: ids(target as number) }))

function batchOf(some: typeof pairs): TranslationBatch {
  return {
    source: packRagged(some.map(pair => pair.source)),
    target: packRagged(some.map(pair => [1, ...pair.target])),
    labels: packRagged(some.map(pair => [...pair.target, 2])).ids,
  }
}
const batch = batchOf(pairs)

const worst = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.max(0, ...Array.from(a, (value, i) => Math.abs(value - (b[i] as number))))

describe.each(variants)('%s', (_, options) => {
  test('a sequence does not depend on the batch that it is in', async () => {
    using model = make(options)
    const vocab = options.targetVocab as number
    await scope(async () => {
      const together = await model.forward(batch).read()
      let at = 0
      for (const pair of pairs) {
        const alone = await model.forward(batchOf([pair])).read()
        expect(worst(alone, together.subarray(at, at + alone.length))).toBeLessThan(1e-5)
        at += alone.length
      }
      expect(at).toBe((batch.target.ids.length * vocab) as number)
    })
  })

  test('no token sees a later one; every later one and the memory see it', async () => {
    using model = make(options)
    const vocab = options.targetVocab as number
    await scope(async () => {
      const logits = async (source: number[], target: number[]) =>
        model.forward({ source: packRagged([source]), target: packRagged([target]) }).read()
      const [source, target] = [ids(6), ids(6)]
      const before = await logits(source, target)
      for (let changed = 0; changed < target.length; changed++) {
        const other = target.map((id, t) => (t === changed ? (id + 1) % 11 : id))
        const after = await logits(source, other)
        expect(after.subarray(0, changed * vocab)).toEqual(before.subarray(0, changed * vocab))
        for (let t = changed; t < target.length; t++)
          expect(
            worst(after.subarray(t * vocab, (t + 1) * vocab), before.subarray(t * vocab, (t + 1) * vocab)),
            `${changed} to ${t}`,
          ).toBeGreaterThan(1e-6)
      }
      for (let changed = 0; changed < source.length; changed++) {
        const after = await logits(
          source.map((id, t) => (t === changed ? (id + 1) % 11 : id)),
          target,
        )
        expect(worst(after.subarray(0, vocab), before.subarray(0, vocab)), `source ${changed}`).toBeGreaterThan(1e-6)
      }
    })
  })

  test('decoding with a cache gives what decoding without one gives', async () => {
    using model = make(options).eval()
    const vocab = options.targetVocab as number
    const source = batch.source
    await scope(async () => {
      using cache = model.newCache(source, 9)
      const target = pairs.map(() => [1])
      for (let step = 0; step < 9; step++) {
        const full = await noGrad(() => model.forward({ source, target: packRagged(target) })).read()
        const cached = await model
          .decodeStep(
            target.map(row => row.at(-1) as number),
            cache,
          )
          .read()
        for (const [b, row] of target.entries()) {
          const own = full.subarray(((b + 1) * (step + 1) - 1) * vocab, (b + 1) * (step + 1) * vocab)
          const stepped = cached.subarray(b * vocab, (b + 1) * vocab)
          expect(worst(stepped, own)).toBeLessThan(1e-5)
          const best = (values: ArrayLike<number>) => Array.from(values).indexOf(Math.max(...Array.from(values)))
          expect(best(stepped)).toBe(best(own))
          row.push(best(own))
        }
      }
      expect(cache.length).toBe(9)
      expect(() => model.decodeStep([0, 0, 0, 0], cache)).toThrow('there must be at most 9 tokens (maxLength), are 10')
    })
  })

  test('gradients of micro-batches add up to those of one batch', async () => {
    using model = make(options)
    const gradients = async (batches: TranslationBatch[]) => {
      model.zeroGrad()
      await scope(async () => {
        for (const each of batches) model.loss(each, { labelSmoothing: 0.1, normalizer: batch.labels.length }).backward()
      })
      return Promise.all(model.parameters().map(parameter => (parameter.grad as Tensor).read()))
    }
    const whole = await gradients([batch])
    const parts = await gradients([batchOf(pairs.slice(0, 1)), batchOf(pairs.slice(1, 3)), batchOf(pairs.slice(3))])
    const names = [...model.namedParameters().keys()]
    for (const [i, gradient] of whole.entries()) {
      const scale = Math.max(...Array.from(gradient, Math.abs))
      expect(worst(gradient, parts[i] as Float32Array), names[i] as string).toBeLessThan(2e-6 + 1e-5 * scale)
      if (!/in_proj_bias/.test(names[i] as string)) expect(scale, names[i] as string).toBeGreaterThan(0)
    }
    // The mean over the batch's own tokens is the same number.
    await scope(async () => {
      const own = await model.loss(batch, { labelSmoothing: 0.1 }).item()
      const given = await model.loss(batch, { labelSmoothing: 0.1, normalizer: batch.labels.length }).item()
      expect(own).toBeCloseTo(given, 5)
    })
  })
})

describe('decode cache', () => {
  test('takes several tokens at once, and lets sequences go or repeats them', async () => {
    using model = make({ ...small }).eval()
    const prefix = [1, 4, 7, 2]
    await scope(async () => {
      const logits = async (which: number[], tokens: number[]) => {
        const source = packRagged(which.map(b => (pairs[b] as { source: number[] }).source))
        return noGrad(() => model.forward({ source, target: packRagged(which.map(() => tokens)) })).read()
      }
      using cache = model.newCache(batch.source, 6)
      const chunk = await model
        .decodeStep(
          pairs.flatMap(() => prefix.slice(0, 3)),
          cache,
        )
        .read()
      expect(worst(chunk, await logits([0, 1, 2, 3], prefix.slice(0, 3)))).toBeLessThan(1e-5)
      cache.select([2, 0, 2])
      const step = await model.decodeStep([2, 2, 2], cache).read()
      const full = await logits([2, 0, 2], prefix)
      const last = [0, 1, 2].flatMap(b => [...full.subarray((b * 4 + 3) * 13, (b * 4 + 4) * 13)])
      expect(worst(step, last)).toBeLessThan(1e-5)
      expect(() => cache.select([3])).toThrow('indices must be integers from 0 to 2, one is 3')
      expect(() => model.decodeStep([1, 1], cache)).toThrow('ids must be one or more for each of 3 sequences, are 2')
    })
  })

  test('frees everything', async () => {
    using model = make({ ...small }).eval()
    const run = () => {
      scope(() => {
        using cache = model.newCache(batch.source, 6)
        for (let step = 0; step < 4; step++) model.decodeStep([1, 2, 3, 4], cache)
        cache.select([1, 2])
        model.decodeStep([1, 2], cache)
      })
    }
    run()
    await cpu.synchronize()
    const { live } = cpu.memory()
    for (let i = 0; i < 5; i++) run()
    await cpu.synchronize()
    expect(cpu.memory().live).toBe(live)
  })
})

test('attention: cached chunks equal the whole', async () => {
  await scope(async () => {
    seed(2)
    using attention = new MultiheadAttention(
      { embedDim: 8, numHeads: 4, numKVHeads: 2, addBiasKV: true, addZeroAttn: true },
      { device: cpu },
    )
    const x = tensor(
      Float32Array.from({ length: 2 * 7 * 8 }, () => stream.uniform() - 0.5),
      [2, 7, 8],
      { device: cpu },
    )
    const whole = await attention.forward(x, x, x, { mask: Mask.causal() }).output.read()
    using cache = new SelfAttentionCache(7)
    for (const [start, end] of [
      [0, 3],
      [3, 4],
      [4, 7],
    ] as const) {
      const chunk = x.slice(1, start, end).contiguous()
      const output = await attention.forward(chunk, chunk, chunk, { isCausal: true, cache }).output.read()
      const expected = [0, 1].flatMap(b => [...whole.subarray((b * 7 + start) * 8, (b * 7 + end) * 8)])
      expect(worst(output, expected)).toBeLessThan(1e-5)
    }
  })
})

test('attention: a cache whose sequences would not grow together says so', () => {
  scope(() => {
    using attention = new MultiheadAttention({ embedDim: 8, numHeads: 2 }, { device: cpu })
    const x = (...shape: number[]) => zeros([...shape, 8], { device: cpu })
    using cache = new SelfAttentionCache(5)
    const step = (input: Tensor, sequences?: Sequences) => attention.forward(input, input, input, { cache, sequences, isCausal: true })
    // Two packed sequences of 2 and 1 tokens: heads must not be taken for tokens.
    expect(() => step(x(3), Sequences.of([2, 1], cpu))).toThrow(
      '[MultiheadAttention] sequences must not be given with a SelfAttentionCache: in it all sequences grow by as many tokens, so query is [B, T, embedDim]',
    )
    expect(cache.length).toBe(0)
    step(x(2, 3))
    expect(() => step(x(3, 1))).toThrow('[SelfAttentionCache] k must be of 2 sequences, is of 3')
    expect(() => step(x(1))).toThrow('[SelfAttentionCache] k must be of 2 sequences, is of 1') // not batched: one sequence
    expect(() => step(x(2, 3))).toThrow('[SelfAttentionCache] there must be at most 5 tokens (maxLength), are 6')
    expect(cache.length).toBe(3)
    const rows = (...shape: number[]) => zeros(shape, { device: cpu })
    expect(() => cache.append(rows(3, 2, 4), rows(3, 2, 4))).toThrow(
      '[SelfAttentionCache] k must be [B, T, Hkv, D], as many tokens of each sequence (packed sequences have no cache), is [3, 2, 4]',
    )
    expect(() => cache.append(rows(2, 1, 2, 8), rows(2, 1, 2, 8))).toThrow('[SelfAttentionCache] k must be [2, 1, 2, 4], is [2, 1, 2, 8]')
    expect(() => cache.append(rows(2, 1, 2, 4), rows(2, 2, 2, 4))).toThrow('[SelfAttentionCache] v must be [2, 1, 2, *], is [2, 2, 2, 4]')
    expect(() => cache.append(rows(2, 1, 2, 4).cast('bf16'), rows(2, 1, 2, 4))).toThrow(
      '[SelfAttentionCache] k must have dtype f32, is bf16',
    )
    expect(cache.length).toBe(3)
  })
})

test('decode cache: one of another model says so', () => {
  using model = make({ ...small }).eval()
  using shallow = make({ ...small, numDecoderLayers: 1 }).eval()
  using cache = shallow.newCache(batch.source, 6)
  expect(() => model.decodeStep([1, 2, 3, 4], cache)).toThrow(
    '[decodeStep] cache must be of a model with 2 decoder layers, is of one with 1',
  )
})

test('attention: packed sequences equal each sequence alone, with appended keys and with weights', async () => {
  await scope(async () => {
    seed(2)
    using attention = new MultiheadAttention(
      { embedDim: 8, numHeads: 2, addBiasKV: true, addZeroAttn: true, kdim: 5, vdim: 6 },
      { device: cpu },
    )
    const random = (...shape: number[]) =>
      tensor(
        Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => stream.uniform() - 0.5),
        shape,
        { device: cpu },
      )
    const [queries, keys] = [
      [2, 0, 3],
      [4, 2, 0],
    ] as const
    const [q, k, v] = [random(5, 8), random(6, 5), random(6, 6)]
    const sequences = { q: Sequences.of(queries, cpu), k: Sequences.of(keys, cpu) }
    const { output, weights } = attention.forward(q, k, v, { sequences, needWeights: true })
    expect(weights?.shape).toEqual([3, 3, 6])
    const rows = await output.read()
    let [atQ, atK] = [0, 0]
    for (const [b, count] of queries.entries()) {
      const alone = attention.forward(
        q.slice(0, atQ, atQ + count).contiguous(),
        k.slice(0, atK, atK + (keys[b] as number)).contiguous(),
        v.slice(0, atK, atK + (keys[b] as number)).contiguous(),
      )
      expect(worst(await alone.output.read(), rows.subarray(atQ * 8, (atQ + count) * 8))).toBeLessThan(1e-6)
      atQ += count
      atK += keys[b] as number
    }
  })
})

test('padding costs nothing: with key lengths, every product sees only real tokens', () => {
  scope(() => {
    seed(1)
    using encoder = new TransformerEncoder({ dModel: 16, numHeads: 4, numLayers: 2 }, { device: cpu })
    const seen = new Set<number>()
    const stop = observeOps((op, args) => {
      if (op === 'qkv' || op === 'linear' || op === 'feedForward') seen.add((args.x as Tensor).size / 16)
    })
    const x = tensor(new Float32Array(4 * 10 * 16), [4, 10, 16], { device: cpu })
    const output = encoder.forward(x, { srcKeyPaddingMask: Mask.keyLengths([10, 3, 0, 1]) })
    stop()
    expect(output.shape).toEqual([4, 10, 16])
    expect([...seen]).toEqual([14])
  })
})

test('packed rows go in and come out as they are', async () => {
  await scope(async () => {
    seed(1)
    using encoder = new TransformerEncoder({ dModel: 16, numHeads: 4, numLayers: 2, norm: 'pre', dropout: 0 }, { device: cpu })
    const rows = tensor(
      Float32Array.from({ length: 7 * 16 }, () => stream.uniform() - 0.5),
      [7, 16],
      { device: cpu },
    )
    const packed = encoder.forward(rows, { sequences: Sequences.of([4, 0, 3], cpu), isCausal: true })
    expect(packed.shape).toEqual([7, 16])
    const values = await packed.read()
    for (const [start, end] of [
      [0, 4],
      [4, 7],
    ] as const) {
      const alone = encoder.forward(rows.slice(0, start, end).contiguous(), { isCausal: true })
      expect(worst(await alone.read(), values.subarray(start * 16, end * 16))).toBeLessThan(1e-5)
    }
    expect(() => encoder.forward(rows, { sequences: Sequences.of([4, 4], cpu) })).toThrow('src must be [8, 16], is [7, 16]')
    expect(() => encoder.forward(rows, { sequences: Sequences.of([7], cpu), srcKeyPaddingMask: Mask.keyLengths([7]) })).toThrow(
      'srcKeyPaddingMask must be left out',
    )
  })
})

test('layers start independent, and the same way whatever they are packed into', async () => {
  seed(4)
  using encoder = new TransformerEncoder({ dModel: 16, numHeads: 4, numLayers: 3 }, { device: cpu })
  const texts = await Promise.all(
    [...encoder.namedParameters()].filter(([, { rank }]) => rank === 2).map(async ([, parameter]) => (await parameter.read()).join()),
  )
  expect(new Set(texts).size).toBe(texts.length)
  // Packed or not, the three matrices are the same draws, of the deviation of a matrix by itself.
  const options = { embedDim: 96, numHeads: 4 }
  seed(4)
  using packed = new MultiheadAttention(options, { device: cpu })
  seed(4)
  using apart = new MultiheadAttention({ ...options, kdim: 96, vdim: 95 }, { device: cpu })
  const whole = await (packed.inProjWeight as Tensor).read()
  expect(whole.subarray(0, 96 * 96)).toEqual(await (apart.qProjWeight as Tensor).read())
  expect(whole.subarray(96 * 96, 2 * 96 * 96)).toEqual(await (apart.kProjWeight as Tensor).read())
  expect(Math.hypot(...whole) / Math.sqrt(whole.length)).toBeCloseTo(Math.sqrt(2 / (96 + 96)), 2)
})

test('dropout: drawn anew each step, the same for the same seed, off in eval', async () => {
  using model = make({ ...small, dropout: 0.3 })
  const losses = async (from: number) => {
    seed(from)
    return scope(async () => [await model.loss(batch).item(), await model.loss(batch).item()])
  }
  const first = await losses(3)
  expect(first[0]).not.toBe(first[1])
  expect(await losses(3)).toEqual(first)
  model.eval()
  const [a, b] = await losses(3)
  expect(a).toBe(b)
})

test('memory is constant after the first step', async () => {
  using model = make({ ...small, dropout: 0.1, norm: 'pre' })
  const step = () =>
    scope(() => {
      model.loss(batch, { labelSmoothing: 0.1 }).backward()
      model.zeroGrad()
    })
  step()
  await cpu.synchronize()
  const { live } = cpu.memory()
  const steps = cpu.kind === 'cpu' ? 200 : 3 // the machine of fibers takes seconds for one
  for (let i = 0; i < steps; i++) step()
  await cpu.synchronize()
  expect(cpu.memory().live).toBe(live)
})

test('bf16 stays near f32', async () => {
  using exact = make({ ...small, norm: 'pre' })
  using rough = make({ ...small, norm: 'pre' }, { device: cpu, dtype: 'bf16' })
  await scope(async () => {
    const [a, b] = [await exact.forward(batch).read(), await rough.forward(batch).read()]
    const size = Math.hypot(...a) / Math.sqrt(a.length)
    expect(worst(a, b)).toBeLessThan(0.1 * size)
    expect(worst(a, b)).toBeGreaterThan(0)
    const [first, second] = [exact.loss(batch), rough.loss(batch)]
    expect(Math.abs((await first.item()) - (await second.item()))).toBeLessThan(0.02)
    first.backward()
    second.backward()
    const [g, h] = [exact, rough].map(
      model => (model.stateDict().get('encoder.layers.0.self_attn.in_proj_weight') as Tensor).grad as Tensor,
    ) as [Tensor, Tensor]
    expect(h.dtype).toBe('f32')
    const [x, y] = [await g.read(), await h.read()]
    const cosine = Array.from(x).reduce((sum, value, i) => sum + value * (y[i] as number), 0) / (Math.hypot(...x) * Math.hypot(...y))
    expect(cosine).toBeGreaterThan(0.995)
  })
})

test('empty batches and empty sequences', async () => {
  using model = make({ ...small })
  await scope(async () => {
    const empty = model.forward({ source: packRagged([]), target: packRagged([]) })
    expect(empty.shape).toEqual([0, 13])
    const half = await model.forward({ source: packRagged([[], [3, 4]]), target: packRagged([[1, 2], [1]]) }).read()
    expect(half.every(Number.isFinite)).toBe(true)
    const alone = await model.forward({ source: packRagged([[3, 4]]), target: packRagged([[1]]) }).read()
    expect(worst(half.subarray(26), alone)).toBeLessThan(1e-5)
  })
})

test('errors name what is wrong', () => {
  expect(() => make({ ...small, tieEmbeddings: 'all' })).toThrow("sourceVocab must equal targetVocab (13) for tieEmbeddings 'all', is 11")
  expect(() => make({ dModel: 16, numHeads: 4, positions: 'none' })).toThrow('positions must be left out without sourceVocab')
  expect(() => make({ ...small, sourceVocab: undefined as never })).toThrow('sourceVocab must be an integer from 1, is undefined')
  expect(() => make({ ...small, activation: 'tanh' as never })).toThrow('activation must be')
  using model = make({ ...small })
  expect(() => model.forward({ source: { ids: new Int32Array(3), lengths: [2] }, target: packRagged([[1]]) })).toThrow(
    'source.ids must hold 2 ids, the sum of its lengths, holds 3',
  )
  using plain = make({ dModel: 16, numHeads: 4, numEncoderLayers: 1, numDecoderLayers: 1 })
  expect(() => plain.encode(batch.source)).toThrow('encode needs a model with sourceVocab and targetVocab')
  expect(device('cpu').kind).toBe('cpu')
})
