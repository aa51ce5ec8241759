/**
 * The devices of the suite: `TILEWISE_TEST_DEVICES=cpu,simt,cuda`. `cpu` stands for each instruction set that this processor has; `simt` for the
 * GPU kernels on the machine of fibers, whose threads run in three orders that must give the same bits; `cuda` for the first GPU, and is left
 * out, with the reason, where there is none. Default: all three.
 */
import { type Device, device, gpuReport } from '../lib/index.ts'

export interface TestDevice {
  name: string
  device: Device
  /** Must give the same bits as `device`. */
  twins: readonly Device[]
  /** Whether it computes in f16. */
  f16: boolean
}

function isaDevices(): TestDevice[] {
  const found: TestDevice[] = []
  for (const isa of ['avx512', 'avx2', 'baseline'] as const) {
    try {
      found.push({ name: `cpu ${isa}`, device: device('cpu', { isa, poison: true }), twins: [], f16: false })
    } catch (error) {
      // An instruction set that the processor lacks is no failure; anything else is.
      if (!(error as Error).message.includes('is not this processor')) throw error
    }
  }
  return found
}

function simtDevice(): TestDevice[] {
  const twins = (['warp-greedy', 'warp-greedy-reversed'] as const).map(schedule => device('simt', { schedule }))
  return [{ name: 'simt', device: device('simt'), twins, f16: true }]
}

function cudaDevice(): TestDevice[] {
  const { refusal } = gpuReport()
  if (refusal === '') return [{ name: 'cuda', device: device('cuda', { poison: true }), twins: [], f16: true }]
  skippedDevices.push(`cuda: ${refusal}`)
  return []
}

const known: Record<string, () => TestDevice[]> = { cpu: isaDevices, simt: simtDevice, cuda: cudaDevice }

/** What was asked for and is not there, with the reason. */
export const skippedDevices: string[] = []

export const testDevices: TestDevice[] = (process.env.TILEWISE_TEST_DEVICES ?? 'cpu,simt,cuda').split(',').flatMap(name => {
  const make = known[name.trim()]
  if (make === undefined) throw new Error(`TILEWISE_TEST_DEVICES names '${name}'; known are ${Object.keys(known).join(', ')}`)
  return make()
})
