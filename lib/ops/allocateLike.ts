import { aliasView, allocate, type Tensor } from '../tensor.ts'

/**
 * Memory for gradients of the tensors. Where they are neighbours in one packed buffer, as the views that `qkv` gives are, so are their gradients,
 * and the backward of `qkv` reads one matrix.
 */
export function allocateLike(tensors: readonly Tensor[], op: number): Tensor[] {
  const width = (x: Tensor) => (x.shape.at(-2) as number) * (x.shape.at(-1) as number)
  const follows = (x: Tensor, before: Tensor) =>
    x.rank === before.rank &&
    x.shape.slice(0, -2).every((dimension, i) => dimension === before.shape[i]) &&
    x.strides.at(-3) === before.strides.at(-3) &&
    x.offset === before.offset + width(before)
  const packs: Tensor[][] = []
  for (const x of tensors) {
    const pack = packs.at(-1)
    if (pack && follows(x, pack.at(-1) as Tensor)) pack.push(x)
    else packs.push([x])
  }
  return packs.flatMap(pack => {
    const total = pack.reduce((sum, x) => sum + width(x), 0)
    const first = pack[0] as Tensor
    if (pack.length === 1 || first.strides.at(-3) !== total) return pack.map(x => allocate(x.device, x.shape, x.dtype, op))
    const buffer = allocate(first.device, [...first.shape.slice(0, -2), total], first.dtype, op)
    let offset = 0
    return pack.map(x => {
      const view = aliasView(buffer, x.shape, [...buffer.strides.slice(0, -1), x.shape.at(-1) as number, 1], offset)
      offset += width(x)
      return view
    })
  })
}
