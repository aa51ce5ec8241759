/**
 * The tape. Each op that a gradient flows through leaves a node: who its inputs were, what it saved, how to go back. Nodes count the live
 * tensors and nodes that reach them, so a graph that nobody can call backward on any more gives its memory back at once; after backward the
 * saved tensors are freed as soon as they have been used.
 */
import { ArgumentError, DisposedError } from '../errors.ts'
import { accumulate as accumulateInto, binary, copy, fill } from '../native.generated.ts'
import { ambient, type Owned, persistent, withAmbient } from '../scope.ts'
import { allocate, assertLive, type GradientNode, type SlotHandle, type Tensor } from '../tensor.ts'

/** Gradients for a node's inputs, in their order; undefined where none flows or the node has accumulated it itself. */
export type InputGradients = readonly (Tensor | undefined)[]

let nextSequence = 0

export class TapeNode implements GradientNode {
  readonly sequence = nextSequence++
  /** One gradient an output, filled while backward runs. */
  gradients: (Tensor | undefined)[] = []
  #references = 0
  #saved: readonly SlotHandle[]
  #state: 'recorded' | 'used' | 'freed' = 'recorded'

  constructor(
    readonly name: string,
    /** Tensors that may receive a gradient, and undefined for those that need none. */
    readonly inputs: readonly (Tensor | undefined)[],
    /** Kept until backward has read them. */
    saved: readonly SlotHandle[],
    readonly backward: (gradients: readonly (Tensor | undefined)[]) => InputGradients,
  ) {
    this.#saved = saved
    for (const handle of saved) handle.retain()
    for (const input of inputs) input?.node?.retain()
  }

