/** The families, in the order of the report. The limits come first: every other row is held to them. */
import * as attention from './attention.ts'
import * as decoding from './decoding.ts'
import * as feedForward from './feedForward.ts'
import * as layers from './layers.ts'
import * as limits from './limits.ts'
import * as memory from './memory.ts'
import * as models from './models.ts'
import * as products from './products.ts'
import * as qkv from './qkv.ts'
import * as ragged from './ragged.ts'
import type { Family } from './row.ts'

export const families: Readonly<Record<string, Family>> = {
  limits,
  products,
  qkv,
  attention,
  ragged,
  feedForward,
  memory,
  decoding,
  layers,
  models,
}
