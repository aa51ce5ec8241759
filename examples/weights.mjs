// Weights go to PyTorch and back through safetensors: the keys of the state dictionary and the layouts of the tensors are PyTorch's.
//
//     node examples/weights.mjs [file]
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { normal, readSafetensors, scope, seed } from 'tilewise'
import * as nn from 'tilewise/nn'

const file = process.argv[2] ?? join(tmpdir(), 'encoder.safetensors')
const options = { dModel: 32, numHeads: 4, dFeedForward: 64, dropout: 0 }

// torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0, batch_first=True) has these very keys.
seed(1)
const layer = new nn.TransformerEncoderLayer(options)
for (const [key, { shape }] of layer.stateDict()) console.log(`${key.padEnd(28)} [${shape.join(', ')}]`)

// The file is replaced whole or not at all, also when the power goes.
await nn.saveModule(layer, file, { author: 'me' })
console.log(`
written to ${file}; in Python:
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0, batch_first=True)
    layer.load_state_dict(safetensors.torch.load_file('${file}'))
`)

// Any safetensors file can be looked at without loading it.
const opened = await readSafetensors(file)
const bytes = opened.names().reduce((sum, name) => sum + opened.info(name).end - opened.info(name).begin, 0)
console.log(`${opened.names().length} tensors, ${bytes} bytes, metadata ${JSON.stringify(opened.metadata)}`)
await opened.close()

// Another layer, with weights of its own until it loads the file. What does not fit throws, before anything is copied, and lists every key.
const other = new nn.TransformerEncoderLayer(options)
await nn.loadModule(other, file)
const difference = await scope(async () => {
  const x = normal([2, 5, 32]) // [B, T, C]
  return layer.eval().forward(x).sub(other.eval().forward(x)).max().item()
})
console.log(`largest difference between the two layers' outputs: ${difference}`)

const wrong = new nn.TransformerEncoderLayer({ ...options, dFeedForward: 128 })
await nn.loadModule(wrong, file).catch(error => console.log(`${error.code}: ${error.mismatched[0]}, …`))
for (const module of [layer, other, wrong]) module.dispose()
