/** Every op, a file each. An op is public when it stands here. */
import './methods.ts'

export { affine } from './affine.ts'
export * from './binary.ts'
export { cast, clone, contiguous } from './copy.ts'
export { fill_, full, ones, zeros } from './fill.ts'
export { type LogSoftmaxOptions, logSoftmax } from './logSoftmax.ts'
export * from './reduce.ts'
export { type SoftmaxOptions, softmax } from './softmax.ts'
export * from './unary.ts'
export { broadcastTo, concat, permute, reshape, slice, transpose } from './view.ts'
