/** Runs a row on the GPU for ncu.ts: `tsx bench/profile/row.ts NAME`. */
import { device } from '../../lib/index.ts'
import { profiledRows } from './rows.ts'

const row = (await profiledRows()).find(({ name }) => name === process.argv[2])
if (row === undefined) throw new Error(`no row '${process.argv[2]}'`)
await row.run(device('cuda'))
