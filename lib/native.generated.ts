// Made by scripts/generate-native.mjs from native/core/ops.def. Do not edit: change ops.def, build, run `npm run generate`.
import type { Tensor } from './tensor.ts'

export interface CopyArgs {
  x: Tensor
  y: Tensor
}

export function copy(a: CopyArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(3)
  const w = stream.words
  w[i++] = 8
  w[i++] = a.x.handle.index
  w[i++] = a.y.handle.index
  stream.end(i)
}

export interface AccumulateArgs {
  x: Tensor
  y: Tensor
}

export function accumulate(a: AccumulateArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(3)
  const w = stream.words
  w[i++] = 9
  w[i++] = a.x.handle.index
  w[i++] = a.y.handle.index
  stream.end(i)
}

export interface FillArgs {
  y: Tensor
  value: number
}

export function fill(a: FillArgs): void {
  const stream = a.y.device.commands
  let i = stream.begin(3)
  const w = stream.words
  const f = stream.floats
  w[i++] = 10
  w[i++] = a.y.handle.index
  f[i++] = a.value
  stream.end(i)
}

export interface RandomArgs {
  y: Tensor
  kind: number
  a: number
  b: number
  seed: number
  counter: number
}

export function random(a: RandomArgs): void {
  const stream = a.y.device.commands
  let i = stream.begin(9)
  const w = stream.words
  const f = stream.floats
  w[i++] = 11
  w[i++] = a.y.handle.index
  w[i++] = a.kind
  f[i++] = a.a
  f[i++] = a.b
  w[i++] = a.seed
  w[i++] = Math.floor(a.seed / 0x100000000)
  w[i++] = a.counter
  w[i++] = Math.floor(a.counter / 0x100000000)
  stream.end(i)
}

export interface GatherRowsArgs {
  x: Tensor
  index: Tensor
  y: Tensor
}

export function gatherRows(a: GatherRowsArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(4)
  const w = stream.words
  w[i++] = 12
  w[i++] = a.x.handle.index
  w[i++] = a.index.handle.index
  w[i++] = a.y.handle.index
  stream.end(i)
}

export interface ScatterRowsArgs {
  x: Tensor
  index: Tensor
  y: Tensor
}

export function scatterRows(a: ScatterRowsArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(4)
  const w = stream.words
  w[i++] = 13
  w[i++] = a.x.handle.index
  w[i++] = a.index.handle.index
  w[i++] = a.y.handle.index
  stream.end(i)
}

export interface BinaryArgs {
  a: Tensor
  b: Tensor
  y: Tensor
  kind: number
}

export function binary(a: BinaryArgs): void {
  const stream = a.a.device.commands
  let i = stream.begin(5)
  const w = stream.words
  w[i++] = 14
  w[i++] = a.a.handle.index
  w[i++] = a.b.handle.index
  w[i++] = a.y.handle.index
  w[i++] = a.kind
  stream.end(i)
}

export interface AffineArgs {
  x: Tensor
  y: Tensor
  scale: number
  shift: number
}

export function affine(a: AffineArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(5)
  const w = stream.words
  const f = stream.floats
  w[i++] = 15
  w[i++] = a.x.handle.index
  w[i++] = a.y.handle.index
  f[i++] = a.scale
  f[i++] = a.shift
  stream.end(i)
}

export interface WhereArgs {
  condition: Tensor
  a: Tensor
  b: Tensor
  y: Tensor
}

export function where(a: WhereArgs): void {
  const stream = a.condition.device.commands
  let i = stream.begin(5)
  const w = stream.words
  w[i++] = 16
  w[i++] = a.condition.handle.index
  w[i++] = a.a.handle.index
  w[i++] = a.b.handle.index
  w[i++] = a.y.handle.index
  stream.end(i)
}

export interface DropoutArgs {
  x: Tensor
  y: Tensor
  p: number
  seed: number
  counter: number
}

export function dropout(a: DropoutArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(8)
  const w = stream.words
  const f = stream.floats
  w[i++] = 17
  w[i++] = a.x.handle.index
  w[i++] = a.y.handle.index
  f[i++] = a.p
  w[i++] = a.seed
  w[i++] = Math.floor(a.seed / 0x100000000)
  w[i++] = a.counter
  w[i++] = Math.floor(a.counter / 0x100000000)
  stream.end(i)
}

export interface ReduceArgs {
  x: Tensor
  y: Tensor
  kind: number
  dims: number
}

export function reduce(a: ReduceArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(5)
  const w = stream.words
  w[i++] = 18
  w[i++] = a.x.handle.index
  w[i++] = a.y.handle.index
  w[i++] = a.kind
  w[i++] = a.dims
  stream.end(i)
}

export interface UnaryArgs {
  x: Tensor
  y: Tensor
  kind: number
}

export function unary(a: UnaryArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(4)
  const w = stream.words
  w[i++] = 19
  w[i++] = a.x.handle.index
  w[i++] = a.y.handle.index
  w[i++] = a.kind
  stream.end(i)
}

export interface UnaryBackwardArgs {
  dy: Tensor
  x: Tensor
  dx: Tensor
  kind: number
}

