/**
 * What compute-sanitizer watches: `tsx test/gpu/sanitized.ts cuda 60` runs cases for about that many seconds, of every op the first, then of every
 * op the second, and so on. Every tensor is an allocation of its own: inside of the engine's cached blocks a checker would see no end.
 */
import { type DeviceKind, device } from '../../lib/index.ts'
import { type Program, programs } from '../mutation/programs.ts'

const [kind, seconds] = [process.argv[2] as DeviceKind, Number(process.argv[3])]
const on = device(kind, kind === 'cuda' ? { exactAllocations: true } : {})

const byOp = new Map<string, Program[]>()
for (const program of await programs()) {
  const op = program.name.split(' · ')[0] as string
  byOp.set(op, [...(byOp.get(op) ?? []), program])
}
const rounds = Math.max(...[...byOp.values()].map(list => list.length))
const order = Array.from({ length: rounds }, (_, i) => [...byOp.values()].flatMap(list => list[i] ?? [])).flat()

const end = performance.now() + 1000 * seconds
let ran = 0
for (const program of order) {
  if (performance.now() > end) break
  await program.run(on)
  ran++
}
await on.synchronize()
console.log(`sanitized: ${ran} of ${order.length} programs`)
