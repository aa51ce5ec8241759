import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { Command } from 'commander'
import { exitCodes, explain } from './exit.ts'
import { type DeviceChoice, withDevice } from './options.ts'
import { version } from './version.ts'

export function doctorCommand(): Command {
  const command = new Command('doctor').description(
    'Show what this machine can do, which device is chosen and why, and whether it computes.',
  )
  return withDevice(command.option('--json', 'one line of JSON instead of a table')).action(run)
}

interface Finding {
  name: string
  value: string
}

async function run({ json, device: kind, threads }: DeviceChoice & { json?: true }): Promise<void> {
  const findings: Finding[] = [
    { name: 'tilewise', value: version },
    { name: 'node', value: `${process.version}, Node-API ${process.versions.napi}` },
    { name: 'system', value: `${process.platform}-${process.arch}, ${release()}${libc()}` },
    { name: 'processor', value: processor() },
    { name: 'nvidia driver', value: nvidiaDriver() },
  ]
  const problems: string[] = []
  try {
    const { device, gpuReport } = await import('../device.ts')
    const { tensor } = await import('../tensor.ts')
    await import('../ops/index.ts')
    const { built, driver, runtime, kernels, refusal, gpus } = gpuReport()
    findings.push({ name: 'cuda', value: refusal === '' ? 'can be used' : `cannot be used: ${refusal}` })
    if (built)
      findings.push({
        name: 'cuda kernels',
        value: `${kernels}; built with CUDA ${runtime}, ${driver === '' ? 'no driver' : `driver for CUDA ${driver}`}`,
      })
    for (const gpu of gpus) {
      const what = `${gpu.name}, compute capability ${gpu.capability}, ${gibibytes(gpu.memoryBytes)}`
      findings.push({ name: `gpu ${gpu.index}`, value: gpu.refusal === '' ? what : `${what}: ${gpu.refusal}` })
    }
    const chosen = device(kind, threads === undefined ? {} : { threads })
    const { name, detail, memoryBytes, threads: used, nativeBf16 } = chosen.information
    const hardware = `${name}, ${detail}`
    const gpu = chosen.kind === 'cuda'
    findings.push(
      { name: 'device', value: `${chosen.kind} (${chosen.reason.slice(0, -hardware.length - 2)})` },
      { name: '', value: hardware },
      {
        name: 'bf16',
        value: nativeBf16
          ? `computed by instructions of the ${gpu ? 'GPU' : 'processor'}`
          : 'computed through f32: the processor has no instructions for it',
      },
      ...(gpu ? [] : [{ name: 'threads', value: `${used}` }]),
      {
        name: 'memory',
        value: `${gibibytes(memoryBytes)} ${gpu ? 'on the GPU' : 'for this process'}, ${gibibytes(availableMemory())} available now in this machine`,
      },
    )
    const sum = await tensor([1, 2], { device: chosen })
      .add(tensor([3, 4], { device: chosen }))
      .read()
    if (sum.join() !== '4,6') throw new Error(`1 + 3 and 2 + 4 gave ${sum.join(' and ')}`)
    findings.push({ name: 'self-check', value: 'passed: the device adds' })
  } catch (error) {
    problems.push(explain(error))
  }
  if (json) {
    const report = Object.fromEntries(findings.map(({ name, value }) => [name === '' ? 'hardware' : name, value]))
    process.stdout.write(`${JSON.stringify({ ...report, problems })}\n`)
  } else for (const { name, value } of findings) process.stdout.write(`${name.padEnd(14)} ${value}\n`)
  for (const problem of problems) process.stderr.write(`tilewise: ${problem}\n`)
  if (problems.length > 0) process.exitCode = exitCodes.failure
}

const readText = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function libc(): string {
  const { glibcVersionRuntime } = (process.report.getReport() as { header: { glibcVersionRuntime?: string } }).header
  return glibcVersionRuntime === undefined ? '' : `, glibc ${glibcVersionRuntime}`
}

/** Instruction sets that matter here, as Linux calls them, from poorest to richest. */
const instructionSets = ['avx2', 'fma', 'avx512f', 'avx512_bf16', 'amx_tile', 'amx_bf16']

function processor(): string {
  const information = readText('/proc/cpuinfo') ?? ''
  const name = /^model name\s*:\s*(.*)$/m.exec(information)?.[1] ?? 'unknown'
  const flags = new Set(/^flags\s*:\s*(.*)$/m.exec(information)?.[1]?.split(' '))
  const present = instructionSets.filter(set => flags.has(set))
  const absent = instructionSets.filter(set => !flags.has(set))
  return `${name}: ${present.join(' ') || 'none of the instruction sets'}${absent.length > 0 ? `; lacks ${absent.join(' ')}` : ''}`
}

function nvidiaDriver(): string {
  const text = readText('/proc/driver/nvidia/version')
  return text === undefined ? 'none' : (/Kernel Module.*?([\d.]{5,})/.exec(text)?.[1] ?? (text.split('\n')[0] as string))
}

function availableMemory(): number {
  const kilobytes = /^MemAvailable:\s*(\d+)/m.exec(readText('/proc/meminfo') ?? '')?.[1]
  return kilobytes === undefined ? Number.NaN : Number(kilobytes) * 1024
}

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`