export function unaryBackward(a: UnaryBackwardArgs): void {
  const stream = a.dy.device.commands
  let i = stream.begin(5)
  const w = stream.words
  w[i++] = 20
  w[i++] = a.dy.handle.index
  w[i++] = a.x.handle.index
  w[i++] = a.dx.handle.index
  w[i++] = a.kind
  stream.end(i)
}

export interface ArgmaxArgs {
  x: Tensor
  index: Tensor
}

export function argmax(a: ArgmaxArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(3)
  const w = stream.words
  w[i++] = 21
  w[i++] = a.x.handle.index
  w[i++] = a.index.handle.index
  stream.end(i)
}

export interface TopKArgs {
  x: Tensor
  values: Tensor
  index: Tensor
  k: number
}

export function topK(a: TopKArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(5)
  const w = stream.words
  w[i++] = 22
  w[i++] = a.x.handle.index
  w[i++] = a.values.handle.index
  w[i++] = a.index.handle.index
  w[i++] = a.k
  stream.end(i)
}

export interface TopKBackwardArgs {
  dvalues: Tensor
  index: Tensor
  dx: Tensor
}

export function topKBackward(a: TopKBackwardArgs): void {
  const stream = a.dvalues.device.commands
  let i = stream.begin(4)
  const w = stream.words
  w[i++] = 23
  w[i++] = a.dvalues.handle.index
  w[i++] = a.index.handle.index
  w[i++] = a.dx.handle.index
  stream.end(i)
}

export interface SoftmaxArgs {
  x: Tensor
  y: Tensor
  scale: number
}

export function softmax(a: SoftmaxArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(4)
  const w = stream.words
  const f = stream.floats
  w[i++] = 24
  w[i++] = a.x.handle.index
  w[i++] = a.y.handle.index
  f[i++] = a.scale
  stream.end(i)
}

export interface SoftmaxBackwardArgs {
  dy: Tensor
  y: Tensor
  dx: Tensor
  scale: number
}

export function softmaxBackward(a: SoftmaxBackwardArgs): void {
  const stream = a.dy.device.commands
  let i = stream.begin(5)
  const w = stream.words
  const f = stream.floats
  w[i++] = 25
  w[i++] = a.dy.handle.index
  w[i++] = a.y.handle.index
  w[i++] = a.dx.handle.index
  f[i++] = a.scale
  stream.end(i)
}

export interface LogSoftmaxArgs {
  x: Tensor
  y: Tensor
}

export function logSoftmax(a: LogSoftmaxArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(3)
  const w = stream.words
  w[i++] = 26
  w[i++] = a.x.handle.index
  w[i++] = a.y.handle.index
  stream.end(i)
}

export interface LogSoftmaxBackwardArgs {
  dy: Tensor
  y: Tensor
  dx: Tensor
}

export function logSoftmaxBackward(a: LogSoftmaxBackwardArgs): void {
  const stream = a.dy.device.commands
  let i = stream.begin(4)
  const w = stream.words
  w[i++] = 27
  w[i++] = a.dy.handle.index
  w[i++] = a.y.handle.index
  w[i++] = a.dx.handle.index
  stream.end(i)
}

export interface MatmulArgs {
  a: Tensor
  b: Tensor
  c: Tensor
  alpha: number
}

export function matmul(a: MatmulArgs): void {
  const stream = a.a.device.commands
  let i = stream.begin(5)
  const w = stream.words
  const f = stream.floats
  w[i++] = 28
  w[i++] = a.a.handle.index
  w[i++] = a.b.handle.index
  w[i++] = a.c.handle.index
  f[i++] = a.alpha
  stream.end(i)
}

export interface LinearArgs {
  x: Tensor
  weight: Tensor
  bias?: Tensor | undefined
  residual?: Tensor | undefined
  y: Tensor
  preactivation?: Tensor | undefined
  activation: number
}

export function linear(a: LinearArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(8)
  const w = stream.words
  w[i++] = 29
  w[i++] = a.x.handle.index
  w[i++] = a.weight.handle.index
  w[i++] = a.bias === undefined ? -1 : a.bias.handle.index
  w[i++] = a.residual === undefined ? -1 : a.residual.handle.index
  w[i++] = a.y.handle.index
  w[i++] = a.preactivation === undefined ? -1 : a.preactivation.handle.index
  w[i++] = a.activation
  stream.end(i)
}

export interface LinearBackwardArgs {
  dy: Tensor
  x: Tensor
  weight: Tensor
  preactivation?: Tensor | undefined
  dx?: Tensor | undefined
  dweight?: Tensor | undefined
  dbias?: Tensor | undefined
  activation: number
}

export function linearBackward(a: LinearBackwardArgs): void {
  const stream = a.dy.device.commands
  let i = stream.begin(9)
  const w = stream.words
  w[i++] = 30
  w[i++] = a.dy.handle.index
  w[i++] = a.x.handle.index
  w[i++] = a.weight.handle.index
  w[i++] = a.preactivation === undefined ? -1 : a.preactivation.handle.index
  w[i++] = a.dx === undefined ? -1 : a.dx.handle.index
  w[i++] = a.dweight === undefined ? -1 : a.dweight.handle.index
  w[i++] = a.dbias === undefined ? -1 : a.dbias.handle.index
  w[i++] = a.activation
  stream.end(i)
}

