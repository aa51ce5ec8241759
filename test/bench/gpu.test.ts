/** The GPU benchmark, rehearsed: everything but CUDA's own clock and PyTorch runs here. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { Bench, expectSame } from '../../bench/gpu/bench.ts'
import { ClockWatch } from '../../bench/gpu/clocks.ts'
import { families } from '../../bench/gpu/families.ts'
import { measure, QUICK } from '../../bench/gpu/measure.ts'
import { renderGpu } from '../../bench/gpu/render.ts'
import { type GpuResult, type GpuRun, limitsOf } from '../../bench/gpu/result.ts'
import type { GpuRow } from '../../bench/gpu/row.ts'
import { ticks } from '../../bench/gpu/svg.ts'
import { zipfLengths } from '../../bench/gpu/zipf.ts'
import { device, gpuReport } from '../../lib/index.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'tilewise-bench-gpu-'))
afterAll(() => rmSync(folder, { recursive: true }))

const fake = (name: string) => fileURLToPath(new URL(`./${name}`, import.meta.url))

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', 'bench/gpu/main.ts', ...args], {
    cwd: root,
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}

const read = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as GpuRun

describe('bench:gpu', () => {
  it('says why nothing is measured where there is no GPU', () => {
    if (gpuReport().refusal === '') return
    const { status, stdout } = run('--quick')
    expect(status).toBe(0)
    expect(stdout).toContain(`not measured: ${gpuReport().refusal}`)
  })
  it('refuses what it does not know', () => {
    expect(run('--device', 'tpu').stderr).toContain("--device must be 'cuda', 'simt' or 'cpu', is 'tpu'")
    expect(run('--rows', 'no such row', '--list')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("no row matches 'no such row'"),
    })
    expect(run('--device', 'cpu', '--python', join(folder, 'none'))).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('--alone'),
    })
  })
  it('has rows of distinct names, each family with quick ones, and a twin for each', () => {
    for (const [family, { rows }] of Object.entries(families)) {
      const full = rows(false)
      expect(new Set(full.map(({ name }) => name)).size, family).toBe(full.length)
      expect(rows(true).map(({ name }) => name)).toEqual(full.map(({ name }) => name))
      expect(
        full.some(({ quick }) => quick),
        family,
      ).toBe(true)
      for (const { bound, work, twin, name } of full) {
        expect((bound === 'matrix' ? work.flops : work.bytes) as number, name).toBeGreaterThan(0)
        const [module, twinName] = twin.name.split('.') as [string, string]
        const text = readFileSync(join(root, `bench/gpu/torch/${module}.py`), 'utf8')
        expect(text, `${module}.py`).toContain(`def ${twinName}(`)
      }
    }
  })
  it('rehearses quick rows of all families on the machine of fibers, and draws their charts', () => {
    const json = join(folder, 'dry.json')
    const before = readdirSync(join(root, 'bench/results'))
    const { status, stdout, stderr } = run('--device', 'simt', '--quick', '--alone', '--json', json, '--plots', join(folder, 'plots'))
    expect(stderr).not.toContain('failed')
    expect(status).toBe(0)
    expect(stdout).toContain('DRY RUN')
    const written = read(json)
    expect(written).toMatchObject({ dry: true, quick: true, torch: null, notMeasured: [] })
    expect(new Set(written.rows.map(({ family }) => family))).toEqual(new Set(Object.keys(families)))
    for (const { ours, ratio } of written.rows) {
      expect(ours.median).toBeGreaterThan(0)
      expect(ratio).toBeNull()
    }
    const drawn = Object.keys(families).filter(family => family !== 'limits')
    expect(readdirSync(join(folder, 'plots')).sort()).toEqual(drawn.map(family => `${family}.svg`).sort())
    expect(readdirSync(join(root, 'bench/results'))).toEqual(before)
    const page = renderGpu({ ...written, dry: false }, 'dry.json', new URL(`file://${folder}/`), 'plots')
    for (const { title } of drawn.map(family => families[family] as (typeof families)[string])) expect(page).toContain(`### ${title}`)
  }, 120_000)
  it('rehearses every row with random data, as on a GPU', () => {
    const json = join(folder, 'random.json')
    const { status, stderr } = run('--device', 'cpu', '--random', '--alone', '--json', json)
    expect(stderr).not.toContain('failed')
    expect(status).toBe(0)
    expect(read(json).rows).toHaveLength(Object.values(families).flatMap(({ rows }) => rows(true)).length)
  }, 120_000)
  it('takes samples of both sides in rounds, as many as fit', async () => {
    const bench = new Bench(device('cpu'), true, true)
    const clocks = await ClockWatch.start(0, fake('fakeNvidiaSmi.mjs'))
    const row = families.memory?.rows(true).find(({ name }) => name.startsWith('clip')) as GpuRow
    const plan = { ...QUICK, least: 6, most: 12 }
    const result = await measure('memory', row, { bench, torch: undefined, plan, clocks, compile: false })
    expect(result.ours.samples).toBe(12)
    expect(result.ours.best).toBeLessThanOrEqual(result.ours.median)
    expect(result.clocks?.memory).toBe(3201)
    const slow = { ...row, prepare: () => ({ iterate: () => {} }) }
    await expect(measure('memory', slow, { bench, torch: undefined, plan, clocks, compile: false })).rejects.toThrow('to timed, once')
    clocks?.stop()
    bench.dispose()
  })
  it('asks PyTorch beside it, notices different answers, and goes on after a crash', () => {
    const json = join(folder, 'fake.json')
    const { status, stderr } = run(
      '--device',
      'cpu',
      '--python',
      fake('fakePython.mjs'),
      '--rows',
      'AdamW|clip|LayerNorm 16384×768, forward|RMSNorm 16384×4096, forward',
      '--json',
      json,
    )
    const { rows, notMeasured, torch } = read(json)
    expect(torch?.torch).toBe('9.9')
    // The limits compute something else than the stand-in says.
    expect(notMeasured.map(({ family }) => family)).toEqual(['limits', 'limits', 'memory'])
    expect(notMeasured[0]?.reason).toMatch(/the sides compute different things: result 0 is .* here, 1\.00 2\.00 3\.00 there/)
    expect(status).toBe(1)
    const adam = rows.find(({ row }) => row.startsWith('AdamW')) as GpuResult
    expect(adam).toMatchObject({ way: 'best', ways: { best: 1000, other: 2000 }, refused: { third: 'RuntimeError: no' } })
    expect(adam.theirs?.median).toBe(1000)
    expect(adam.ratio).toBeCloseTo(1000 / adam.ours.median, 2)
    // The row after a lost context meets a process that answers, wrongly.
    expect(rows.find(({ row }) => row.startsWith('LayerNorm'))?.note).toContain('CUDA error')
    expect(notMeasured[2]).toMatchObject({ row: 'RMSNorm 16384×4096, forward', reason: expect.stringContaining('different things') })
    const clip = rows.find(({ row }) => row.startsWith('clip')) as GpuResult
    expect(clip).toMatchObject({ theirs: null, ratio: null, note: 'PyTorch’s process ended' })
    expect(stderr).toContain('(PyTorch’s process ended)')
  })
  it('records clocks that nvidia-smi reads on the side, and does without', async () => {
    expect(await ClockWatch.start(0, join(folder, 'no-such-program'))).toBeUndefined()
    const start = performance.now()
    const watch = (await ClockWatch.start(0, fake('fakeNvidiaSmi.mjs'))) as ClockWatch
    expect(watch.settled(5)).toBe(false)
    while (!watch.settled(5)) await new Promise(resolve => setTimeout(resolve, 20))
    const clocks = watch.between(start, performance.now())
    expect(clocks).toMatchObject({ memory: 3201, power: 655.2, temperature: 41, reasons: '0x0000000000000004' })
    expect(clocks?.sm).toBeGreaterThan(1500)
    watch.stop()
    expect(watch.between(performance.now() + 1000, performance.now() + 2000)?.sm).toBe(1980)
  })
})

describe('what results are made of', () => {
  it('compares answers by the size of their elements', () => {
    expect(() => expectSame([[1, 2, -1]], [[1.01, 2.1, -0.95]])).not.toThrow()
    expect(() => expectSame([[1, 2, -1]], [[1.01, 2.1, -1.5]])).toThrow('the sides compute different things')
    expect(() => expectSame([[1, 2, -1]], [[1.2, 2, -1]])).toThrow('the sides compute different things')
    expect(() => expectSame([[1, 2]], [[1, Number.NaN]])).toThrow('the sides compute different things')
    expect(() => expectSame([[1, 2]], [])).toThrow('there')
    expect(() => expectSame([[1, 2]], [[1, 2], [3]])).toThrow('there')
  })
  it('takes the best product and copy of either side for the limits', () => {
    const timing = (median: number) => ({ median, spread: 0, best: median, samples: 1 })
    const row = (family: string, bound: 'matrix' | 'copy', ours: number, theirs: number | null) =>
      ({ family, bound, work: { flops: 1e9, bytes: 1e6 }, ours: timing(ours), theirs: theirs && timing(theirs) }) as unknown as GpuResult
    const rows = [
      row('limits', 'copy', 2, 1),
      row('limits', 'matrix', 4, null),
      row('products', 'matrix', 5, 2),
      row('attention', 'matrix', 1, 1),
      row('memory', 'copy', 0.1, 0.1),
    ]
    expect(limitsOf(rows)).toEqual({ matrix: 5e14, copy: 1e12 })
    expect(limitsOf([])).toEqual({ matrix: 0, copy: 0 })
  })
  it('draws lengths whose sum is right and whose padded batch is mostly padding', () => {
    const lengths = zipfLengths(16, 2048, 16384)
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(16384)
    expect(Math.max(...lengths)).toBe(2048)
    expect(16384 / (2048 * lengths.length)).toBeLessThan(0.4)
    expect(zipfLengths(16, 2048, 16384)).toEqual(lengths)
  })
  it('divides axes evenly', () => {
    expect(ticks(791)).toEqual([0, 200, 400, 600, 800])
    expect(ticks(4300)).toEqual([0, 1000, 2000, 3000, 4000, 5000])
    expect(ticks(0.07)).toEqual([0, 0.02, 0.04, 0.06, 0.08])
    expect(ticks(0)).toEqual([0, 1])
  })
  it('has no dry result among its results', () => {
    for (const file of readdirSync(join(root, 'bench/results')).filter(name => name.endsWith('.json'))) {
      const content = JSON.parse(readFileSync(join(root, 'bench/results', file), 'utf8')) as GpuRun | unknown[]
      if (!Array.isArray(content)) expect(content.dry, file).toBe(false)
    }
    expect(existsSync(join(root, 'docs/perf.md'))).toBe(true)
  })
})
