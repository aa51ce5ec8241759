import { SingleBar } from 'cli-progress'
import type { TrainReporter, TrainStart } from '../models/trainTranslator.ts'
import type { Sample } from '../train/history.ts'
import type { EpochReport, StepReport } from '../train/trainer.ts'
import { show } from './options.ts'

/** Seconds between two lines where there is no terminal to draw a bar on. */
const LINE_INTERVAL = 10
/** How much of an average the newest step makes up. */
const SMOOTHING = 0.05

/** Shows training to people: a bar on a terminal, plain lines elsewhere; a few lines after each epoch. */
export class TrainingProgress implements TrainReporter {
  readonly #out: NodeJS.WriteStream
  readonly #bar: SingleBar | undefined
  #epochs = 0
  #loss = Number.NaN
  #epoch = 0
  #tokens = 0
  #began = 0
  #lastLine = 0

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
    if (!out.isTTY) return
    this.#bar = new SingleBar({
      stream: out,
      format: 'epoch {epoch} {bar} {value}/{total} · loss {loss} · {rate} tokens/s · {left} left',
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 24,
      fps: 8,
      hideCursor: true,
      clearOnComplete: true,
      // Ctrl-C is ours: it saves.
      gracefulExit: false,
    })
  }

  started({ translator, pairs, dropped, validationPairs, epochs, steps, warmup }: TrainStart): void {
    const { config, device } = translator
    const { dModel, numHeads, numEncoderLayers, numDecoderLayers, dFeedForward } = config
    const parameters = translator.model.parameters().reduce((sum, parameter) => sum + parameter.size, 0)
    this.#epochs = epochs
    this.line(`device      ${device.kind} (${device.reason})`)
    this.line(
      `pairs       ${show(pairs)} to train on, ${show(validationPairs)} for validation${dropped > 0 ? `, ${show(dropped)} left out as too long` : ''}`,
    )
    this.line(`vocabulary  ${show(config.sourceVocab)} source, ${show(config.targetVocab)} target tokens`)
    this.line(
      `model       ${dModel} wide, ${numHeads} heads, ${numEncoderLayers}+${numDecoderLayers} layers, feed-forward ${dFeedForward}: ${show(parameters)} parameters, ${config.dtype}`,
    )
    this.line(`training    ${epochs} epoch${epochs > 1 ? 's' : ''}, about ${show(steps)} steps, ${show(warmup)} of them warm-up`)
  }

  step(report: StepReport): void {
    const now = performance.now()
    if (report.epoch !== this.#epoch) {
      this.#epoch = report.epoch
      this.#tokens = 0
      this.#began = now
      this.#lastLine = now
      this.#bar?.start(report.batches, 0, this.#payload(report))
    } else this.#tokens += report.tokens
    this.#loss = Number.isNaN(this.#loss) ? report.loss : this.#loss + SMOOTHING * (report.loss - this.#loss)
    if (this.#bar) this.#bar.update(report.batch, this.#payload(report))
    else if (now - this.#lastLine >= LINE_INTERVAL * 1000) {
      this.#lastLine = now
      const { epoch, loss, rate } = this.#payload(report)
      this.line(`epoch ${epoch}  batch ${report.batch}/${report.batches}  loss ${loss}  ${rate} tokens/s`)
    }
  }

  epoch(report: EpochReport, samples: readonly Sample[]): void {
    this.#bar?.stop()
    const { epoch, loss, validation, tokens, seconds, learningRate } = report
    const valid =
      validation === undefined ? '' : `  validation loss ${validation.loss.toFixed(3)}, perplexity ${show(validation.perplexity, 2)}`
    this.line(
      `epoch ${epoch}/${this.#epochs}  loss ${loss.toFixed(3)}${valid}  ${show(tokens / seconds)} tokens/s  ${seconds.toFixed(1)} s  lr ${learningRate.toPrecision(2)}`,
    )
    for (const { source, translation, target } of samples) {
      this.line(`    ${source}`)
      this.line(translation === target ? `    ✓ ${translation}` : `    → ${translation}   (${target})`)
    }
  }

  saved(folder: string): void {
    this.#bar?.stop()
    this.line(`saved       ${folder}`)
  }

  /** Tells something while an epoch runs. The bar goes first: it would be drawn over the line. */
  notice(text: string): void {
    this.#bar?.stop()
    this.line(text)
  }

  /** Takes the bar away, whatever has happened. */
  end(): void {
    this.#bar?.stop()
  }

  line(text: string): void {
    this.#out.write(`${text}\n`)
  }

  #payload({ epoch, batch, batches }: StepReport) {
    const seconds = (performance.now() - this.#began) / 1000
    const left = batch > 1 ? ((batches - batch) * seconds) / (batch - 1) : Number.NaN
    const clock = Number.isNaN(left) ? '--:--' : `${Math.floor(left / 60)}:${String(Math.floor(left % 60)).padStart(2, '0')}`
    return {
      epoch: `${epoch}/${this.#epochs}`,
      loss: this.#loss.toFixed(3),
      rate: seconds > 0 ? show(this.#tokens / seconds, 0) : '-',
      left: clock,
    }
  }
}