export interface QkvArgs {
  x: Tensor
  weight: Tensor
  bias?: Tensor | undefined
  cosines?: Tensor | undefined
  sines?: Tensor | undefined
  positionIds?: Tensor | undefined
  slots?: Tensor | undefined
  kCache?: Tensor | undefined
  vCache?: Tensor | undefined
  q?: Tensor | undefined
  k?: Tensor | undefined
  v?: Tensor | undefined
  interleaved: number
}

export function qkv(a: QkvArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(14)
  const w = stream.words
  w[i++] = 31
  w[i++] = a.x.handle.index
  w[i++] = a.weight.handle.index
  w[i++] = a.bias === undefined ? -1 : a.bias.handle.index
  w[i++] = a.cosines === undefined ? -1 : a.cosines.handle.index
  w[i++] = a.sines === undefined ? -1 : a.sines.handle.index
  w[i++] = a.positionIds === undefined ? -1 : a.positionIds.handle.index
  w[i++] = a.slots === undefined ? -1 : a.slots.handle.index
  w[i++] = a.kCache === undefined ? -1 : a.kCache.handle.index
  w[i++] = a.vCache === undefined ? -1 : a.vCache.handle.index
  w[i++] = a.q === undefined ? -1 : a.q.handle.index
  w[i++] = a.k === undefined ? -1 : a.k.handle.index
  w[i++] = a.v === undefined ? -1 : a.v.handle.index
  w[i++] = a.interleaved
  stream.end(i)
}

export interface QkvBackwardArgs {
  dq?: Tensor | undefined
  dk?: Tensor | undefined
  dv?: Tensor | undefined
  x: Tensor
  weight: Tensor
  cosines?: Tensor | undefined
  sines?: Tensor | undefined
  positionIds?: Tensor | undefined
  dx?: Tensor | undefined
  dweight?: Tensor | undefined
  dbias?: Tensor | undefined
  interleaved: number
}

export function qkvBackward(a: QkvBackwardArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(13)
  const w = stream.words
  w[i++] = 32
  w[i++] = a.dq === undefined ? -1 : a.dq.handle.index
  w[i++] = a.dk === undefined ? -1 : a.dk.handle.index
  w[i++] = a.dv === undefined ? -1 : a.dv.handle.index
  w[i++] = a.x.handle.index
  w[i++] = a.weight.handle.index
  w[i++] = a.cosines === undefined ? -1 : a.cosines.handle.index
  w[i++] = a.sines === undefined ? -1 : a.sines.handle.index
  w[i++] = a.positionIds === undefined ? -1 : a.positionIds.handle.index
  w[i++] = a.dx === undefined ? -1 : a.dx.handle.index
  w[i++] = a.dweight === undefined ? -1 : a.dweight.handle.index
  w[i++] = a.dbias === undefined ? -1 : a.dbias.handle.index
  w[i++] = a.interleaved
  stream.end(i)
}

export interface FeedForwardArgs {
  x: Tensor
  weight1: Tensor
  bias1?: Tensor | undefined
  weight2: Tensor
  bias2?: Tensor | undefined
  y: Tensor
  preactivation?: Tensor | undefined
  activation: number
  gated: number
  dropout: number
  seed: number
  counter: number
}

export function feedForward(a: FeedForwardArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(15)
  const w = stream.words
  const f = stream.floats
  w[i++] = 33
  w[i++] = a.x.handle.index
  w[i++] = a.weight1.handle.index
  w[i++] = a.bias1 === undefined ? -1 : a.bias1.handle.index
  w[i++] = a.weight2.handle.index
  w[i++] = a.bias2 === undefined ? -1 : a.bias2.handle.index
  w[i++] = a.y.handle.index
  w[i++] = a.preactivation === undefined ? -1 : a.preactivation.handle.index
  w[i++] = a.activation
  w[i++] = a.gated
  f[i++] = a.dropout
  w[i++] = a.seed
  w[i++] = Math.floor(a.seed / 0x100000000)
  w[i++] = a.counter
  w[i++] = Math.floor(a.counter / 0x100000000)
  stream.end(i)
}

export interface FeedForwardBackwardArgs {
  dy: Tensor
  x: Tensor
  weight1: Tensor
  weight2: Tensor
  preactivation: Tensor
  dx?: Tensor | undefined
  dweight1?: Tensor | undefined
  dbias1?: Tensor | undefined
  dweight2?: Tensor | undefined
  dbias2?: Tensor | undefined
  activation: number
  gated: number
  dropout: number
  seed: number
  counter: number
}

