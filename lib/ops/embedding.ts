import { defineOp } from '../autograd/defineOp.ts'
import { ArgumentError } from '../errors.ts'
import { drawForDropout } from '../generator.ts'
import { type EmbeddingArgs, embeddingBackward, embedding as native, schema } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import type { Append, Last } from '../types/shape.ts'
import { expectDType, expectFloat, expectRange, expectShape, expectTensor, formatShape, sameShape } from './check.ts'
import { contiguous } from './copy.ts'
import type { ArrayOps } from './reference.ts'
import { rawCast } from './untaped.ts'

export interface EmbeddingOptions {
  /** Factor of the table's rows (√dModel in "Attention Is All You Need"). Default 1. */
  scale?: number
  /** [P, C] in the table's dtype, added to the rows by position. */
  positions?: Tensor
  /** i32, of the last dimensions of `ids`: which row of `positions` a token gets. Default: its index along the last dimension. */
  positionIds?: Tensor
  /** Probability of dropping an element of the sum; see `dropout`. Default 0. */
  dropout?: number
  /** The id whose row of the table gets no gradient. Default none. */
  paddingIndex?: number
}

function checkPositions(ids: Tensor, table: Tensor, positions: Tensor, positionIds: Tensor | undefined): void {
  expectShape('embedding', 'positions', positions, [-1, table.shape[1] as number])
  expectDType('embedding', 'positions', positions, table.dtype)
  if (positionIds) {
    expectDType('embedding', 'positionIds', positionIds, 'i32')
    const { shape, rank } = positionIds
    if (rank > ids.rank || !sameShape(shape, ids.shape.slice(ids.rank - rank)))
      throw new ArgumentError(
        `[embedding] positionIds must have the last dimensions of ids ${formatShape(ids.shape)}, is ${formatShape(shape)}`,
      )
  } else {
    const length = ids.shape.at(-1) ?? 1
    if (length > (positions.shape[0] as number))
      throw new ArgumentError(
        `[embedding] positions must have at least ${length} rows, as ids ${formatShape(ids.shape)} are long, has ${positions.shape[0]}`,
      )
  }
}

function positionRows<T>(F: ArrayOps<T>, ids: T, positionIds: T | undefined): number[] {
  const length = F.shape(ids).at(-1) ?? 1
  const given = positionIds === undefined ? undefined : F.values(positionIds)
  return Array.from(F.values(ids), (_, n) => (given === undefined ? n % length : (given[n % given.length] as number)))
}

const embeddingOp = defineOp('embedding', {
  native,
  infer(
    table: Tensor,
    ids: Tensor,
    positions: Tensor | undefined,
    positionIds: Tensor | undefined,
    { scale = 1, dropout = 0, paddingIndex }: EmbeddingOptions,
  ): EmbeddingArgs & { paddingIndex: number } {
    expectFloat('embedding', 'table', table)
    expectShape('embedding', 'table', table, [-1, -1])
    expectDType('embedding', 'ids', ids, 'i32')
    expectRange('embedding', 'dropout', dropout, 0, 1)
    if (!Number.isFinite(scale)) throw new ArgumentError(`[embedding] scale must be finite, is ${scale}`)
    if (paddingIndex !== undefined && !(Number.isInteger(paddingIndex) && paddingIndex >= 0 && paddingIndex < (table.shape[0] as number)))
      throw new ArgumentError(`[embedding] paddingIndex must be an integer from 0 to ${(table.shape[0] as number) - 1}, is ${paddingIndex}`)
    if (positions) checkPositions(ids, table, positions, positionIds)
    else if (positionIds) throw new ArgumentError('[embedding] positions must be given where positionIds are')
    if (ids.rank > 5) throw new ArgumentError(`[embedding] ids must have at most 5 dimensions, is ${formatShape(ids.shape)}`)
    const { seed, counter } = drawForDropout(dropout)
    const y = allocate(table.device, [...ids.shape, table.shape[1] as number], table.dtype, schema.embedding.id)
    return {
      table,
      ids,
      positions,
      positionIds,
      y,
      scale: Math.fround(scale),
      dropout: Math.fround(dropout),
      seed,
      counter,
      paddingIndex: paddingIndex ?? -1,
    }
  },
  result: args => args.y,
  differentiable: ['y'],
  saves: ['ids', 'positionIds'],
  backward({ saved: { ids, positionIds, paddingIndex, scale, dropout, seed, counter }, gradient, accumulate }) {
    const dy = gradient.y as Tensor
    const dtable = accumulate('table')
    const dpositions = accumulate('positions')
    embeddingBackward({ dy: rawCast(dy, dy.dtype), ids, positionIds, dtable, dpositions, paddingIndex, scale, dropout, seed, counter })
    return {}
  },
  reference(F, { table, ids, positions, positionIds, scale, dropout, seed, counter }) {
    const shape = [...F.shape(ids), F.shape(table)[1] as number]
    let y = F.mul(F.gather(table, Array.from(F.values(ids))), scale)
    if (positions !== undefined) y = F.add(y, F.gather(positions, positionRows(F, ids, positionIds)))
    y = F.reshape(y, shape)
    if (dropout > 0) y = dropout === 1 ? F.full(shape, 0) : F.mul(y, F.dropoutMask(shape, dropout, seed, counter))
    return { y }
  },
})

/**
 * dropout(scale · table[ids] + positions[positionIds]): the first layer of a Transformer in one pass. `table` [V, C], `ids` i32 of any shape:
 * [...ids, C]. Gradients add up in the order of the ids: the same batch gives the same bits. An id outside [0, V) is found on the device:
 * reading the result rejects with ArgumentError, naming the place and the id.
 */
export function embedding<T extends Shape, I extends Shape>(
  table: Tensor<T>,
  ids: Tensor<I>,
  options: EmbeddingOptions = {},
): Tensor<Append<I, [Last<T>]>> {
  expectTensor('embedding', 'table', table)
  expectTensor('embedding', 'ids', ids)
  const { positions, positionIds } = options
  if (positions !== undefined) expectTensor('embedding', 'positions', positions)
  if (positionIds !== undefined) expectTensor('embedding', 'positionIds', positionIds)
  return embeddingOp(
    contiguous(table),
    contiguous(ids),
    positions && contiguous(positions),
    positionIds && contiguous(positionIds),
    options,
  ) as Tensor as Tensor<Append<I, [Last<T>]>>
}

export { embeddingOp }
