/** The arithmetic of `npm run profile`: occupancy, what bounds a kernel, and the listings that it reads. */
import { describe, expect, it } from 'vitest'
import { families } from '../../bench/gpu/families.ts'
import { type Demand, loopCosts, type Placement, rates, verdict } from '../../bench/profile/bounds.ts'
import { parseResources, parseSymbols } from '../../bench/profile/kernels.ts'
import { measuredBound, parseNcu } from '../../bench/profile/ncu.ts'
import { multiprocessors, occupancy } from '../../bench/profile/occupancy.ts'
import { largestLaunch } from '../../bench/profile/page.ts'
import { pick } from '../../bench/profile/rows.ts'
import { kindOf, loopsOf, mainLoop, mixOf, parseSass, type SassFunction, takesTf32 } from '../../bench/profile/sass.ts'
import { registers, underway } from '../../bench/profile/underway.ts'
import { parseNotes, simple } from '../../scripts/kernels.mjs'

describe('occupancy', () => {
  it.each([
    // threads, registers, shared → blocks, warps, limit
    ['sm_80', 256, 32, 0, 8, 64, 'warps'],
    ['sm_80', 32, 16, 0, 32, 32, 'blocks'],
    ['sm_80', 256, 64, 0, 4, 32, 'registers'],
    ['sm_80', 128, 255, 0, 2, 8, 'registers'],
    ['sm_80', 384, 168, 0, 1, 12, 'registers'],
    ['sm_80', 128, 32, 48 * 1024, 3, 12, 'shared memory'],
    ['sm_90', 128, 32, 48 * 1024, 4, 16, 'shared memory'],
    ['sm_90', 128, 32, 227 * 1024, 1, 4, 'shared memory'],
  ] as const)(
    '%s: %i threads of %i registers and %i bytes: %i blocks, %i warps, limited by %s',
    (arch, threads, registers, shared, blocks, warps, limit) => {
      expect(occupancy({ threads, registers, shared }, multiprocessors[arch])).toEqual({ blocks, warps, share: warps / 64, limit })
    },
  )
  it('is nothing where a block does not fit', () => {
    const { sm_80 } = multiprocessors
    expect(occupancy({ threads: 1024, registers: 128, shared: 0 }, sm_80)).toMatchObject({ blocks: 0, warps: 0 })
    expect(occupancy({ threads: 128, registers: 32, shared: 200 * 1024 }, sm_80)).toMatchObject({ blocks: 0, limit: 'shared memory' })
  })
})