export function feedForwardBackward(a: FeedForwardBackwardArgs): void {
  const stream = a.dy.device.commands
  let i = stream.begin(18)
  const w = stream.words
  const f = stream.floats
  w[i++] = 34
  w[i++] = a.dy.handle.index
  w[i++] = a.x.handle.index
  w[i++] = a.weight1.handle.index
  w[i++] = a.weight2.handle.index
  w[i++] = a.preactivation.handle.index
  w[i++] = a.dx === undefined ? -1 : a.dx.handle.index
  w[i++] = a.dweight1 === undefined ? -1 : a.dweight1.handle.index
  w[i++] = a.dbias1 === undefined ? -1 : a.dbias1.handle.index
  w[i++] = a.dweight2 === undefined ? -1 : a.dweight2.handle.index
  w[i++] = a.dbias2 === undefined ? -1 : a.dbias2.handle.index
  w[i++] = a.activation
  w[i++] = a.gated
  f[i++] = a.dropout
  w[i++] = a.seed
  w[i++] = Math.floor(a.seed / 0x100000000)
  w[i++] = a.counter
  w[i++] = Math.floor(a.counter / 0x100000000)
  stream.end(i)
}

export interface AttentionArgs {
  q: Tensor
  k: Tensor
  v: Tensor
  qOffsets?: Tensor | undefined
  kOffsets?: Tensor | undefined
  cacheLengths?: Tensor | undefined
  blockTable?: Tensor | undefined
  keyLengths?: Tensor | undefined
  keep?: Tensor | undefined
  bias?: Tensor | undefined
  output: Tensor
  logSumExp: Tensor
  batch: number
  maxQ: number
  maxK: number
  causal: number
  windowLeft: number
  windowRight: number
  extraKeys: number
  scale: number
  dropout: number
  seed: number
  counter: number
}

export function attention(a: AttentionArgs): void {
  const stream = a.q.device.commands
  let i = stream.begin(26)
  const w = stream.words
  const f = stream.floats
  w[i++] = 35
  w[i++] = a.q.handle.index
  w[i++] = a.k.handle.index
  w[i++] = a.v.handle.index
  w[i++] = a.qOffsets === undefined ? -1 : a.qOffsets.handle.index
  w[i++] = a.kOffsets === undefined ? -1 : a.kOffsets.handle.index
  w[i++] = a.cacheLengths === undefined ? -1 : a.cacheLengths.handle.index
  w[i++] = a.blockTable === undefined ? -1 : a.blockTable.handle.index
  w[i++] = a.keyLengths === undefined ? -1 : a.keyLengths.handle.index
  w[i++] = a.keep === undefined ? -1 : a.keep.handle.index
  w[i++] = a.bias === undefined ? -1 : a.bias.handle.index
  w[i++] = a.output.handle.index
  w[i++] = a.logSumExp.handle.index
  w[i++] = a.batch
  w[i++] = a.maxQ
  w[i++] = a.maxK
  w[i++] = a.causal
  w[i++] = a.windowLeft
  w[i++] = a.windowRight
  w[i++] = a.extraKeys
  f[i++] = a.scale
  f[i++] = a.dropout
  w[i++] = a.seed
  w[i++] = Math.floor(a.seed / 0x100000000)
  w[i++] = a.counter
  w[i++] = Math.floor(a.counter / 0x100000000)
  stream.end(i)
}

export interface AttentionBackwardArgs {
  doutput: Tensor
  q: Tensor
  k: Tensor
  v: Tensor
  output: Tensor
  logSumExp: Tensor
  qOffsets?: Tensor | undefined
  kOffsets?: Tensor | undefined
  keyLengths?: Tensor | undefined
  keep?: Tensor | undefined
  bias?: Tensor | undefined
  dq: Tensor
  dk: Tensor
  dv: Tensor
  dbias?: Tensor | undefined
  batch: number
  maxQ: number
  maxK: number
  causal: number
  windowLeft: number
  windowRight: number
  extraKeys: number
  scale: number
  dropout: number
  seed: number
  counter: number
}

export function attentionBackward(a: AttentionBackwardArgs): void {
  const stream = a.doutput.device.commands
  let i = stream.begin(29)
  const w = stream.words
  const f = stream.floats
  w[i++] = 36
  w[i++] = a.doutput.handle.index
  w[i++] = a.q.handle.index
  w[i++] = a.k.handle.index
  w[i++] = a.v.handle.index
  w[i++] = a.output.handle.index
  w[i++] = a.logSumExp.handle.index
  w[i++] = a.qOffsets === undefined ? -1 : a.qOffsets.handle.index
  w[i++] = a.kOffsets === undefined ? -1 : a.kOffsets.handle.index
  w[i++] = a.keyLengths === undefined ? -1 : a.keyLengths.handle.index
  w[i++] = a.keep === undefined ? -1 : a.keep.handle.index
  w[i++] = a.bias === undefined ? -1 : a.bias.handle.index
  w[i++] = a.dq.handle.index
  w[i++] = a.dk.handle.index
  w[i++] = a.dv.handle.index
  w[i++] = a.dbias === undefined ? -1 : a.dbias.handle.index
  w[i++] = a.batch
  w[i++] = a.maxQ
  w[i++] = a.maxK
  w[i++] = a.causal
  w[i++] = a.windowLeft
  w[i++] = a.windowRight
  w[i++] = a.extraKeys
  f[i++] = a.scale
  f[i++] = a.dropout
  w[i++] = a.seed
  w[i++] = Math.floor(a.seed / 0x100000000)
  w[i++] = a.counter
  w[i++] = Math.floor(a.counter / 0x100000000)
  stream.end(i)
}

