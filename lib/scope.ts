/**
 * Who owns what is made, and whether gradients are recorded. Both follow asynchronous calls (AsyncLocalStorage), so two requests of one
 * server never free each other's tensors.
 */
import { AsyncLocalStorage } from 'node:async_hooks'

/** What a scope frees. It registers itself with the scope that it is made in. */
export abstract class Owned {
  constructor() {
    ambient().owned?.add(this)
  }
  abstract dispose(): void
}

export interface Ambient {
  /** Where new tensors are registered; none: they live until disposed. */
  readonly owned: Set<Owned> | undefined
  readonly recordsGradients: boolean
}

const outermost: Ambient = { owned: undefined, recordsGradients: true }
const storage = new AsyncLocalStorage<Ambient>()

export function ambient(): Ambient {
  return storage.getStore() ?? outermost
}

/** Runs `body` with other surroundings; used by backward passes and by what must outlive the caller's scope. */
export function withAmbient<T>(surroundings: Ambient, body: () => T): T {
  return storage.run(surroundings, body)
}

/**
 * Frees every tensor made inside, except those that `body` returns (found in arrays, plain objects, maps and sets): these go to the enclosing
 * scope. With an async body, `await scope(async () => …)`. Parameters, their gradients and optimizer state are never owned by a scope.
 * Freeing never waits for the garbage collector.
 */
export function scope<T>(body: () => T): T {
  const parent = ambient()
  const owned = new Set<Owned>()
  const finish = (result: unknown, failed: boolean) => {
    if (!failed) for (const kept of ownedIn(result)) if (owned.delete(kept)) parent.owned?.add(kept)
    for (const left of owned) left.dispose()
    owned.clear()
  }
  let result: T
  try {
    result = storage.run({ owned, recordsGradients: parent.recordsGradients }, body)
  } catch (error) {
    finish(undefined, true)
    throw error
  }
  if (result instanceof Promise) {
    return result.then(
      value => {
        finish(value, false)
        return value
      },
      error => {
        finish(undefined, true)
        throw error
      },
    ) as T
  }
  finish(result, false)
  return result
}

/** Runs `body` without recording for gradients; async bodies too. */
export function noGrad<T>(body: () => T): T {
  return storage.run({ owned: ambient().owned, recordsGradients: false }, body)
}

/** Tensors made in `body` belong to no scope: for parameters, caches and other state that outlives a step. */
export function persistent<T>(body: () => T): T {
  return storage.run({ owned: undefined, recordsGradients: ambient().recordsGradients }, body)
}

/** Takes `tensor` out of the current scope, so that it lives until it is disposed. */
export function keep<T extends Owned>(tensor: T): T {
  ambient().owned?.delete(tensor)
  return tensor
}

function* ownedIn(value: unknown, seen = new Set<unknown>()): Generator<Owned> {
  if (value instanceof Owned) {
    yield value
    return
  }
  if (value === null || typeof value !== 'object' || seen.has(value) || ArrayBuffer.isView(value)) return
  seen.add(value)
  if (value instanceof Map) {
    for (const entry of value.values()) yield* ownedIn(entry, seen)
  } else if (value instanceof Set || Array.isArray(value)) {
    for (const entry of value) yield* ownedIn(entry, seen)
  } else {
    for (const entry of Object.values(value)) yield* ownedIn(entry, seen)
  }
}
