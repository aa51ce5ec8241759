/** Every case of every op on the CPU device. */
import { testDevices } from '../devices.ts'
import { opsSuite } from './opsSuite.ts'

opsSuite(testDevices.filter(({ device }) => device.kind === 'cpu'))
