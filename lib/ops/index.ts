/** Every op, a file each. An op is public when it stands here. */
import './methods.ts'

export { affine } from './affine.ts'
export * from './binary.ts'
export { cast, clone, contiguous } from './copy.ts'
export { fill_, full, ones, zeros } from './fill.ts'
export { type LinearOptions, linear } from './linear.ts'
export { matmul } from './matmul.ts'
export { type Projections, qkv } from './qkv.ts'
export * from './reduce.ts'
export * from './unary.ts'
export { broadcastTo, concat, permute, reshape, slice, transpose } from './view.ts'
