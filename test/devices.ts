/** The devices of the suite: `TILEWISE_TEST_DEVICES=cpu,…`. `cpu` stands for each instruction set that this processor has. */
import { type Device, device } from '../lib/index.ts'

export interface TestDevice {
  name: string
  device: Device
}

function isaDevices(): TestDevice[] {
  const found: TestDevice[] = []
  for (const isa of ['avx512', 'avx2', 'baseline'] as const) {
    try {
      found.push({ name: `cpu ${isa}`, device: device('cpu', { isa, poison: true }) })
    } catch (error) {
      // An instruction set that the processor lacks is no failure; anything else is.
      if (!(error as Error).message.includes('is not this processor')) throw error
    }
  }
  return found
}

const known: Record<string, () => TestDevice[]> = { cpu: isaDevices }

export const testDevices: TestDevice[] = (process.env.TILEWISE_TEST_DEVICES ?? 'cpu').split(',').flatMap(name => {
  const make = known[name.trim()]
  if (make === undefined) throw new Error(`TILEWISE_TEST_DEVICES names '${name}'; known are ${Object.keys(known).join(', ')}`)
  return make()
})
