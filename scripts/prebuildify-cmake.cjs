#!/usr/bin/env node
'use strict'
// prebuildify knows node-gyp only, and passes options that cmake-js takes for others: this translates (`prebuildify --node-gyp` runs it).
const { spawnSync } = require('node:child_process')
const { parseArgs } = require('node:util')

const text = { type: 'string' }
const flag = { type: 'boolean' }
const options = { target: text, devdir: text, arch: text, release: flag, debug: flag, runtime: text, 'dist-url': text }
const { values } = parseArgs({ allowPositionals: true, strict: true, options })

// An incremental build: the objects are the same, only the libraries beside the addon are new. prebuildify takes those along.
const cmake = require.resolve('cmake-js/bin/cmake-js')
const common = ['--config', values.debug ? 'Debug' : 'Release', '--CDTILEWISE_BUNDLE=ON', ...(values.arch ? ['--arch', values.arch] : [])]
for (const step of ['configure', 'build']) {
  const { status } = spawnSync(process.execPath, [cmake, step, ...common], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