describe('what bounds a kernel', () => {
  const gpu = rates.sm_90
  const nothing: Demand = { launches: 1, sectors: 0, distinctSectors: 0, wavefronts: 0, matrixInstructions: 0, tf32: false }
  const full: Placement = { warps: 64, blocks: 8, grid: 1e6, bytesOfLane: 32, activeLanes: 1 }
  const of = (demand: Partial<Demand>, placement: Partial<Placement> = {}) =>
    verdict({ ...nothing, ...demand }, { ...full, ...placement }, gpu)
  it('counts cycles of a multiprocessor', () => {
    // 132 multiprocessors: one wavefront, one matrix instruction (2048 multiply-adds) and 38.8 bytes of L2 a cycle.
    const { cycles } = of({ wavefronts: 132_000, matrixInstructions: 264_000, sectors: 132_000, distinctSectors: 66_000 })
    expect(cycles.shared).toBeCloseTo(1000)
    expect(cycles.matrix).toBeCloseTo(2000)
    expect(cycles.l2).toBeCloseTo((1000 * 32) / (5120 / 132))
    expect(cycles.memory).toBeCloseTo((500 * 32) / (4800e9 / 132 / 1.83e9))
    // Half the work, at half the rate.
    expect(of({ matrixInstructions: 264_000, tf32: true }).cycles.matrix).toBeCloseTo(2000)
  })
  it('takes the part with the most of them', () => {
    expect(of({ sectors: 1e9, distinctSectors: 1e9, wavefronts: 1e6 })).toMatchObject({ bound: 'memory traffic', notes: [] })
    expect(of({ sectors: 1e9, distinctSectors: 1e6 }).because).toMatch(/^L2 takes longest/)
    expect(of({ sectors: 1e6, distinctSectors: 1e6, wavefronts: 1e9, matrixInstructions: 1e8 }).bound).toBe('shared memory')
    expect(of({ sectors: 1e6, distinctSectors: 1e6, wavefronts: 1e8, matrixInstructions: 1e9 }).bound).toBe('matrix instructions')
  })
  it('says latency where too little is under way for memory, or sub-partitions are empty', () => {
    const memory = { sectors: 1e9, distinctSectors: 1e9 }
    expect(of(memory, { warps: 44 }).because).toMatch(
      /^44 warps × 32.0 lanes × 32 bytes are 44.0 KiB under way, memory needs 48.0 \(memory/,
    )
    expect(of(memory, { warps: 48 }).bound).toBe('memory traffic')
    expect(of(memory, { warps: 48, activeLanes: 0.75 }).because).toMatch(/^48 warps × 24.0 lanes × 32 bytes are 36.0 KiB under way/)
    expect(of(memory, { bytesOfLane: undefined }).because).toMatch(/not known without the machine code$/)
    // A copy has nothing to ask for where it only writes.
    expect(of(memory, { bytesOfLane: 0 }).bound).toBe('memory traffic')
    expect(of({ matrixInstructions: 1e9 }, { warps: 3 }).bound).toBe('latency and occupancy')
    expect(of({ matrixInstructions: 1e9 }, { warps: 4 }).bound).toBe('matrix instructions')
  })
  it('notes what only holds at the size that was counted', () => {
    expect(of({ sectors: 1000, distinctSectors: 1000 }, { grid: 6 }).notes).toEqual([
      expect.stringMatching(/^at this size the work of a launch is .* µs, and launching costs about 2 µs$/),
      'at this size 6 blocks do not fill the GPU, which holds 1056',
    ])
  })
  it('weighs a loop by the rates of its instructions', () => {
    const [first, second] = loopCosts({ matrix: 64, LDSM: 8, MUFU: 10, fp32: 100, integer: 50 }, false, gpu)
    expect(first).toEqual({ part: 'matrix', cycles: 64 })
    expect(second?.part).toBe('issue')
    expect(loopCosts({ MUFU: 64, fp32: 64 }, false, rates.sm_80)[0]).toEqual({ part: 'special functions', cycles: 128 })
  })
})

const listing = `
Fatbin elf code:
================
arch = sm_80
code version = [1,8]

	code for sm_80
		Function : _Z7productv
	.headerflags	@"EF_CUDA_64BIT_ADDRESS EF_CUDA_SM80"
        /*0000*/                   IMAD.MOV.U32 R1, RZ, RZ, c[0x0][0x28] ;                /* 0x00000a00ff017624 */
                                                                                          /* 0x000fe400078e00ff */
        /*0010*/                   LDG.E.128.CONSTANT R4, [R2.64] ;                       /* 0x0000000402047981 */
        /*0020*/                   LDGSTS.E.BYPASS.LTC128B.128 [R9], [R6.64] ;            /* 0x0000000006097fae */
        /*0030*/                   LDSM.16.M88.4 R8, [R12] ;                              /* 0x000000000c08783b */
        /*0040*/                   HMMA.1688.F32.TF32 R4, R8, R16, R4 ;                   /* 0x000000100804723c */
        /*0050*/              @!P0 BRA 0x30 ;                                             /* 0xffffff9000008947 */
        /*0060*/                   MUFU.EX2 R4, R4 ;                                      /* 0x0000000400047308 */
        /*0070*/               @P1 BRA 0x10 ;                                             /* 0xffffff9000008947 */
        /*0080*/                   LDG.E R5, [R2.64] ;                                    /* 0x0000000402047981 */
        /*0090*/               @P1 BRA 0x80 ;                                             /* 0xffffff9000008947 */
        /*00a0*/                   STG.E [R2.64], R4 ;                                    /* 0x0000000402007986 */
        /*00b0*/                   EXIT ;                                                 /* 0x000000000000794d */
        /*00c0*/                   BRA 0xc0;                                              /* 0xfffffff000007947 */
		..........

Fatbin elf code:
================
arch = sm_90a

	code for sm_90a
		Function : _Z7productv
        /*0000*/                   LDC R1, c[0x0][0x28] ;                                 /* 0x00000a00ff017b82 */
        /*0010*/                   @P0 EXIT ;                                             /* 0x000000000000794d */
`

describe('machine code', () => {
  const [first, second] = parseSass(listing)
  it('is read by function and architecture', () => {
    expect([first, second].map(each => [each?.mangled, each?.arch, each?.instructions.length])).toEqual([
      ['_Z7productv', 'sm_80', 13],
      ['_Z7productv', 'sm_90a', 2],
    ])
    expect(mixOf(first!.instructions)).toEqual({ integer: 1, LDG: 2, LDGSTS: 1, LDSM: 1, matrix: 1, branch: 5, MUFU: 1, STG: 1 })
    expect([takesTf32(first!), takesTf32(second!)]).toEqual([true, false])
    expect([kindOf('UTMALDG'), kindOf('NOP')]).toEqual(['LDGSTS', 'other'])
  })
  it('has loops, of which the one with the matrix instructions is the main one, inside of the one around it', () => {
    const loops = loopsOf(first!)
    expect(loops.map(loop => loop.map(({ opcode }) => opcode).join(' '))).toEqual([
      'LDSM HMMA BRA',
      'LDG LDGSTS LDSM HMMA BRA MUFU BRA',
      'LDG BRA',
    ])
    expect(mainLoop(loops)).toBe(loops[0])
    expect(mainLoop(loops.slice(2))).toBe(loops[2])
    expect(mainLoop([])).toBeUndefined()
  })
})

describe('bytes under way', () => {
  /** A function of these lines, 16 bytes of code each. */
  const code = (...lines: string[]): SassFunction => {
    const text = lines.map((line, i) => `        /*${(16 * i).toString(16).padStart(4, '0')}*/ ${line} ; /* 0x00 */`)
    return parseSass(['arch = sm_90a', '  Function : f', ...text].join('\n'))[0] as SassFunction
  }
  const bytes = (...lines: string[]) => underway(code(...lines)).bytes
  it('registers are read and written in the widths that the text tells', () => {
    const of = (line: string) => registers(code(line).instructions[0]!)
    expect(of('LDG.E.128.CONSTANT R4, desc[UR4][R2.64+0x10]')).toEqual({ writes: [[4, 8]], reads: [[2, 4]] })
    expect(of('@P0 LDG.E.U16 R5, [R2.64]')).toEqual({ writes: [[5, 6]], reads: [[2, 4]] })
    expect(of('STG.E.64 desc[UR6][R2.64], R8')).toEqual({
      writes: [],
      reads: [
        [2, 4],
        [8, 10],
      ],
    })
    expect(of('ISETP.GE.AND P0, PT, R0, R9.reuse, PT')).toEqual({
      writes: [],
      reads: [
        [0, 1],
        [9, 10],
      ],
    })
    expect(of('SHFL.BFLY PT, R5, R4, 0x10, 0x1f')).toEqual({ writes: [[5, 6]], reads: [[4, 5]] })
    expect(of('IMAD.WIDE.U32 R6, R3, 0x4, R10')).toEqual({
      writes: [[6, 8]],
      reads: [
        [3, 4],
        [10, 12],
      ],
    })
    expect(of('DADD R6, R4, -R8')).toEqual({
      writes: [[6, 8]],
      reads: [
        [4, 6],
        [8, 10],
      ],
    })
    expect(of('ULDC.64 UR4, c[0x0][0x208]')).toEqual({ writes: [], reads: [] })
  })
  it('loads that wait for each other do not overlap', () => {
    expect(
      bytes('LDG.E.64 R2, [R4.64]', 'LDG.E.64 R2, [R2.64]', 'LDG.E R6, [R2.64]', 'LDG.E.U16 R7, [R4.64]', 'FADD R6, R6, R7', 'EXIT'),
    ).toBe(8)
  })
  it('loads that nothing reads yet do, also through the last of their registers', () => {
    const loads = ['LDG.E.128 R4, [R2.64]', '@!P0 LDG.E.128.CONSTANT R8, desc[UR4][R2.64+0x200]', 'LDG.E.64 R12, [R2.64+0x400]']
    const more = 'LDG.E.128 R16, [R2.64+0x600]'
    expect(bytes(...loads, more, 'EXIT')).toBe(56)
    expect(bytes(...loads, 'FADD R20, R20, R7', more, 'EXIT')).toBe(40)
    // What was asked for earlier has come too; what later, has not.
    expect(bytes(...loads, 'FADD R20, R20, R11', more, more.replace('R16', 'R24'), 'EXIT')).toBe(40)
    // A register must have its old value before it gets a new one.
    expect(bytes(loads[0]!, 'MOV R7, RZ', 'LDG.E.128 R8, [R2.64]', 'EXIT')).toBe(16)
  })
  it('in a loop, with what a pass asks for on behalf of the next one', () => {
    const loop = (...body: string[]) => underway(code('MOV R0, RZ', ...body, '@P1 BRA 0x10', 'STG.E [R2.64], R0', 'EXIT'))
    expect(loop('LDG.E.128 R4, [R2.64]', 'FADD R0, R0, R4')).toEqual({ bytes: 16, accesses: 1, inLoop: true })
    // The next pass's values come in R8 while this one's are used: one load before the loop's own is read, and one behind it.
    expect(loop('LDG.E.128 R12, [R2.64]', 'LDG.E.128 R8, [R2.64]', 'FADD R0, R0, R12', 'MOV R4, R8').bytes).toBe(32)
    expect(loop('FADD R0, R0, R8', 'LDG.E.128 R4, [R2.64]', 'FADD R0, R0, R12', 'LDG.E.128 R8, [R2.64]', 'FADD R0, R0, R4')).toMatchObject({
      bytes: 32,
    })
  })
  it('asynchronous copies until the wait that covers their group', () => {
    const copy = ['LDGSTS.E.BYPASS.128.ZFILL [R9], desc[UR4][R6.64], P0', 'LDGSTS.E.BYPASS.128 [R9+0x10], desc[UR4][R6.64]', 'LDGDEPBAR']
    const staged = (allowed: number) =>
      underway(code(...copy, ...copy, `DEPBAR.LE SB0, 0x${allowed}`, 'LDS R4, [R9]', ...copy, '@P1 BRA 0x60', 'EXIT'))
    expect(staged(0).bytes).toBe(32) // what is asked for before the loop has come
    expect(staged(1).bytes).toBe(64)
    const loop = (allowed: number) => underway(code(...copy, `DEPBAR.LE SB0, 0x${allowed}`, '@P1 BRA 0x0', 'EXIT'))
    expect([0, 1, 2].map(allowed => loop(allowed).bytes)).toEqual([32, 64, 96])
    expect(loop(1)).toEqual({ bytes: 64, accesses: 4, inLoop: true })
    // Each behind a branch of its own; and without a wait in the loop that asks.
    const guarded = Array.from({ length: 12 }, (_, i) => [`@P0 BRA 0x${(16 * (2 * i + 2)).toString(16)}`, copy[0] as string]).flat()
    expect(bytes(...guarded, 'EXIT')).toBe(12 * 16)
    expect(bytes(copy[0]!, '@P1 BRA 0x0', 'DEPBAR.LE SB0, 0x0', 'EXIT')).toBe(8 * 16)
  })
  it('takes one side of a branch, and no code that nothing leads to', () => {
    const [a, b] = ['LDG.E.128 R4, [R2.64]', 'LDG.E.128 R8, [R2.64]']
    expect(bytes(a!, '@P0 BRA 0x40', b!, 'BRA 0x60', 'LDG.E.64 R12, [R2.64]', 'LDG.E.64 R14, [R2.64]', 'EXIT')).toBe(32)
    expect(bytes(a!, 'EXIT', b!)).toBe(16)
    expect(bytes(a!, '@P0 EXIT', b!)).toBe(32)
    // Lanes meet again behind the barrier; a call comes back; a jump by a table goes to what nothing else leads to.
    expect(bytes('BSSY B0, 0x40', a!, 'BSYNC B0', b!, 'EXIT')).toBe(16)
    expect(bytes(a!, 'CALL.REL.NOINC 0x40', b!, 'EXIT', 'RET.REL.NODEC R20 0x0')).toBe(32)
    expect(bytes(a!, 'BRX R20 -0x10', b!, 'BRA 0x50', 'LDG.E R12, [R2.64]', 'EXIT')).toBe(32)
  })
  it('is that of the main part where a loop serves what is left over', () => {
    const vectors = ['LDG.E.128 R4, [R2.64]', 'LDG.E.128 R8, [R2.64]', 'FADD R4, R4, R8']
    const rest = ['LDG.E.U16 R12, [R2.64]', 'FADD R12, R12, R12', '@P0 BRA 0x30', 'EXIT']
    expect(underway(code(...vectors, ...rest))).toEqual({ bytes: 32, accesses: 2, inLoop: false })
  })
})

describe('listings', () => {
  it("ptxas's notes: registers, spills and shared memory of each kernel", () => {
    const notes = `ptxas info    : Compiling entry function '_Z1fv' for 'sm_80'
ptxas info    : Function properties for _Z1fv
    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 256 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function '_Z1fv' for 'sm_90a'
ptxas info    : Used 70 registers, used 0 barriers, 400 bytes cmem[0]`
    const same = { file: 'ops/f.cuh', mangled: '_Z1fv', name: '', notes: [] }
    expect(parseNotes('ops/f.cuh', notes)).toEqual([
      { ...same, arch: 'sm_80', registers: 64, stack: 16, stores: 8, loads: 4, shared: 256 },
      { ...same, arch: 'sm_90a', registers: 70, stack: 0, stores: 0, loads: 0, shared: 0 },
    ])
  })
  it('resource usage: sm_90 counts 1024 bytes that the system takes', () => {
    const usage = `arch = sm_80
 Function _ZN8tilewise4cuda1fIfEEvT_:
  REG:64 STACK:0 SHARED:256 LOCAL:0 CONSTANT[0]:400 TEXTURE:0
arch = sm_90a
 Function _ZN8tilewise4cuda1fIfEEvT_:
  REG:70 STACK:8 SHARED:1280 LOCAL:4 CONSTANT[0]:400`
    expect(parseResources(usage)).toMatchObject([
      { name: 'f<float>', arch: 'sm_80', registers: 64, shared: 256, stack: 0, spills: 0 },
      { name: 'f<float>', arch: 'sm_90a', registers: 70, shared: 256, stack: 8, spills: 4 },
    ])
  })
  it("both compilers' names of a kernel are one", () => {
    const rest = 'softmax<true, tilewise::f16, 8>(tilewise::View, int)'
    expect(simple(`void tilewise::cuda::_GLOBAL__N__8cd50079_11_softmax_cuh_22731ce1::${rest}`)).toBe('softmax<true, f16, 8>')
    expect(simple(`void tilewise::simt::(anonymous namespace)::${rest}`)).toBe('softmax<true, f16, 8>')
    expect(parseSymbols('00000000000000a0 t _ZN8tilewise4simt1fIfEEvT_\n0000000000000100 t _ZN8tilewise3cpu1gEv\n')).toEqual(
      new Map([[0xa0, 'f<float>']]),
    )
  })
  it("ncu's: means over the launches of a kernel, the longest first", () => {
    const metrics = [
      'gpu__time_duration.sum',
      'dram__throughput.avg.pct_of_peak_sustained_elapsed',
      'sm__issue_active.avg.pct_of_peak_sustained_elapsed',
    ]
    const row = (...cells: string[]) => cells.map(cell => `"${cell}"`).join(',')
    const found = parseNcu(
      [
        '==PROF== Connected to process 1',
        row('Kernel Name', ...metrics),
        row('', 'nsecond', '%', '%'),
        row('f<float, 4>', '1,000', '80', '10'),
        row('g', '9,000', '20', '30'),
        row('f<float, 4>', '3,000', '90', '20'),
      ].join('\n'),
    )
    expect(found.map(({ kernel, launches, time, memory, issue }) => [kernel, launches, time, memory, issue])).toEqual([
      ['g', 1, 9, 20, 30],
      ['f<float, 4>', 2, 2, 85, 15],
    ])
    expect(measuredBound(found[1]!)).toBe('bound by memory traffic at 85 % of its peak')
    expect(measuredBound(found[0]!)).toBe('bound by latency and occupancy: nothing is near its peak, issue at 30 % of its peak')
  })
  it('the launch with the most threads speaks for a kernel', () => {
    const launch = (x: number, threads: number) => ({
      function: 0,
      grid: [x, 1, 1] as [number, number, number],
      block: [threads, 1, 1] as [number, number, number],
      dynamicShared: 0,
      launches: 1,
    })
    expect(largestLaunch([launch(1, 1024), launch(9, 128), launch(2, 128)])).toMatchObject({ grid: [9, 1, 1] })
  })
})

describe('which row is meant', () => {
  it('a row of the benchmark on a GPU has one for the machine of fibers', () => {
    for (const [family, { rows }] of Object.entries(families)) expect(rows(true), family).toHaveLength(rows(false).length)
  })
  const names = ['ops linear f32', 'ops linear f32 backward', 'add · vectors · f32']
  it('a whole name, or a pattern that one matches', () => {
    expect(pick(names, 'ops linear f32')).toEqual({ name: 'ops linear f32' })
    expect(pick(names, 'VECTORS')).toEqual({ name: 'add · vectors · f32' })
    expect(pick(names, 'linear')).toEqual({ refusal: "2 rows match 'linear':\n  ops linear f32\n  ops linear f32 backward" })
    expect(pick(names, 'conv')).toEqual({ refusal: "no row matches 'conv'" })
    expect(pick(names, '(')).toMatchObject({ refusal: expect.stringMatching(/^ROW must be a name or a regular expression/) })
  })
})
