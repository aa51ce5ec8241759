import { PassThrough } from 'node:stream'
import { expect, it } from 'vitest'
import { TrainingProgress } from '../../lib/cli/trainingProgress.ts'
import type { StepReport } from '../../lib/train/trainer.ts'

it('on a terminal, takes the bar away before it tells something, and does not draw over it', async () => {
  const stream = Object.assign(new PassThrough({ encoding: 'utf8' }), { isTTY: true, columns: 80 })
  const progress = new TrainingProgress(stream as unknown as NodeJS.WriteStream)
  const step = (batch: number): StepReport => ({
    ...{ step: batch, epoch: 1, batch, batches: 10, loss: 1, gradientNorm: undefined, learningRate: 1 },
    ...{ tokens: 10, targetTokens: 5 },
  })
  progress.step(step(1))
  progress.notice('stopping')
  progress.step(step(2))
  progress.saved('model')
  progress.end()
  const written = stream.read() as string
  expect(written).toContain('░')
  const [before, after] = written.split('stopping\n') as [string, string]
  // The last that the bar does is to clear its line.
  expect(before.lastIndexOf('░')).toBeLessThan(before.lastIndexOf('\u001b['))
  expect(after).toBe('saved       model\n')
})
