/** Every case of every op on GPUs, and on the machine of fibers that stands in for one. */
import { testDevices } from '../devices.ts'
import { opsSuite } from './opsSuite.ts'

opsSuite(testDevices.filter(({ device }) => device.kind !== 'cpu'))
