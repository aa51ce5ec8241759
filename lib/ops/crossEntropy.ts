import { defineOp } from '../autograd/defineOp.ts'
import { ArgumentError } from '../errors.ts'
import { type CrossEntropyArgs, crossEntropyBackward, crossEntropy as native, schema } from '../native.generated.ts'
import { allocate, type Shape, type Tensor } from '../tensor.ts'
import type { Leading, Shaped } from '../types/shape.ts'
import { expectDType, expectFloat, expectRange, expectShape, expectTensor } from './check.ts'
import { cast, contiguous } from './copy.ts'
import { rawCast } from './untaped.ts'

/** native/cpu/ops/cross_entropy.cc */
const reductions = { none: 0, mean: 1, sum: 2 } as const

export interface CrossEntropyOptions {
  /** Targets with this value count for nothing: loss and gradient 0. Default -100. */
  ignoreIndex?: number
  /** ε from 0 to 1, default 0: the target's share of the label is 1 - ε + ε/V, that of any other class ε/V. */
  labelSmoothing?: number
  /**
   * `mean` (default) divides the sum by the number of targets that count, or by the sum of their class weights; `sum`; `none` gives each row's own loss.
   */
  reduction?: 'none' | 'mean' | 'sum'
  /** Weight of each class [V], float. Not differentiable. */
  classWeight?: Tensor | undefined
  /** With `mean`: divides the sum in place of the number of targets, so that k small batches add up to one large one. */
  normalizer?: number
}

type Checked = Required<Pick<CrossEntropyOptions, 'ignoreIndex' | 'labelSmoothing' | 'reduction' | 'normalizer'>>

export const crossEntropyOp = defineOp('crossEntropy', {
  native,
  infer(logits: Tensor, targets: Tensor, classWeight: Tensor | undefined, options: Checked): CrossEntropyArgs {
    const { id } = schema.crossEntropy
    const statistic = (shape: readonly number[]) => allocate(logits.device, shape, 'f32', id)
    return {
      logits,
      targets,
      classWeight,
      loss: statistic(options.reduction === 'none' ? targets.shape : []),
      logSumExp: statistic([...targets.shape, 2]),
      total: statistic([1]),
      ignoreIndex: options.ignoreIndex,
      reduction: reductions[options.reduction],
      labelSmoothing: options.labelSmoothing,
      normalizer: options.normalizer,
    }
  },
  result: args => args.loss,
  differentiable: ['loss'],
  saves: ['logits', 'targets', 'classWeight', 'logSumExp', 'total'],
  backward({ saved: { logits, targets, classWeight, logSumExp, total, ignoreIndex, reduction, labelSmoothing }, gradient }) {
    const dloss = rawCast(gradient.loss as Tensor, 'f32')
    const dlogits = allocate(logits.device, logits.shape, logits.dtype, schema.crossEntropyBackward.id)
    crossEntropyBackward({ dloss, logits, targets, classWeight, logSumExp, total, dlogits, ignoreIndex, reduction, labelSmoothing })
    return { logits: dlogits }
  },
  reference(F, { logits, targets, classWeight, ignoreIndex, reduction, labelSmoothing, normalizer }) {
    const classes = F.shape(logits).at(-1) as number
    const target = F.values(targets)
    const weight = classWeight === undefined ? new Float64Array(classes).fill(1) : F.values(classWeight)
    const labels = new Float64Array(target.length * classes) // [N, V]
    let total = 0
    for (const [row, own] of target.entries()) {
      if (own === ignoreIndex) continue
      total += weight[own] as number
      for (const [index, w] of weight.entries())
        labels[row * classes + index] = (labelSmoothing / classes + (index === own ? 1 - labelSmoothing : 0)) * w
    }
    const x = F.reshape(logits, [target.length, classes])
    const top = F.max(x, [1])
    const shifted = F.sub(x, F.constant(F.values(top), F.shape(top)))
    const logProbability = F.sub(shifted, F.log(F.sum(F.exp(shifted), [1])))
    const share = F.constant(labels, [target.length, classes])
    // What no label wants may be impossible: 0 · -inf is 0 here.
    const losses = F.neg(F.sum(F.where(share, F.mul(logProbability, share), 0), [1])) // [N, 1]
    if (reduction === reductions.none) return { loss: F.reshape(losses, F.shape(targets)) }
    const divisor = reduction === reductions.sum ? 1 : normalizer > 0 ? normalizer : total
    return { loss: divisor === 0 ? F.full([], 0) : F.div(F.reshape(F.sum(losses, [0]), []), divisor) }
  },
})

