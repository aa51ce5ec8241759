/**
 * The small vocabulary that references are written in. A reference is a program over any engine with these operations: the tests run it in
 * float64 with automatic derivatives, and with every step rounded to a low precision to see what an unfused computation would lose.
 * Shapes broadcast as in NumPy. Indices and truth values are arrays of numbers like all others.
 */
export interface ArrayOps<T> {
  shape(x: T): readonly number[]
  /** The numbers themselves, row-major; no gradient flows through them. */
  values(x: T): Float64Array
  constant(values: ArrayLike<number>, shape: readonly number[]): T
  full(shape: readonly number[], value: number): T

  add(a: T, b: T | number): T
  sub(a: T, b: T | number): T
  mul(a: T, b: T | number): T
  div(a: T, b: T | number): T
  pow(a: T, b: T | number): T
  maximum(a: T, b: T | number): T
  minimum(a: T, b: T | number): T
  neg(x: T): T
  exp(x: T): T
  log(x: T): T
  sqrt(x: T): T
  tanh(x: T): T
  erf(x: T): T
  sin(x: T): T
  cos(x: T): T
  abs(x: T): T
  /** 1 where f holds for the pair of numbers, else 0. No gradient. */
  compare(a: T, b: T | number, f: (a: number, b: number) => boolean): T
  /** a where condition is not 0, else b. */
  where(condition: T, a: T | number, b: T | number): T

  /** [..., M, K] times [..., K, N]; leading dimensions broadcast. */
  matmul(a: T, b: T): T
  transpose(x: T, i: number, j: number): T
  reshape(x: T, shape: readonly number[]): T
  broadcast(x: T, shape: readonly number[]): T
  slice(x: T, dim: number, start: number, end: number): T
  concat(xs: readonly T[], dim: number): T
  /** Rows of x (first dimension) by index; the gradient adds up where an index repeats. */
  gather(x: T, index: readonly number[]): T
  /** Reduced dimensions stay as size 1. The maximum of an empty set is -inf; equal maxima share its gradient. */
  sum(x: T, dims: readonly number[]): T
  max(x: T, dims: readonly number[]): T
  /** 0 where dropout drops, 1 / (1 - p) elsewhere: element i of draw (seed, counter), kept where its uniform number is >= p. */
  dropoutMask(shape: readonly number[], p: number, seed: number, counter: number): T
  /** Uniform numbers in [0, 1): element i of draw (seed, counter). */
  uniform(shape: readonly number[], seed: number, counter: number): T
}
