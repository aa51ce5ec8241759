import { rmsNormOp, rmsNormResidual } from '../../lib/ops/rmsNorm.ts'
import { defineCases } from './cases.ts'
import { normCases } from './normCases.ts'

export default defineCases(
  rmsNormOp,
  normCases((t, options) => rmsNormResidual(t.x!, t.weight, options), false),
)
