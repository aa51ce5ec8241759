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
  w[i++] = 11
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
  w[i++] = 12
  w[i++] = a.x.handle.index
  w[i++] = a.y.handle.index
  f[i++] = a.scale
  f[i++] = a.shift
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
  w[i++] = 13
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
  w[i++] = 14
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
  w[i++] = 15
  w[i++] = a.dy.handle.index
  w[i++] = a.x.handle.index
  w[i++] = a.dx.handle.index
  w[i++] = a.kind
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
  w[i++] = 16
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
  w[i++] = 17
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
  w[i++] = 18
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
  w[i++] = 19
  w[i++] = a.dy.handle.index
  w[i++] = a.y.handle.index
  w[i++] = a.dx.handle.index
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
  binary: {
    id: 11,
    inputs: ['a', 'b'],
    outputs: ['y'],
    accumulated: [],
  },
  affine: {
    id: 12,
    inputs: ['x'],
    outputs: ['y'],
    accumulated: [],
  },
  reduce: {
    id: 13,
    inputs: ['x'],
    outputs: ['y'],
    accumulated: [],
  },
  unary: {
    id: 14,
    inputs: ['x'],
    outputs: ['y'],
    accumulated: [],
  },
  unaryBackward: {
    id: 15,
    inputs: ['dy', 'x'],
    outputs: ['dx'],
    accumulated: [],
  },
  softmax: {
    id: 16,
    inputs: ['x'],
    outputs: ['y'],
    accumulated: [],
  },
  softmaxBackward: {
    id: 17,
    inputs: ['dy', 'y'],
    outputs: ['dx'],
    accumulated: [],
  },
  logSoftmax: {
    id: 18,
    inputs: ['x'],
    outputs: ['y'],
    accumulated: [],
  },
  logSoftmaxBackward: {
    id: 19,
    inputs: ['dy', 'y'],
    outputs: ['dx'],
    accumulated: [],
  },
} as const