export interface AttentionWeightsArgs {
  q: Tensor
  k: Tensor
  logSumExp: Tensor
  qOffsets?: Tensor | undefined
  kOffsets?: Tensor | undefined
  keyLengths?: Tensor | undefined
  keep?: Tensor | undefined
  bias?: Tensor | undefined
  weights: Tensor
  batch: number
  maxQ: number
  maxK: number
  causal: number
  windowLeft: number
  windowRight: number
  extraKeys: number
  scale: number
}

export function attentionWeights(a: AttentionWeightsArgs): void {
  const stream = a.q.device.commands
  let i = stream.begin(18)
  const w = stream.words
  const f = stream.floats
  w[i++] = 37
  w[i++] = a.q.handle.index
  w[i++] = a.k.handle.index
  w[i++] = a.logSumExp.handle.index
  w[i++] = a.qOffsets === undefined ? -1 : a.qOffsets.handle.index
  w[i++] = a.kOffsets === undefined ? -1 : a.kOffsets.handle.index
  w[i++] = a.keyLengths === undefined ? -1 : a.keyLengths.handle.index
  w[i++] = a.keep === undefined ? -1 : a.keep.handle.index
  w[i++] = a.bias === undefined ? -1 : a.bias.handle.index
  w[i++] = a.weights.handle.index
  w[i++] = a.batch
  w[i++] = a.maxQ
  w[i++] = a.maxK
  w[i++] = a.causal
  w[i++] = a.windowLeft
  w[i++] = a.windowRight
  w[i++] = a.extraKeys
  f[i++] = a.scale
  stream.end(i)
}

export interface LayerNormArgs {
  x: Tensor
  residual?: Tensor | undefined
  weight?: Tensor | undefined
  bias?: Tensor | undefined
  y: Tensor
  sum?: Tensor | undefined
  mean: Tensor
  rstd: Tensor
  eps: number
  dropout: number
  seed: number
  counter: number
}

export function layerNorm(a: LayerNormArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(15)
  const w = stream.words
  const f = stream.floats
  w[i++] = 38
  w[i++] = a.x.handle.index
  w[i++] = a.residual === undefined ? -1 : a.residual.handle.index
  w[i++] = a.weight === undefined ? -1 : a.weight.handle.index
  w[i++] = a.bias === undefined ? -1 : a.bias.handle.index
  w[i++] = a.y.handle.index
  w[i++] = a.sum === undefined ? -1 : a.sum.handle.index
  w[i++] = a.mean.handle.index
  w[i++] = a.rstd.handle.index
  f[i++] = a.eps
  f[i++] = a.dropout
  w[i++] = a.seed
  w[i++] = Math.floor(a.seed / 0x100000000)
  w[i++] = a.counter
  w[i++] = Math.floor(a.counter / 0x100000000)
  stream.end(i)
}

export interface LayerNormBackwardArgs {
  dy: Tensor
  dsum?: Tensor | undefined
  sum: Tensor
  weight?: Tensor | undefined
  mean: Tensor
  rstd: Tensor
  dx?: Tensor | undefined
  dresidual?: Tensor | undefined
  dweight?: Tensor | undefined
  dbias?: Tensor | undefined
  dropout: number
  seed: number
  counter: number
}

export function layerNormBackward(a: LayerNormBackwardArgs): void {
  const stream = a.dy.device.commands
  let i = stream.begin(16)
  const w = stream.words
  const f = stream.floats
  w[i++] = 39
  w[i++] = a.dy.handle.index
  w[i++] = a.dsum === undefined ? -1 : a.dsum.handle.index
  w[i++] = a.sum.handle.index
  w[i++] = a.weight === undefined ? -1 : a.weight.handle.index
  w[i++] = a.mean.handle.index
  w[i++] = a.rstd.handle.index
  w[i++] = a.dx === undefined ? -1 : a.dx.handle.index
  w[i++] = a.dresidual === undefined ? -1 : a.dresidual.handle.index
  w[i++] = a.dweight === undefined ? -1 : a.dweight.handle.index
  w[i++] = a.dbias === undefined ? -1 : a.dbias.handle.index
  f[i++] = a.dropout
  w[i++] = a.seed
  w[i++] = Math.floor(a.seed / 0x100000000)
  w[i++] = a.counter
  w[i++] = Math.floor(a.counter / 0x100000000)
  stream.end(i)
}

export interface RmsNormArgs {
  x: Tensor
  residual?: Tensor | undefined
  weight?: Tensor | undefined
  y: Tensor
  sum?: Tensor | undefined
  rstd: Tensor
  eps: number
  dropout: number
  seed: number
  counter: number
}

export function rmsNorm(a: RmsNormArgs): void {
  const stream = a.x.device.commands
  let i = stream.begin(13)
  const w = stream.words
  const f = stream.floats
  w[i++] = 40
  w[i++] = a.x.handle.index
  w[i++] = a.residual === undefined ? -1 : a.residual.handle.index
  w[i++] = a.weight === undefined ? -1 : a.weight.handle.index
  w[i++] = a.y.handle.index
  w[i++] = a.sum === undefined ? -1 : a.sum.handle.index
  w[i++] = a.rstd.handle.index
  f[i++] = a.eps
  f[i++] = a.dropout
  w[i++] = a.seed
  w[i++] = Math.floor(a.seed / 0x100000000)
  w[i++] = a.counter
  w[i++] = Math.floor(a.counter / 0x100000000)
  stream.end(i)
}

