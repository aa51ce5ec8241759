/** Matrix products: squares, and the layers of GPT-2, BERT and Llama; forward, and both products of backward. */
import { linear, type Tensor } from '../../lib/index.ts'
import { opRow } from './opRow.ts'
import { type GpuRow, sized } from './row.ts'

export const title = 'Matrix products'
export const axis = 'm = n = k'

interface Layer {
  readonly name: string
  /** Rows, and features in and out. */
  readonly shape: readonly [n: number, c: number, f: number]
  readonly bias?: boolean
  readonly activation?: 'gelu' | 'geluTanh'
  readonly residual?: boolean
  readonly quick?: boolean
}

const square = (n: number, rest: Partial<Layer> = {}): Layer => ({ name: `${n}³`, shape: [n, n, n], ...rest })

const squares: readonly Layer[] = [1024, 2048, 4096, 8192].map(n => square(n, { quick: n === 4096 }))
const squaresWithEpilogue: readonly Layer[] = [
  square(4096, { bias: true, activation: 'geluTanh' }),
  square(4096, { bias: true, residual: true }),
]

/** Of 16 sequences of 1024 tokens for GPT-2, 32 of 512 for BERT, 8192 tokens for Llama. */
const layers: readonly Layer[] = [
  { name: 'GPT-2 and BERT, q k v', shape: [16384, 768, 2304], bias: true },
  { name: 'GPT-2 and BERT, attention out', shape: [16384, 768, 768], bias: true, residual: true },
  { name: 'GPT-2, up', shape: [16384, 768, 3072], bias: true, activation: 'geluTanh', quick: true },
  { name: 'BERT, up', shape: [16384, 768, 3072], bias: true, activation: 'gelu' },
  { name: 'GPT-2 and BERT, down', shape: [16384, 3072, 768], bias: true, residual: true, quick: true },
  { name: 'GPT-2, logits', shape: [8192, 768, 50257] },
  { name: 'BERT, logits', shape: [8192, 768, 30522], bias: true },
  { name: 'Llama-1B, q k v', shape: [8192, 2048, 3072] },
  { name: 'Llama-1B, attention out', shape: [8192, 2048, 2048], residual: true },
  { name: 'Llama-1B, gate and up', shape: [8192, 2048, 16384] },
  { name: 'Llama-1B, down', shape: [8192, 8192, 2048], residual: true },
  { name: 'Llama-1B, logits', shape: [4096, 2048, 128256] },
  { name: 'Llama-8B, q k v', shape: [8192, 4096, 6144] },
  { name: 'Llama-8B, attention out', shape: [8192, 4096, 4096], residual: true },
  { name: 'Llama-8B, gate and up', shape: [8192, 4096, 28672] },
  { name: 'Llama-8B, down', shape: [8192, 14336, 4096], residual: true },
]

/** Below a tile in one direction and above it in another; features stay odd where they were. */
const shrunk = ([n, c, f]: Layer['shape']): Layer['shape'] => [
  n > 8192 ? 96 : 64,
  c > 2048 ? 96 : 64,
  f > 8192 ? 128 + (f % 2) : f === c ? 64 : 96,
]

const epilogueName = ({ activation, residual }: Layer) => (activation ? ' + GELU' : residual ? ' + residual' : '')

function product(
  layer: Layer,
  direction: 'forward' | 'dX' | 'dW',
  plain: boolean,
  small: boolean,
  panel: string,
  x: number | string,
): GpuRow {
  const shape = sized(small)(layer.shape, shrunk(layer.shape))
  const [n, c, f] = shape
  const { activation, residual = false, bias = false } = plain ? { bias: layer.bias ?? false } : layer
  const epilogue = plain ? '' : epilogueName(layer)
  return opRow({
    name: `${layer.name}${layer.name.includes('³') ? '' : ` ${layer.shape.join('×')}`}${epilogue}, ${direction}`,
    part: direction === 'forward' ? 'forward' : 'backward',
    bound: 'matrix',
    work: { flops: 2 * n * c * f },
    quick: (layer.quick ?? false) && (direction !== 'forward' || !plain || epilogueName(layer) === ''),
    plot: { panel, x },
    twin: {
      name: 'products.linear',
      args: { n, c, f, bias, residual, activation: activation ?? 'none', direction },
      compiles: direction === 'forward' && epilogue !== '',
    },
    wanted: { inputs: direction === 'dX', parameters: direction === 'dW' },
    inputs: residual
      ? [
          [n, c],
          [n, f],
        ]
      : [[n, c]],
    // A bias is a row of its own, so that it is drawn small.
    parameters: bias ? [[f, c], [f]] : [[f, c]],
    make:
      () =>
      ([input, rest], [weight, offset]) =>
        linear(input as Tensor, weight as Tensor, direction === 'dW' ? undefined : offset, {
          ...(activation ? { activation } : {}),
          ...(residual ? { residual: rest as Tensor } : {}),
        }),
  })
}

export function rows(small: boolean): GpuRow[] {
  const directions = ['forward', 'dX', 'dW'] as const
  return [
    ...squares.flatMap(layer =>
      directions.map(direction => product(layer, direction, true, small, `squares, ${direction}`, layer.shape[0])),
    ),
    ...squaresWithEpilogue.map(layer => product(layer, 'forward', false, small, 'layers, forward', `4096³${epilogueName(layer)}`)),
    ...layers.flatMap(layer => [
      ...directions.map(direction => product(layer, direction, true, small, `layers, ${direction}`, layer.name)),
      ...(epilogueName(layer) === ''
        ? []
        : [product(layer, 'forward', false, small, 'layers, forward', `${layer.name}${epilogueName(layer)}`)]),
    ]),
  ]
}
