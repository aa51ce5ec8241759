import { layerNormOp, layerNormResidual } from '../../lib/ops/layerNorm.ts'
import { defineCases } from './cases.ts'
import { normCases } from './normCases.ts'

export default defineCases(
  layerNormOp,
  normCases((t, options) => layerNormResidual(t.x!, t.weight, t.bias, options), true),
)
