/** Loses a device on purpose, in a process of its own, and prints what each call said: `tsx test/gpu/lose.ts cuda`. */
import { add, type DeviceKind, device, ones, type Tensor } from '../../lib/index.ts'
import { aliasView } from '../../lib/tensor.ts'

type Outcome = number[] | { name: string; code: string; message: string }

export interface Loss {
  before: Outcome
  /** The op that read outside of its memory, then one on tensors that were there before, one on new ones, and one elsewhere. */
  astray: Outcome
  later: Outcome
  fresh: Outcome
  cpu: Outcome
}

const outcome = (result: Tensor): Promise<Outcome> =>
  result.read().then(
    values => Array.from(values),
    ({ name, code, message }) => ({ name, code, message }),
  )

const on = device(process.argv[2] as DeviceKind)
const x = ones([4], { device: on })
const loss: Partial<Loss> = { before: await outcome(add(x, 1)) }
// A view that starts 256 GiB below its tensor: no call of the public interface makes one.
const astray = aliasView(x, [4], [1], -(2 ** 36))
loss.astray = await outcome(add(astray, 1))
loss.later = await outcome(add(x, 1))
loss.fresh = await outcome(ones([4], { device: on }))
loss.cpu = await outcome(add(ones([2], { device: device('cpu') }), 1))
console.log(JSON.stringify(loss))
