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
  #saved: SlotHandle[]
  #state: 'recorded' | 'used' | 'freed' = 'recorded'

  constructor(
    readonly name: string,
    /** Tensors that may receive a gradient, and undefined for those that need none. */
    readonly inputs: readonly (Tensor | undefined)[],
    saved: readonly Tensor[],
    readonly backward: (gradients: readonly (Tensor | undefined)[]) => InputGradients,
  ) {
    this.#saved = saved.map(tensor => tensor.handle)
    for (const handle of this.#saved) handle.retain()
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
  for (const [index, output] of outputs.entries()) {
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

/** Sums made here are nobody else's, so a third gradient is added in place; a first one may be on its way to other inputs too. */
const sums = new WeakSet<Tensor>()

function add(into: Tensor, gradient: Tensor): Tensor {
  if (sums.has(into)) {
    accumulateInto({ x: gradient, y: into })
    return into
  }
  const sum = allocate(into.device, into.shape, into.dtype)
  binary({ a: into, b: gradient, y: sum, kind: 0 })
  sums.add(sum)
  return sum
}

function deliver(input: Tensor, gradient: Tensor): void {
  if (input.node === undefined) {
    accumulateInto({ x: gradient, y: gradientOf(input) })
    return
  }
  let arriving = gradient
  if (arriving.dtype !== input.dtype) {
    arriving = allocate(input.device, input.shape, input.dtype)
    copy({ x: gradient, y: arriving })
  }
  const node = input.node as TapeNode
  const before = node.gradients[input.outputIndex]
  node.gradients[input.outputIndex] = before === undefined ? arriving : add(before, arriving)
}

/**
 * Adds d`root`/d`leaf` to the `grad` of every leaf that requires one. `gradient` defaults to 1 and must be given unless `root` has one element.
 * A graph serves one backward. Throws ArgumentError if `root` requires no gradient or `gradient` has another shape.
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
  const owned = new Set<Owned>()
  withAmbient({ owned, recordsGradients: false }, () => {
    let start = gradient
    if (start === undefined) {
      start = allocate(root.device, root.shape, root.dtype)
      fill({ y: start, value: 1 })
    } else if (start.dtype !== root.dtype || !start.isContiguous) {
      const converted = allocate(root.device, root.shape, root.dtype)
      copy({ x: start, y: converted })
      start = converted
    }
    if (root.node === undefined) {
      deliver(root, start)
      return
    }
    const order = backwardOrder(root.node as TapeNode)
    for (const node of order) {
      if (node.state !== 'recorded')
        throw new DisposedError(`[backward] the graph of ${node.name} has been used by an earlier backward: run the forward again`)
    }
    deliver(root, start)
    for (const node of order) {
      if (node.gradients.some(gradient => gradient !== undefined)) {
        const gradients = node.backward(node.gradients)
        for (const [index, input] of node.inputs.entries()) {
          const flowing = gradients[index]
          if (input && flowing) deliver(input, flowing)
        }
      }
      node.gradients = []
      node.free('used')
      disposeIdle(owned, order, gradient)
    }
  })
  for (const left of owned) left.dispose()
}

/** Frees what backward made and no node waits for any more. */
function disposeIdle(owned: Set<Owned>, order: readonly TapeNode[], kept: Tensor | undefined): void {
  const waiting = new Set<Owned>()
  if (kept) waiting.add(kept)
  for (const node of order) for (const gradient of node.gradients) if (gradient) waiting.add(gradient)
  for (const tensor of owned) {
    if (waiting.has(tensor)) continue
    tensor.dispose()
    owned.delete(tensor)
  }
}
