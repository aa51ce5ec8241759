/** Our weights in a file, so that PyTorch's side starts from the same. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Module, saveModule } from '../lib/nn/index.ts'

/** Saves the module's state dictionary; `remove` deletes the file. */
export async function shareWeights(module: Module): Promise<{ weights: string; remove(): void }> {
  const folder = mkdtempSync(join(tmpdir(), 'tilewise-bench-'))
  const weights = join(folder, 'weights.safetensors')
  await saveModule(module, weights)
  return { weights, remove: () => rmSync(folder, { recursive: true }) }
}

/** Throws unless two lists of figures agree, each to `tolerance` of its size. */
export function expectClose(
  what: string,
  ours: readonly number[] | undefined,
  theirs: readonly number[] | undefined,
  tolerance: number,
): void {
  const same =
    ours !== undefined &&
    ours.length === theirs?.length &&
    ours.every((x, i) => Math.abs(x - (theirs[i] as number)) <= tolerance * Math.abs(theirs[i] as number))
  if (!same) throw new Error(`the sides compute different things: ${what} is ${ours} here, ${theirs} there`)
}
