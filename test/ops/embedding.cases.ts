import { embedding, embeddingOp } from '../../lib/ops/embedding.ts'
import { defineCases } from './cases.ts'

const ids = (shape: number[], rows: number) => ({ shape, dtype: 'i32', fill: { int: [0, rows] } }) as const

export default defineCases(embeddingOp, [
  { name: 'rows', inputs: { table: { shape: [11, 24] }, ids: ids([2, 7], 11) }, call: t => embedding(t.table!, t.ids!) },
  {
    name: 'scaled',
    inputs: { table: { shape: [11, 9] }, ids: ids([5], 11) },
    call: t => embedding(t.table!, t.ids!, { scale: 22.627417 }),
  },
  { name: 'nothing', inputs: { table: { shape: [11, 24] }, ids: ids([2, 0], 11) }, call: t => embedding(t.table!, t.ids!) },
  { name: 'one token', inputs: { table: { shape: [3, 5] }, ids: ids([], 3) }, call: t => embedding(t.table!, t.ids!) },
  {
    name: 'positions by index',
    inputs: { table: { shape: [11, 24] }, ids: ids([3, 7], 11), positions: { shape: [9, 24] } },
    call: t => embedding(t.table!, t.ids!, { positions: t.positions! }),
  },
  {
    name: 'positions by ids of a row',
    inputs: { table: { shape: [11, 24] }, ids: ids([3, 7], 11), positions: { shape: [9, 24] }, positionIds: ids([7], 9) },
    call: t => embedding(t.table!, t.ids!, { positions: t.positions!, positionIds: t.positionIds! }),
  },
  {
    name: 'positions by ids, scaled, dropout',
    inputs: { table: { shape: [13, 33] }, ids: ids([4, 5], 13), positions: { shape: [6, 33] }, positionIds: ids([4, 5], 6) },
    call: t => embedding(t.table!, t.ids!, { positions: t.positions!, positionIds: t.positionIds!, scale: 3, dropout: 0.3 }),
  },
  {
    name: 'fixed positions',
    inputs: { table: { shape: [11, 24] }, ids: ids([3, 7], 11), positions: { shape: [7, 24], gradient: false } },
    call: t => embedding(t.table!, t.ids!, { positions: t.positions!, dropout: 0.1 }),
  },
  { name: 'all dropped', inputs: { table: { shape: [4, 6] }, ids: ids([3], 4) }, call: t => embedding(t.table!, t.ids!, { dropout: 1 }) },
  {
    name: 'wide and long',
    inputs: { table: { shape: [20, 1037] }, ids: ids([2, 31], 20), positions: { shape: [31, 1037] } },
    call: t => embedding(t.table!, t.ids!, { positions: t.positions!, dropout: 0.2, scale: 2 }),
  },
  {
    name: 'aligned and long',
    inputs: { table: { shape: [300, 72] }, ids: ids([5, 31], 300), positions: { shape: [40, 72] }, positionIds: ids([31], 40) },
    call: t => embedding(t.table!, t.ids!, { positions: t.positions!, positionIds: t.positionIds!, dropout: 0.2, scale: 2 }),
  },
  {
    name: 'strided table',
    inputs: { table: { shape: [8, 6], transposed: true }, ids: ids([9], 8) },
    call: t => embedding(t.table!, t.ids!),
    reference: (F, { table, ids }) => ({ y: F.gather(table!, Array.from(F.values(ids!))) }),
  },
])
