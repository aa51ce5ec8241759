import type { EpochReport, StepReport } from './trainer.ts'

/** A sentence translated after an epoch. */
export interface Sample {
  source: string
  /** What the model says. */
  translation: string
  /** What the data says. */
  target: string
}

export type HistoryRow =
  | ({ kind: 'step' } & Pick<StepReport, 'step' | 'epoch' | 'loss' | 'gradientNorm' | 'learningRate' | 'tokens'>)
  | ({ kind: 'epoch'; samples: Sample[] } & EpochReport)

/** What training has reported: loss curves to look at, one JSON object a line in a file. */
export class History {
  readonly rows: HistoryRow[] = []

  addStep({ step, epoch, loss, gradientNorm, learningRate, tokens }: StepReport): void {
    this.rows.push({ kind: 'step', step, epoch, loss, gradientNorm, learningRate, tokens })
  }

  addEpoch(report: EpochReport, samples: Sample[]): void {
    this.rows.push({ kind: 'epoch', ...report, samples })
  }

  /** Loss of each step so far. */
  get losses(): number[] {
    return this.rows.filter(row => row.kind === 'step').map(row => row.loss)
  }

  /** The epochs' reports. */
  get epochs(): (EpochReport & { samples: Sample[] })[] {
    return this.rows.filter(row => row.kind === 'epoch')
  }

  *lines(): Generator<string> {
    for (const row of this.rows) yield `${JSON.stringify(row)}\n`
  }
}
