import { logSoftmax, logSoftmaxRows } from '../../lib/ops/logSoftmax.ts'
import { defineCases } from './cases.ts'
import { rowCases } from './softmax.cases.ts'

const { NEGATIVE_INFINITY } = Number

export default defineCases(logSoftmaxRows, [
  ...rowCases(t => logSoftmax(t.x!)),
  {
    name: 'some -inf and a row of -inf',
    inputs: { x: { shape: [2, 3], fill: { values: [NEGATIVE_INFINITY, 1, 2, ...new Array(3).fill(NEGATIVE_INFINITY)] } } },
    call: t => logSoftmax(t.x!),
    noGradient: 'finite differences of -inf are NaN; softmax.test.ts checks it',
  },
])
