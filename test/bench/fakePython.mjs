#!/usr/bin/env node
// Stands for a Python with PyTorch: speaks bench/torch/protocol.py's protocol. Every iteration takes 1 ms; a twin that is called `memory.clip_grad_norm`
// kills the process while it is prepared, as a crash of PyTorch's would; after `memory.layer_norm` nothing works any more, as after a sticky CUDA error.
import { createInterface } from 'node:readline'

const answer = fields => process.stdout.write(`${JSON.stringify(fields)}\n`)
if (process.argv.includes('cuda')) {
  answer({ error: 'PyTorch sees no GPU' })
  process.exit(0)
}
answer({ torch: '9.9', device: 'a stand-in', cuda: '', cudnn: '' })
let lost = false
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  if (request.prepare === 'memory.clip_grad_norm') process.exit(3)
  lost ||= request.prepare === 'memory.layer_norm'
  if (lost) answer({ error: 'RuntimeError: CUDA error: an illegal memory access was encountered' })
  else if (request.prepare)
    answer({ way: 'best', ways: { best: 1000, other: 2000 }, refused: { third: 'RuntimeError: no' }, answers: [[1, 2, 3]] })
  else if (request.sample) answer({ milliseconds: new Array(request.sample).fill(1) })
  else answer({})
}