  get state(): 'recorded' | 'used' | 'freed' {
    return this.#state
  }
  retain(): void {
    this.#references++
  }
  release(): void {
    // A loop, not recursion: graphs are as deep as a decoder's steps are many.
    const ends: TapeNode[] = [this]
    for (let node = ends.pop(); node; node = ends.pop()) {
      if (--node.#references > 0) continue
      node.free('freed')
      for (const input of node.inputs) if (input?.node) ends.push(input.node as TapeNode)
    }
  }
  free(state: 'used' | 'freed'): void {
    if (this.#state === 'recorded') this.#state = state
    for (const handle of this.#saved) handle.release()
    this.#saved = []
  }
}

/** Marks `outputs` as made by a node. */
export function attach(node: TapeNode, outputs: readonly Tensor[]): void {
  for (let index = 0; index < outputs.length; index++) {
    const output = outputs[index] as Tensor
    output.requiresGrad = true
    output.node = node
    output.outputIndex = index
    node.retain()
  }
}

/** Whether an op on `inputs` is to be recorded now. */
export function recording(inputs: readonly (Tensor | undefined)[]): boolean {
  for (const input of inputs) if (input?.requiresGrad) return ambient().recordsGradients
  return false
}

/** The f32 tensor that a leaf's gradient is added into; zero when first asked for. */
export function gradientOf(leaf: Tensor): Tensor {
  if (leaf.grad === undefined) {
    const grad = persistent(() => allocate(leaf.device, leaf.shape, 'f32'))
    fill({ y: grad, value: 0 })
    leaf.grad = grad
  }
  return leaf.grad
}

/** Sets the gradient of a leaf to zero, if it has one. One that a failed op has left incomplete, or without memory, is whole again. */
export function clearGradient({ grad }: Tensor): void {
  if (grad === undefined) return
  grad.device.commands.restore(grad.handle.index)
  fill({ y: grad, value: 0 })
}

/** Graph order: a node comes after everything that its output went into. */
function backwardOrder(root: TapeNode): TapeNode[] {
  const seen = new Set<TapeNode>([root])
  const open = [root]
  for (let node = open.pop(); node; node = open.pop()) {
    for (const input of node.inputs) {
      const producer = input?.node as TapeNode | undefined
      if (producer && !seen.has(producer)) {
        seen.add(producer)
        open.push(producer)
      }
    }
  }
  return [...seen].sort((a, b) => b.sequence - a.sequence)
}

/** One backward pass: gradients on their way, and who may free them. */
class BackwardPass {
  /** What the pass made itself and has not freed. */
  readonly #made = new Set<Owned>()
  /** In how many places a gradient waits: an op may hand one tensor to several inputs. */
  readonly #waiting = new Map<Tensor, number>()
  /** Sums made here wait in one place only, so a third gradient is added in place. */
  readonly #sums = new Set<Tensor>()

  run(root: Tensor, gradient: Tensor | undefined): void {
    const order = root.node === undefined ? [] : backwardOrder(root.node as TapeNode)
    for (const node of order) {
      if (node.state !== 'recorded')
        throw new DisposedError(`[backward] the graph of ${node.name} has been used by an earlier backward: run the forward again`)
    }
    try {
      withAmbient({ owned: this.#made, recordsGradients: false }, () => {
        this.#deliver(root, this.#start(root, gradient))
        this.#freeIdle()
      })
      for (const node of order) this.#step(node)
    } finally {
      for (const node of order) node.gradients = []
      for (const left of this.#made) left.dispose()
    }
  }

  #start(root: Tensor, gradient: Tensor | undefined): Tensor {
    if (gradient?.dtype === root.dtype && gradient.isContiguous) return gradient
    const start = allocate(root.device, root.shape, root.dtype)
    if (gradient === undefined) fill({ y: start, value: 1 })
    else copy({ x: gradient, y: start })
    return start
  }

  #step(node: TapeNode): void {
    const arrived = node.gradients
    if (arrived.some(gradient => gradient !== undefined)) {
      const fresh = new Set<Owned>()
      withAmbient({ owned: fresh, recordsGradients: false }, () => {
        const flowing = node.backward(arrived)
        for (const [index, input] of node.inputs.entries()) {
          const gradient = flowing[index]
          if (input && gradient) this.#deliver(input, gradient)
        }
      })
      for (const made of fresh) {
        if (this.#waiting.has(made as Tensor)) this.#made.add(made)
        else made.dispose()
      }
    }
    for (const gradient of arrived) if (gradient) this.#release(gradient)
    node.gradients = []
    node.free('used')
  }

  #deliver(input: Tensor, gradient: Tensor): void {
    if (input.node === undefined) {
      accumulateInto({ x: gradient, y: gradientOf(input) })
      return
    }
    let arriving = gradient
    if (arriving.dtype !== input.dtype) {
      arriving = allocate(input.device, input.shape, input.dtype)
      copy({ x: gradient, y: arriving })
    }
    const { gradients } = input.node as TapeNode
    const before = gradients[input.outputIndex]
    if (before === undefined) {
      gradients[input.outputIndex] = arriving
      this.#waiting.set(arriving, (this.#waiting.get(arriving) ?? 0) + 1)
    } else if (this.#sums.has(before)) {
      accumulateInto({ x: arriving, y: before })
    } else {
      const sum = allocate(before.device, before.shape, before.dtype)
      binary({ a: before, b: arriving, y: sum, kind: 0 })
      gradients[input.outputIndex] = sum
      this.#sums.add(sum)
      this.#waiting.set(sum, 1)
      this.#release(before)
    }
  }

  /** One place less waits for `gradient`; the last one frees it, if the pass made it. */
  #release(gradient: Tensor): void {
    const places = (this.#waiting.get(gradient) ?? 1) - 1
    if (places > 0) {
      this.#waiting.set(gradient, places)
      return
    }
    this.#waiting.delete(gradient)
    if (this.#made.delete(gradient)) gradient.dispose()
  }

  #freeIdle(): void {
    for (const made of this.#made) {
      if (this.#waiting.has(made as Tensor)) continue
      this.#made.delete(made)
      made.dispose()
    }
  }
}

/**
 * Adds d`root`/d`leaf` to the `grad` of every leaf that requires one. `gradient` defaults to 1 and must be given unless `root` has one element.
 * A graph serves one backward. Throws ArgumentError if `root` requires no gradient or `gradient` has another shape, DisposedError if the graph
 * was used before.
 */
export function backward(root: Tensor, gradient?: Tensor): void {
  assertLive(root, 'backward')
  if (!root.requiresGrad) throw new ArgumentError('[backward] the tensor requires no gradient: nothing that it depends on does')
  if (gradient === undefined && root.size !== 1)
    throw new ArgumentError(
      `[backward] gradient must be given for a tensor of shape [${root.shape.join(', ')}]: only one element has a default`,
    )
  if (gradient && (gradient.shape.length !== root.shape.length || gradient.shape.some((dimension, i) => dimension !== root.shape[i])))
    throw new ArgumentError(`[backward] gradient must be [${root.shape.join(', ')}], is [${gradient.shape.join(', ')}]`)
  new BackwardPass().run(root, gradient)
}
