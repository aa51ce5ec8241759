import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * Files that take longest, the longest first. Vitest begins with the largest files, and the suite of all ops is written in few lines: without this
 * it comes last, and the other processor idles for minutes.
 */
const LONG = ['ops/ops.gpu.test.ts', 'ops/ops.test.ts', 'train/reverse.test.ts', 'ops/attention.leak.test.ts', 'cli/translator.test.ts']

export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex(name => moduleId.endsWith(`/test/${name}`))
      return at < 0 ? LONG.length : at
    }
    return (await super.sort(files)).sort((a, b) => place(a) - place(b))
  }
}
