import { expect, it } from 'vitest'
import { skippedDevices, testDevices } from './devices.ts'

it('the suite has a device to run on', () => {
  expect(testDevices.map(({ device }) => device.kind)).not.toEqual([])
})

// The summary at the end of a run repeats these names.
for (const reason of skippedDevices) it.skip(reason, () => {})
