/** No native op without a definition: what the suite of cases does not reach is named here with the reason. */
import { expect, it } from 'vitest'
import '../../lib/index.ts'
import '../../lib/optim/index.ts'
import { definedOps } from '../../lib/autograd/defineOp.ts'
import { schema } from '../../lib/native.generated.ts'

const withoutDefinition: Record<string, string> = {
  accumulate: 'the tape adds gradients with it; test/autograd.test.ts',
  adamw: 'updates in place, so it has no place on the tape; test/optim',
  globalNorm: 'reads gradients, which are off the tape; test/optim',
  clipByNorm: 'changes gradients in place; test/optim',
}

it('every native op is a defined op, the backward of one, or named with a reason', () => {
  const defined = definedOps as ReadonlyMap<string, unknown>
  const strays = Object.keys(schema).filter(
    name =>
      !defined.has(name) && !(name.endsWith('Backward') && defined.has(name.slice(0, -'Backward'.length))) && !(name in withoutDefinition),
  )
  expect(strays).toEqual([])
  expect(Object.keys(withoutDefinition).filter(name => defined.has(name) || !(name in schema))).toEqual([])
})
