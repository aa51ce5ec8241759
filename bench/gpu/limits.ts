/** What this GPU can do at most, measured in the same run: every other row is held to it. */
import { clone, linear, type Tensor } from '../../lib/index.ts'
import { opRow } from './opRow.ts'
import { type GpuRow, sized } from './row.ts'

export const title = 'Limits'
export const axis = ''

export function rows(small: boolean): GpuRow[] {
  const pick = sized(small)
  const elements = pick(1 << 30, 1 << 12)
  const n = pick(8192, 64)
  return [
    opRow({
      name: 'copy of 2 GiB',
      part: 'forward',
      bound: 'copy',
      work: { bytes: 4 * elements },
      quick: true,
      twin: { name: 'limits.copy', args: { n: elements } },
      inputs: [[elements]],
      make:
        () =>
        ([x]) =>
          clone(x as Tensor),
    }),
    opRow({
      name: 'matrix product 8192³',
      part: 'forward',
      bound: 'matrix',
      work: { flops: 2 * n ** 3 },
      quick: true,
      twin: { name: 'products.linear', args: { n, c: n, f: n } },
      inputs: [[n, n]],
      parameters: [[n, n]],
      make:
        () =>
        ([x], [w]) =>
          linear(x as Tensor, w as Tensor),
    }),
  ]
}
