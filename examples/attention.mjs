// Attention in ten lines, and a look at what it does: who sees whom, and how much.
//
//     node examples/attention.mjs
import { Mask, normal, scope, seed } from 'tilewise'
import * as nn from 'tilewise/nn'

const words = ['the', 'cat', 'that', 'I', 'saw', 'sleeps']

seed(7)
await scope(async () => {
  const attention = new nn.MultiheadAttention({ embedDim: 64, numHeads: 4 })
  const x = normal([1, words.length, 64]) // [B, T, C]: one sentence, a random vector a word

  // A word sees itself and what came before. Masks combine: `.and(Mask.window(2, 0))` would leave it the two words before itself.
  const { output, weights } = attention.forward(x, x, x, { mask: Mask.causal(), needWeights: true })

  // Everything above was recorded, not computed: here is the first place that waits.
  print(await weights.read())
  console.log(`output [${output.shape.join(', ')}], its first numbers ${(await output.read()).slice(0, 3).join(' ')}`)
  attention.dispose() // parameters outlive scopes
}) // x, output and weights are freed here

/** A row a word: the darker, the more it takes from the word of that column. */
function print(weights) {
  const width = words.length
  for (const [row, word] of words.entries()) {
    const shades = [...weights.subarray(row * width, (row + 1) * width)].map(weight => ' ░▒▓█'[Math.ceil(4 * weight)].repeat(2))
    console.log(`${word.padStart(8)} ${shades.join('').trimEnd()}`)
  }
}
