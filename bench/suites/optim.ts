/** The optimizer's step and clipping, over the parameters of a small encoder-decoder: 13.6 million in 62 tensors. */
import { scope, type Tensor } from '../../lib/index.ts'
import { AdamW, clipGradNorm } from '../../lib/optim/index.ts'
import { randoms } from '../data.ts'
import { type Row, timed } from '../row.ts'

const SIZES: readonly number[] = [
  6000 * 512,
  ...new Array<number>(16).fill(512 * 512),
  ...new Array<number>(6).fill(2048 * 512),
  ...new Array<number>(39).fill(512),
]
const TOTAL = SIZES.reduce((sum, size) => sum + size, 0)

/** `bytes` move for each parameter, which is what bounds both. */
function row(name: string, twin: string, bytes: number, make: (parameters: Tensor[]) => { body: () => void; dispose?: () => void }): Row {
  return {
    name,
    dtype: 'f32',
    unit: 'ms',
    work: { amount: (TOTAL * bytes) / 1e9, unit: 'GB/s' },
    twin: { name: `ops.${twin}`, args: { sizes: SIZES } },
    async prepare(device) {
      const random = randoms(device, 'f32')
      const parameters = SIZES.map(size => random([size], 0.02).requireGrad())
      for (const parameter of parameters) parameter.grad = random([parameter.size])
      const { body, dispose } = make(parameters)
      await device.synchronize()
      return timed(device, () => scope(body), {
        dispose() {
          dispose?.()
          for (const parameter of parameters) parameter.dispose()
        },
      })
    },
  }
}

export function rows(): Row[] {
  return [
    // Ours zeroes the gradients in the same pass; PyTorch's side does not zero them at all.
    row('AdamW step', 'adamw', 32, parameters => {
      const optimizer = new AdamW(parameters, { lr: 1e-4 })
      return { body: () => optimizer.step(), dispose: () => optimizer.dispose() }
    }),
    // The norm is above 1 in the first iteration only; from then on the gradients are read, not written, where PyTorch multiplies by 1.
    row('clipGradNorm', 'clip_grad_norm', 4, parameters => ({ body: () => void clipGradNorm(parameters, 1) })),
  ]
}
