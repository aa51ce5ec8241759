/** Ten steps of a whole model, beside PyTorch's. */
import { describe, expect, test } from 'vitest'
import { packRagged } from '../../lib/data/index.ts'
import { type Device, scope, type Tensor, tensor } from '../../lib/index.ts'
import { Transformer } from '../../lib/nn/index.ts'
import { AdamW, clipGradNorm } from '../../lib/optim/index.ts'
import { testDevices } from '../devices.ts'
import { loadFixture } from '../fixtures/fixture.ts'

const fixture = loadFixture('training')

interface TrainingCase {
  name: string
  options: ConstructorParameters<typeof Transformer>[0]
  optimizer: { lr: number; betas: [number, number]; eps: number; weightDecay: number }
  labelSmoothing: number
  maxNorm: number
  losses: number[]
  gradientNorms: number[]
  gradientNorm1: Record<string, number>
  finalChecksums: Record<string, [number, number]>
  finalTensors: string[]
}

const rename = (key: string) =>
  key
    .replace('sourceEmbedding', 'source_embedding')
    .replace('targetEmbedding', 'target_embedding')
    .replace(/^transformer\./, '')

function modelOf(each: TrainingCase, device: Device): Transformer {
  const { tieTargetEmbedding, ...options } = each.options as Record<string, never>
  const model = new Transformer({ ...options, tieEmbeddings: tieTargetEmbedding ? 'target-output' : 'none' }, { device })
  const state = new Map<string, Tensor>()
  for (const [name, { shape, data }] of fixture.tensors)
    if (name.startsWith('initial/')) state.set(rename(name.slice('initial/'.length)), tensor(data, shape, { device }))
  state.set('output.weight', state.get('target_embedding.weight') as Tensor)
  model.loadStateDict(state)
  for (const loaded of state.values()) loaded.dispose()
  return model
}

const { sources, targetInputs, targetOutputs } = fixture.table.batch as Record<string, number[][]>
const batch = {
  source: packRagged(sources as number[][]),
  target: packRagged(targetInputs as number[][]),
  labels: packRagged(targetOutputs as number[][]).ids,
}

const norm = (values: ArrayLike<number>) => Math.hypot(...Array.from(values))

describe.each(testDevices)('ten steps on $name', ({ device }) => {
  test.each((fixture.cases as unknown as TrainingCase[]).map(each => [each.name, each] as const))('%s', async (_, each) => {
    using model = modelOf(each, device)
    const { lr, betas, eps, weightDecay } = each.optimizer
    using optimizer = new AdamW(model.parameters(), { lr, betas, eps, weightDecay })
    for (const [step, expected] of each.losses.entries()) {
      await scope(async () => {
        const loss = model.loss(batch, { labelSmoothing: each.labelSmoothing })
        loss.backward()
        if (step === 0) {
          const gradients = model.namedParameters()
          for (const [key, size] of Object.entries(each.gradientNorm1)) {
            const gradient = gradients.get(rename(key))?.grad as Tensor
            expect(Math.abs(norm(await gradient.read()) - size), `gradient of ${key}`).toBeLessThan(1e-4 * size + 1e-6)
          }
        }
        const total = await clipGradNorm(model.parameters(), each.maxNorm).item()
        expect(Math.abs(total - (each.gradientNorms[step] as number))).toBeLessThan(1e-4 * total)
        optimizer.step()
        expect(Math.abs((await loss.item()) - expected), `loss of step ${step}`).toBeLessThan(1e-4)
      })
    }
    const state = model.stateDict()
    for (const name of each.finalTensors) {
      const values = await (state.get(rename(name)) as Tensor).read()
      const { data } = fixture.tensor(each.name, `final/${name}`)
      const worst = Math.max(...Array.from(values, (value, i) => Math.abs(value - (data[i] as number))))
      expect(worst, name).toBeLessThan(1e-4)
    }
  })
})