/**
 * -Σ label · log softmax(logits) over the last dimension: cross entropy as PyTorch 2.13 defines it, class weights and label smoothing together included.
 * In f32, fused: the probabilities are never stored. A mean over no targets is 0 with gradient 0 (PyTorch gives NaN). A class with logit -inf has probability
 * 0; where every class has, the loss is +inf and the gradient 0.
 *
 * @param logits [..., V], float
 * @param targets [...], i32: classes from 0 to V - 1 or `ignoreIndex`. Any other value makes the op fail on the device: reading what depends on it throws
 *   ArgumentError, which names the row and the value.
 * @returns f32 [], with reduction `none` f32 [...]
 * @throws ArgumentError if a shape, dtype or option does not fit
 */
export function crossEntropy<S extends Shape, T extends Shape>(
  logits: Tensor<S>,
  targets: Shaped<T, Leading<S>>,
  options: CrossEntropyOptions & { reduction: 'none' },
): Tensor<Leading<S>, 'f32'>
export function crossEntropy<S extends Shape, T extends Shape>(
  logits: Tensor<S>,
  targets: Shaped<T, Leading<S>>,
  options?: CrossEntropyOptions & { reduction?: 'mean' | 'sum' },
): Tensor<readonly [], 'f32'>
export function crossEntropy<S extends Shape, T extends Shape>(
  logits: Tensor<S>,
  targets: Shaped<T, Leading<S>>,
  options?: CrossEntropyOptions,
): Tensor<Shape, 'f32'>
export function crossEntropy(logits: Tensor, targets: Tensor, options: CrossEntropyOptions = {}): Tensor<Shape, 'f32'> {
  const { ignoreIndex = -100, labelSmoothing = 0, reduction = 'mean', classWeight, normalizer } = options
  const op = 'crossEntropy'
  expectTensor(op, 'logits', logits)
  expectFloat(op, 'logits', logits)
  if (logits.rank === 0) throw new ArgumentError('[crossEntropy] logits must have at least one dimension, has none')
  expectTensor(op, 'targets', targets)
  expectDType(op, 'targets', targets, 'i32')
  expectShape(op, 'targets', targets, logits.shape.slice(0, -1))
  if (classWeight !== undefined) {
    expectTensor(op, 'classWeight', classWeight)
    expectFloat(op, 'classWeight', classWeight)
    expectShape(op, 'classWeight', classWeight, logits.shape.slice(-1))
    if (classWeight.requiresGrad) throw new ArgumentError('[crossEntropy] classWeight must not require a gradient: it has none')
  }
  if ((ignoreIndex | 0) !== ignoreIndex) throw new ArgumentError(`[crossEntropy] ignoreIndex must be a 32-bit integer, is ${ignoreIndex}`)
  expectRange(op, 'labelSmoothing', labelSmoothing, 0, 1)
  if (!Object.hasOwn(reductions, reduction))
    throw new ArgumentError(`[crossEntropy] reduction must be none, mean or sum, is ${String(reduction)}`)
  if (normalizer !== undefined) {
    if (reduction !== 'mean')
      throw new ArgumentError(`[crossEntropy] normalizer must be left out with reduction ${reduction}, is ${normalizer}`)
    if (!(normalizer > 0 && Number.isFinite(normalizer)))
      throw new ArgumentError(`[crossEntropy] normalizer must be a positive number, is ${normalizer}`)
  }
  const weight = classWeight && contiguous(cast(classWeight, 'f32'))
  return crossEntropyOp(contiguous(logits), contiguous(targets), weight, {
    ignoreIndex,
    labelSmoothing,
    reduction,
    normalizer: normalizer ?? 0,
  }) as Tensor<Shape, 'f32'>
}
