/**
 * How many bytes of global memory a lane has asked for and not got yet, from its kernel's machine code: what hides memory's latency is that times the
 * lanes. A load is under way until an instruction reads one of its registers, an asynchronous copy until the wait for its group.
 */
import type { Instruction, SassFunction } from './sass.ts'
import { loopsOf } from './sass.ts'

/** The most that are under way at once. */
export interface Underway {
  readonly bytes: number
  readonly accesses: number
}

interface Load {
  readonly bytes: number
  /** Its registers: [first, end). */
  readonly registers: readonly [number, number]
}
interface Copy {
  readonly bytes: number
  /** Of its instruction. */
  readonly address: number
  /** Groups that were closed since, its own among them; 0 while that is open. */
  readonly closed: number
}
type Pending = readonly (Load | Copy)[]

const isLoad = (access: Load | Copy): access is Load => 'registers' in access
const bytesOf = (pending: Pending) => pending.reduce((sum, { bytes }) => sum + bytes, 0)

/** Of one instruction: a loop that asks for copies and leaves the wait to what follows would ask for ever. */
const MOST_COPIES = 8
const LOADS = /^(LDG|LD)$/
/** Opcodes without a register for a result. */
const RESULTLESS = /^(STG?|STS|STL|STSM|RED|REDG|LDGSTS|BRA|BRX|CALL|RET|EXIT|BAR|WARPSYNC|R2P|R2UR|DEPBAR|LDGDEPBAR|NANOSLEEP)$/

/** Bytes of a lane's access, as its modifiers say. */
function widthOf({ modifiers }: Instruction): number {
  const width = /\.(128|64|[US]16|[US]8)(?=\.|$)/.exec(modifiers)?.[1]
  return width === undefined ? 4 : Number(width.replace(/\D/g, '')) / 8
}

/** Bytes that it asks global memory for. */
const askedBy = (instruction: Instruction) => (LOADS.test(instruction.opcode) || instruction.opcode === 'LDGSTS' ? widthOf(instruction) : 0)

const registersOf = (operand: string): number[] => [...operand.matchAll(/\bR(\d+)/g)].map(match => Number(match[1]))

/** Registers that it reads, and those that it writes, as far as its text tells: as ranges [first, end). */
export function registers(instruction: Instruction): { reads: [number, number][]; writes: [number, number][] } {
  const { opcode, modifiers, operands } = instruction
  const reads: [number, number][] = []
  const writes: [number, number][] = []
  const all = operands.split(/,\s*/)
  // A result is the first operand; some have a predicate before it: SHFL and atomics a result of their own, comparisons nothing else.
  const result = RESULTLESS.test(opcode) ? -1 : /^!?U?P(\d+|T)$/.test(all[0] ?? '') ? (/^(SHFL|ATOM\w*)$/.test(opcode) ? 1 : -1) : 0
  // Elements of 64 bits, and matrices, are several registers without a word of it at the register.
  const double = /^D(ADD|MUL|FMA|SETP|MNMX)$/.test(opcode)
  const stored = /^(STG?|STS|STL)$/.test(opcode) ? widthOf(instruction) / 4 : 1
  for (const [i, operand] of all.entries()) {
    const address = operand.includes('[')
    for (const first of registersOf(operand)) {
      if (i === result && !address) {
        const count = LOADS.test(opcode) || opcode === 'LDS' ? widthOf(instruction) / 4 : double || /\.WIDE/.test(modifiers) ? 2 : 1
        writes.push([first, first + Math.max(1, count)])
        continue
      }
      let count = 1
      if (/\.64/.test(operand) || double || (opcode === 'F2F' && /\.F64$/.test(modifiers)) || (/\.WIDE/.test(modifiers) && i === 3))
        count = 2
      if (!address && stored > 1) count = stored
      if (/^[HI]MMA$/.test(opcode)) count = i === 2 ? 2 : 4
      reads.push([first, first + count])
    }
  }
  return { reads, writes }
}

const overlap = (a: readonly [number, number], b: readonly [number, number]) => a[0] < b[1] && b[0] < a[1]

/** What is under way behind an instruction. What was asked for before something that has come has come too. */
function after(pending: Pending, instruction: Instruction): Pending {
  const { opcode, operands } = instruction
  if (opcode === 'LDGDEPBAR') return pending.map(access => (isLoad(access) ? access : { ...access, closed: access.closed + 1 }))
  if (opcode === 'DEPBAR') {
    const allowed = Number(/0x[0-9a-f]+/.exec(operands)?.[0] ?? 0)
    return pending.filter(access => isLoad(access) || access.closed <= allowed)
  }
  const { reads, writes } = registers(instruction)
  const needed = [...reads, ...writes]
  const last = pending.findLastIndex(access => isLoad(access) && needed.some(range => overlap(range, access.registers)))
  const left = pending.filter((access, i) => i > last || !isLoad(access))
  if (LOADS.test(opcode)) {
    const [to] = writes
    return to === undefined ? left : [...left, { bytes: widthOf(instruction), registers: to }]
  }
  if (opcode !== 'LDGSTS' || pending.filter(access => !isLoad(access) && access.address === instruction.address).length >= MOST_COPIES)
    return left
  return [...left, { bytes: widthOf(instruction), address: instruction.address, closed: 0 }]
}

