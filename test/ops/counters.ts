import type { Device, KernelCounters } from '../../lib/device.ts'

/** What `body` made the kernels of a device with `counters` do, by kernel. */
export async function countersOf(device: Device, body: () => unknown): Promise<Record<string, KernelCounters>> {
  await device.synchronize()
  device.report() // forgets what came before
  body()
  await device.synchronize()
  return device.report().kernels ?? {}
}