export interface RmsNormBackwardArgs {
  dy: Tensor
  dsum?: Tensor | undefined
  sum: Tensor
  weight?: Tensor | undefined
  rstd: Tensor
  dx?: Tensor | undefined
  dresidual?: Tensor | undefined
  dweight?: Tensor | undefined
  dropout: number
  seed: number
  counter: number
}

export function rmsNormBackward(a: RmsNormBackwardArgs): void {
  const stream = a.dy.device.commands
  let i = stream.begin(14)
  const w = stream.words
  const f = stream.floats
  w[i++] = 41
  w[i++] = a.dy.handle.index
  w[i++] = a.dsum === undefined ? -1 : a.dsum.handle.index
  w[i++] = a.sum.handle.index
  w[i++] = a.weight === undefined ? -1 : a.weight.handle.index
  w[i++] = a.rstd.handle.index
  w[i++] = a.dx === undefined ? -1 : a.dx.handle.index
  w[i++] = a.dresidual === undefined ? -1 : a.dresidual.handle.index
  w[i++] = a.dweight === undefined ? -1 : a.dweight.handle.index
  f[i++] = a.dropout
  w[i++] = a.seed
  w[i++] = Math.floor(a.seed / 0x100000000)
  w[i++] = a.counter
  w[i++] = Math.floor(a.counter / 0x100000000)
  stream.end(i)
}

export interface EmbeddingArgs {
  table: Tensor
  ids: Tensor
  positions?: Tensor | undefined
  positionIds?: Tensor | undefined
  y: Tensor
  scale: number
  dropout: number
  seed: number
  counter: number
}

export function embedding(a: EmbeddingArgs): void {
  const stream = a.table.device.commands
  let i = stream.begin(12)
  const w = stream.words
  const f = stream.floats
  w[i++] = 42
  w[i++] = a.table.handle.index
  w[i++] = a.ids.handle.index
  w[i++] = a.positions === undefined ? -1 : a.positions.handle.index
  w[i++] = a.positionIds === undefined ? -1 : a.positionIds.handle.index
  w[i++] = a.y.handle.index
  f[i++] = a.scale
  f[i++] = a.dropout
  w[i++] = a.seed
  w[i++] = Math.floor(a.seed / 0x100000000)
  w[i++] = a.counter
  w[i++] = Math.floor(a.counter / 0x100000000)
  stream.end(i)
}

export interface EmbeddingBackwardArgs {
  dy: Tensor
  ids: Tensor
  positionIds?: Tensor | undefined
  dtable?: Tensor | undefined
  dpositions?: Tensor | undefined
  paddingIndex: number
  scale: number
  dropout: number
  seed: number
  counter: number
}

export function embeddingBackward(a: EmbeddingBackwardArgs): void {
  const stream = a.dy.device.commands
  let i = stream.begin(13)
  const w = stream.words
  const f = stream.floats
  w[i++] = 43
  w[i++] = a.dy.handle.index
  w[i++] = a.ids.handle.index
  w[i++] = a.positionIds === undefined ? -1 : a.positionIds.handle.index
  w[i++] = a.dtable === undefined ? -1 : a.dtable.handle.index
  w[i++] = a.dpositions === undefined ? -1 : a.dpositions.handle.index
  w[i++] = a.paddingIndex
  f[i++] = a.scale
  f[i++] = a.dropout
  w[i++] = a.seed
  w[i++] = Math.floor(a.seed / 0x100000000)
  w[i++] = a.counter
  w[i++] = Math.floor(a.counter / 0x100000000)
  stream.end(i)
}

export interface AdamwArgs {
  params: readonly Tensor[]
  grads: readonly Tensor[]
  firstMoments: readonly Tensor[]
  secondMoments: readonly Tensor[]
  masters: readonly Tensor[]
  steps: readonly Tensor[]
  others: readonly Tensor[]
  rate: Tensor
  rest1: number
  rest2: number
  eps: number
  weightDecay: number
  decoupled: number
  clear: number
}

export function adamw(a: AdamwArgs): void {
  const stream = a.rate.device.commands
  let i = stream.begin(
    15 +
      a.params.length +
      a.grads.length +
      a.firstMoments.length +
      a.secondMoments.length +
      a.masters.length +
      a.steps.length +
      a.others.length,
  )
  const w = stream.words
  const f = stream.floats
  w[i++] = 44
  w[i++] = a.params.length
  for (const tensor of a.params) w[i++] = tensor.handle.index
  w[i++] = a.grads.length
  for (const tensor of a.grads) w[i++] = tensor.handle.index
  w[i++] = a.firstMoments.length
  for (const tensor of a.firstMoments) w[i++] = tensor.handle.index
  w[i++] = a.secondMoments.length
  for (const tensor of a.secondMoments) w[i++] = tensor.handle.index
  w[i++] = a.masters.length
  for (const tensor of a.masters) w[i++] = tensor.handle.index
  w[i++] = a.steps.length
  for (const tensor of a.steps) w[i++] = tensor.handle.index
  w[i++] = a.others.length
  for (const tensor of a.others) w[i++] = tensor.handle.index
  w[i++] = a.rate.handle.index
  f[i++] = a.rest1
  f[i++] = a.rest2
  f[i++] = a.eps
  f[i++] = a.weightDecay
  w[i++] = a.decoupled
  w[i++] = a.clear
  stream.end(i)
}

