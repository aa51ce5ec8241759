/** Random inputs: data decides how long exponentials and denormal numbers take, so no row runs on zeros. */
import { type Device, type FloatDType, type Tensor, tensor } from '../lib/index.ts'

/** Draws from a normal distribution of mean 0. */
function normals(count: number, deviation: number): Float32Array {
  const values = new Float32Array(count)
  for (let i = 0; i < count; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(1 - Math.random()))
    const angle = 2 * Math.PI * Math.random()
    values[i] = radius * Math.cos(angle)
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle)
  }
  return values
}

/** A maker of random tensors on a device. */
export function randoms(device: Device, dtype: FloatDType): (shape: readonly number[], deviation?: number) => Tensor {
  return (shape, deviation = 1) => {
    const size = shape.reduce((product, dimension) => product * dimension, 1)
    return tensor(normals(size, deviation), [...shape], { device, dtype })
  }
}

/** Integers from 0 up to but not `end`. */
export function randomIds(count: number, end: number): Int32Array {
  return Int32Array.from({ length: count }, () => Math.floor(Math.random() * end))
}
