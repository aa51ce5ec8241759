#!/usr/bin/env node
'use strict'
// Builds the addon: `npm run build:native`. TILEWISE_CUDA=ON or OFF in the environment says whether with the CUDA device; without it, the
// CUDA device is built where a driver can run it. Every run configures anew, so that no earlier choice sticks; objects are kept.
const { spawnSync } = require('node:child_process')

const cmake = require.resolve('cmake-js/bin/cmake-js')

/** Configures and builds, or ends the process with the failure's code. */
exports.build = function build({ bundle = false, config = 'Release', arch, target } = {}) {
  const cuda = process.env.TILEWISE_CUDA || 'AUTO'
  const common = ['--config', config, ...(arch ? ['--arch', arch] : [])]
  const run = (...args) => {
    const { status } = spawnSync(process.execPath, [cmake, ...args, ...common], { stdio: 'inherit' })
    if (status !== 0) process.exit(status ?? 1)
  }
  run('configure', `--CDTILEWISE_BUNDLE=${bundle ? 'ON' : 'OFF'}`, `--CDTILEWISE_CUDA=${cuda}`)
  run('build', ...(target ? ['--target', target] : []))
}

if (require.main === module) exports.build({ target: process.argv[2] })