export interface GlobalNormArgs {
  xs: readonly Tensor[]
  norm: Tensor
}

export function globalNorm(a: GlobalNormArgs): void {
  const stream = a.norm.device.commands
  let i = stream.begin(3 + a.xs.length)
  const w = stream.words
  w[i++] = 45
  w[i++] = a.xs.length
  for (const tensor of a.xs) w[i++] = tensor.handle.index
  w[i++] = a.norm.handle.index
  stream.end(i)
}

export interface ClipByNormArgs {
  xs: readonly Tensor[]
  norm: Tensor
  maxNorm: number
}

export function clipByNorm(a: ClipByNormArgs): void {
  const stream = a.norm.device.commands
  let i = stream.begin(4 + a.xs.length)
  const w = stream.words
  const f = stream.floats
  w[i++] = 46
  w[i++] = a.xs.length
  for (const tensor of a.xs) w[i++] = tensor.handle.index
  w[i++] = a.norm.handle.index
  f[i++] = a.maxNorm
  stream.end(i)
}

export interface CrossEntropyArgs {
  logits: Tensor
  targets: Tensor
  classWeight?: Tensor | undefined
  loss: Tensor
  logSumExp: Tensor
  total: Tensor
  ignoreIndex: number
  reduction: number
  labelSmoothing: number
  normalizer: number
}

export function crossEntropy(a: CrossEntropyArgs): void {
  const stream = a.logits.device.commands
  let i = stream.begin(11)
  const w = stream.words
  const f = stream.floats
  w[i++] = 47
  w[i++] = a.logits.handle.index
  w[i++] = a.targets.handle.index
  w[i++] = a.classWeight === undefined ? -1 : a.classWeight.handle.index
  w[i++] = a.loss.handle.index
  w[i++] = a.logSumExp.handle.index
  w[i++] = a.total.handle.index
  w[i++] = a.ignoreIndex
  w[i++] = a.reduction
  f[i++] = a.labelSmoothing
  f[i++] = a.normalizer
  stream.end(i)
}

export interface CrossEntropyBackwardArgs {
  dloss: Tensor
  logits: Tensor
  targets: Tensor
  classWeight?: Tensor | undefined
  logSumExp: Tensor
  total: Tensor
  dlogits: Tensor
  ignoreIndex: number
  reduction: number
  labelSmoothing: number
}

export function crossEntropyBackward(a: CrossEntropyBackwardArgs): void {
  const stream = a.dloss.device.commands
  let i = stream.begin(11)
  const w = stream.words
  const f = stream.floats
  w[i++] = 48
  w[i++] = a.dloss.handle.index
  w[i++] = a.logits.handle.index
  w[i++] = a.targets.handle.index
  w[i++] = a.classWeight === undefined ? -1 : a.classWeight.handle.index
  w[i++] = a.logSumExp.handle.index
  w[i++] = a.total.handle.index
  w[i++] = a.dlogits.handle.index
  w[i++] = a.ignoreIndex
  w[i++] = a.reduction
  f[i++] = a.labelSmoothing
  stream.end(i)
}

