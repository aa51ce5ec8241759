/** What the op suite takes from the library. */
import { isFloat } from '../../lib/dtype.ts'
import { Tensor } from '../../lib/index.ts'

export { add, type Device, mul, noGrad, scope, seed, sum, Tensor, tensor } from '../../lib/index.ts'
export const isFloatTensor = (value: unknown): value is Tensor => value instanceof Tensor && isFloat(value.dtype)