const ENDS = /^(EXIT|RET|BRX|JMX|KILL)$/

/** Where control goes behind each instruction, as indices. A call comes back; an indirect branch may go wherever nothing else does. */
function successors(instructions: readonly Instruction[]): number[][] {
  const at = new Map(instructions.map(({ address }, i) => [address, i]))
  const meeting = new Map<string, number>()
  const to = instructions.map((instruction, i) => {
    const { opcode, guard, operands, modifiers, target } = instruction
    const next = i + 1 < instructions.length ? [i + 1] : []
    const barrier = /\bB\d+/.exec(operands)?.[0] ?? ''
    if (opcode === 'BSSY') meeting.set(barrier, Number.parseInt(/0x([0-9a-f]+)/.exec(operands)?.[1] ?? '', 16))
    if (opcode === 'BSYNC') {
      const met = at.get(meeting.get(barrier) ?? -1)
      return met === undefined ? next : [met]
    }
    const always = guard === '' && !/\.(DIV|CONV)/.test(modifiers)
    if (opcode === 'BRA') {
      const there = target === undefined ? undefined : at.get(target)
      const conditional = !always || /\b~?!?U?(P|R)(\d|Z|T)/.test(operands)
      return [...(conditional ? next : []), ...(there === undefined ? [] : [there])]
    }
    return ENDS.test(opcode) && always ? [] : next
  })
  if (instructions.some(({ opcode }) => /^(BRX|JMX)$/.test(opcode))) {
    const reached = new Set(to.flat())
    const called = new Set(
      instructions.flatMap(({ opcode, operands }) => (opcode === 'CALL' ? [Number(/0x[0-9a-f]+/.exec(operands)?.[0])] : [])),
    )
    const orphans = instructions.flatMap(({ address }, i) => (i > 0 && !reached.has(i) && !called.has(address) ? [i] : []))
    for (const [i, { opcode }] of instructions.entries()) if (/^(BRX|JMX)$/.test(opcode)) to[i] = [...(to[i] as number[]), ...orphans]
  }
  return to
}

/**
 * The most that is under way at each instruction, over all paths from the first one: what a pass of a loop asks for on behalf of the next one is
 * still under way there. Branches are taken to be independent of each other. Where paths meet, the one with more under way goes on.
 */
function walk(instructions: readonly Instruction[]): Underway[] {
  const to = successors(instructions)
  const most: Underway[] = instructions.map(() => ({ bytes: 0, accesses: 0 }))
  const seen = instructions.map(() => -1)
  const paths: { from: number; pending: Pending }[] = [{ from: 0, pending: [] }]
  for (let path = paths.pop(); path !== undefined; path = paths.pop()) {
    let i: number | undefined = path.from
    let { pending } = path
    while (i !== undefined) {
      const bytes = bytesOf(pending)
      if (bytes <= (seen[i] as number)) break
      seen[i] = bytes
      pending = after(pending, instructions[i] as Instruction)
      const now = { bytes: bytesOf(pending), accesses: pending.length }
      if (now.bytes > (most[i] as Underway).bytes) most[i] = now
      const [first, ...others]: number[] = to[i] as number[]
      for (const other of others) paths.push({ from: other, pending })
      i = first
    }
  }
  return most
}

/** The loop that asks for the most, not counting what loops inside of it do. */
function asking(loops: readonly Instruction[][]): Instruction[] | undefined {
  const own = (loop: Instruction[]) => {
    const inner = loops.filter(
      other => other.length < loop.length && loop.includes(other[0] as Instruction) && loop.includes(other.at(-1) as Instruction),
    )
    return loop.filter(each => !inner.some(other => other.includes(each))).reduce((sum, each) => sum + askedBy(each), 0)
  }
  const ranked = loops.map(loop => ({ loop, bytes: own(loop) })).sort((a, b) => b.bytes - a.bytes || a.loop.length - b.loop.length)
  return ranked[0] && ranked[0].bytes > 0 ? ranked[0].loop : undefined
}

/**
 * What a lane has under way: in the loop that asks for the most, unless the accesses outside of all loops are wider, as where a loop serves what is left
 * over; there and without such a loop, in the whole code.
 */
export function underway({ instructions }: SassFunction): Underway & { readonly inLoop: boolean } {
  const most = walk(instructions)
  const loops = loopsOf({ mangled: '', arch: '', instructions })
  const loop = asking(loops)
  const looped = new Set(loops.flat())
  const widest = (each: readonly Instruction[]) => each.reduce((width, instruction) => Math.max(width, askedBy(instruction)), 0)
  const inLoop = loop !== undefined && widest(loop) >= widest(instructions.filter(each => !looped.has(each)))
  const region = new Set(inLoop ? loop : instructions)
  const largest = most.filter((_, i) => region.has(instructions[i] as Instruction)).reduce((a, b) => (b.bytes > a.bytes ? b : a))
  return { ...largest, inLoop }
}