/** The tensors of each op by role, as ops.def states them. */
export const schema = {
  copy: {
    id: 8,
    inputs: ['x'],
    outputs: ['y'],
    accumulated: [],
  },
  accumulate: {
    id: 9,
    inputs: ['x'],
    outputs: [],
    accumulated: ['y'],
  },
  fill: {
    id: 10,
    inputs: [],
    outputs: ['y'],
    accumulated: [],
  },
  random: {
    id: 11,
    inputs: [],
    outputs: ['y'],
    accumulated: [],
  },
  gatherRows: {
    id: 12,
    inputs: ['x', 'index'],
    outputs: ['y'],
    accumulated: [],
  },
  scatterRows: {
    id: 13,
    inputs: ['x', 'index'],
    outputs: [],
    accumulated: ['y'],
  },
  binary: {
    id: 14,
    inputs: ['a', 'b'],
    outputs: ['y'],
    accumulated: [],
  },
  affine: {
    id: 15,
    inputs: ['x'],
    outputs: ['y'],
    accumulated: [],
  },
  where: {
    id: 16,
    inputs: ['condition', 'a', 'b'],
    outputs: ['y'],
    accumulated: [],
  },
  dropout: {
    id: 17,
    inputs: ['x'],
    outputs: ['y'],
    accumulated: [],
  },
  reduce: {
    id: 18,
    inputs: ['x'],
    outputs: ['y'],
    accumulated: [],
  },
  unary: {
    id: 19,
    inputs: ['x'],
    outputs: ['y'],
    accumulated: [],
  },
  unaryBackward: {
    id: 20,
    inputs: ['dy', 'x'],
    outputs: ['dx'],
    accumulated: [],
  },
  argmax: {
    id: 21,
    inputs: ['x'],
    outputs: ['index'],
    accumulated: [],
  },
  topK: {
    id: 22,
    inputs: ['x'],
    outputs: ['values', 'index'],
    accumulated: [],
  },
  topKBackward: {
    id: 23,
    inputs: ['dvalues', 'index'],
    outputs: ['dx'],
    accumulated: [],
  },
  softmax: {
    id: 24,
    inputs: ['x'],
    outputs: ['y'],
    accumulated: [],
  },
  softmaxBackward: {
    id: 25,
    inputs: ['dy', 'y'],
    outputs: ['dx'],
    accumulated: [],
  },
  logSoftmax: {
    id: 26,
    inputs: ['x'],
    outputs: ['y'],
    accumulated: [],
  },
  logSoftmaxBackward: {
    id: 27,
    inputs: ['dy', 'y'],
    outputs: ['dx'],
    accumulated: [],
  },
  matmul: {
    id: 28,
    inputs: ['a', 'b'],
    outputs: ['c'],
    accumulated: [],
  },
  linear: {
    id: 29,
    inputs: ['x', 'weight', 'bias', 'residual'],
    outputs: ['y', 'preactivation'],
    accumulated: [],
  },
  linearBackward: {
    id: 30,
    inputs: ['dy', 'x', 'weight', 'preactivation'],
    outputs: ['dx'],
    accumulated: ['dweight', 'dbias'],
  },
  qkv: {
    id: 31,
    inputs: ['x', 'weight', 'bias', 'cosines', 'sines', 'positionIds', 'slots'],
    outputs: ['q', 'k', 'v'],
    accumulated: ['kCache', 'vCache'],
  },
  qkvBackward: {
    id: 32,
    inputs: ['dq', 'dk', 'dv', 'x', 'weight', 'cosines', 'sines', 'positionIds'],
    outputs: ['dx'],
    accumulated: ['dweight', 'dbias'],
  },
  feedForward: {
    id: 33,
    inputs: ['x', 'weight1', 'bias1', 'weight2', 'bias2'],
    outputs: ['y', 'preactivation'],
    accumulated: [],
  },
  feedForwardBackward: {
    id: 34,
    inputs: ['dy', 'x', 'weight1', 'weight2', 'preactivation'],
    outputs: ['dx'],
    accumulated: ['dweight1', 'dbias1', 'dweight2', 'dbias2'],
  },
  attention: {
    id: 35,
    inputs: ['q', 'k', 'v', 'qOffsets', 'kOffsets', 'cacheLengths', 'blockTable', 'keyLengths', 'keep', 'bias'],
    outputs: ['output', 'logSumExp'],
    accumulated: [],
  },
  attentionBackward: {
    id: 36,
    inputs: ['doutput', 'q', 'k', 'v', 'output', 'logSumExp', 'qOffsets', 'kOffsets', 'keyLengths', 'keep', 'bias'],
    outputs: ['dq', 'dk', 'dv', 'dbias'],
    accumulated: [],
  },
  attentionWeights: {
    id: 37,
    inputs: ['q', 'k', 'logSumExp', 'qOffsets', 'kOffsets', 'keyLengths', 'keep', 'bias'],
    outputs: ['weights'],
    accumulated: [],
  },
  layerNorm: {
    id: 38,
    inputs: ['x', 'residual', 'weight', 'bias'],
    outputs: ['y', 'sum', 'mean', 'rstd'],
    accumulated: [],
  },
  layerNormBackward: {
    id: 39,
    inputs: ['dy', 'dsum', 'sum', 'weight', 'mean', 'rstd'],
    outputs: ['dx', 'dresidual'],
    accumulated: ['dweight', 'dbias'],
  },
  rmsNorm: {
    id: 40,
    inputs: ['x', 'residual', 'weight'],
    outputs: ['y', 'sum', 'rstd'],
    accumulated: [],
  },
  rmsNormBackward: {
    id: 41,
    inputs: ['dy', 'dsum', 'sum', 'weight', 'rstd'],
    outputs: ['dx', 'dresidual'],
    accumulated: ['dweight'],
  },
  embedding: {
    id: 42,
    inputs: ['table', 'ids', 'positions', 'positionIds'],
    outputs: ['y'],
    accumulated: [],
  },
  embeddingBackward: {
    id: 43,
    inputs: ['dy', 'ids', 'positionIds'],
    outputs: [],
    accumulated: ['dtable', 'dpositions'],
  },
  adamw: {
    id: 44,
    inputs: ['rate'],
    outputs: [],
    accumulated: [],
  },
  globalNorm: {
    id: 45,
    inputs: [],
    outputs: ['norm'],
    accumulated: [],
  },
  clipByNorm: {
    id: 46,
    inputs: ['norm'],
    outputs: [],
    accumulated: [],
  },
  crossEntropy: {
    id: 47,
    inputs: ['logits', 'targets', 'classWeight'],
    outputs: ['loss', 'logSumExp', 'total'],
    accumulated: [],
  },
  crossEntropyBackward: {
    id: 48,
    inputs: ['dloss', 'logits', 'targets', 'classWeight', 'logSumExp', 'total'],
    outputs: ['dlogits'],
    accumulated: [],
  },
} as const
