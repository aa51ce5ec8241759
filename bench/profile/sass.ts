/** Reads `cuobjdump -sass`: how many instructions of which kind a kernel has, and its innermost loops. */

/** Kinds that tell what a kernel spends its time on; the order is that of the page. */
const KINDS: readonly (readonly [kind: string, opcode: RegExp])[] = [
  ['matrix', /^(HMMA|IMMA|DMMA|HGMMA|IGMMA)$/],
  ['LDSM', /^LDSM$/],
  ['STSM', /^STSM$/],
  ['LDS', /^LDS$/],
  ['STS', /^STS$/],
  ['LDGSTS', /^(LDGSTS|UBLKCP|UTMALDG)$/],
  ['LDG', /^(LDG|LD)$/],
  ['STG', /^(STG|ST)$/],
  ['local', /^(LDL|STL)$/],
  ['atomic', /^(ATOM|ATOMG|ATOMS|RED|REDG)$/],
  ['fp32', /^(FFMA|FADD|FMUL|FSETP|FMNMX|FSEL|FSET|FADD32I|FMUL32I|FFMA32I|FCHK)$/],
  ['fp16', /^(HFMA2|HADD2|HMUL2|HSETP2|HMNMX2|HSET2)$/],
  ['MUFU', /^MUFU$/],
  ['convert', /^(F2F|F2FP|F2I|I2F|I2FP|F2IP|FRND)$/],
  ['integer', /^(IMAD|IADD3|IADD|LEA|LOP3|ISETP|SHF|SEL|PRMT|IMNMX|VIADD|IABS|POPC|FLO|PLOP3|VIMNMX)$/],
  ['SHFL', /^SHFL$/],
  ['BAR', /^(BAR|WARPSYNC|DEPBAR|LDGDEPBAR|SYNCS)$/],
  ['branch', /^(BRA|BRX|CALL|RET|EXIT|BSSY|BSYNC|BREAK)$/],
]
export type Mix = Record<string, number>

export interface Instruction {
  readonly address: number
  readonly opcode: string
  /** `.16816.F32.BF16` */
  readonly modifiers: string
  /** The predicate that it hangs on, `@!P0`; empty: none. */
  readonly guard: string
  /** `R4, desc[UR4][R2.64+0x10]` */
  readonly operands: string
  /** Where a branch goes. */
  readonly target: number | undefined
}

export interface SassFunction {
  readonly mangled: string
  readonly arch: string
  readonly instructions: readonly Instruction[]
}

export const kindOf = (opcode: string) => KINDS.find(([, pattern]) => pattern.test(opcode))?.[0] ?? 'other'

/** The functions of a listing, each for one architecture. */
export function parseSass(text: string): SassFunction[] {
  const functions: { mangled: string; arch: string; instructions: Instruction[] }[] = []
  let arch = ''
  for (const line of text.split('\n')) {
    const code = /code for (sm_\w+)|^\s*arch = (sm_\w+)/.exec(line)
    if (code) arch = (code[1] ?? code[2]) as string
    const name = /^\s*Function : (\S+)/.exec(line)?.[1]
    if (name !== undefined) functions.push({ mangled: name, arch, instructions: [] })
    const found = /^\s*\/\*([0-9a-f]{4,})\*\/\s+(?:(@!?U?P\w+)\s+)?([A-Z][A-Z0-9]*)([.\w]*)\s*([^;]*);/.exec(line)
    if (!found || functions.length === 0) continue
    const [, address, guard = '', opcode, modifiers, operands] = found as unknown as [string, string, string?, ...[string, string, string]]
    const target = opcode === 'BRA' ? /0x([0-9a-f]+)\s*$/.exec(operands.trim())?.[1] : undefined
    functions.at(-1)?.instructions.push({
      address: Number.parseInt(address, 16),
      opcode,
      modifiers,
      guard,
      operands: operands.trim(),
      target: target === undefined ? undefined : Number.parseInt(target, 16),
    })
  }
  return functions
}

export function mixOf(instructions: readonly Instruction[]): Mix {
  const mix: Mix = {}
  for (const { opcode } of instructions) {
    const kind = kindOf(opcode)
    mix[kind] = (mix[kind] ?? 0) + 1
  }
  return mix
}

/** Whether its matrix instructions take tf32. */
export const takesTf32 = ({ instructions }: SassFunction) =>
  instructions.some(({ opcode, modifiers }) => kindOf(opcode) === 'matrix' && modifiers.includes('.TF32'))

/** The loops: what lies between a backward branch and its target. A branch to itself, which stands at a function's end, is none. */
export function loopsOf({ instructions }: SassFunction): Instruction[][] {
  return instructions.flatMap(({ address, target }) =>
    target !== undefined && target < address ? [instructions.filter(each => each.address >= target && each.address <= address)] : [],
  )
}

/**
 * The loop that a kernel lives in, as far as the text tells: the one with the most matrix instructions, without them the innermost with the most
 * accesses of memory. The shortest of equals: the loop inside, not the one around it.
 */
export function mainLoop(loops: readonly Instruction[][]): Instruction[] | undefined {
  const start = (loop: readonly Instruction[]) => (loop[0] as Instruction).address
  const end = (loop: readonly Instruction[]) => (loop.at(-1) as Instruction).address
  const holds = (a: readonly Instruction[], b: readonly Instruction[]) => b.length < a.length && start(b) >= start(a) && end(b) <= end(a)
  const matrix = (loop: readonly Instruction[]) => mixOf(loop).matrix ?? 0
  const most = Math.max(0, ...loops.map(matrix))
  const candidates = most > 0 ? loops.filter(loop => matrix(loop) === most) : loops.filter(loop => !loops.some(other => holds(loop, other)))
  const memory = (loop: readonly Instruction[]) => {
    const mix = mixOf(loop)
    return ['LDG', 'LDGSTS', 'STG', 'LDS', 'LDSM', 'STS'].reduce((sum, kind) => sum + (mix[kind] ?? 0), 0)
  }
  return [...candidates].sort((a, b) => (most > 0 ? 0 : memory(b) - memory(a)) || a.length - b.length)[0]
}
