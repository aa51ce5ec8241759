#!/usr/bin/env node
'use strict'
// prebuildify knows node-gyp only, and passes options that cmake-js takes for others: this translates (`prebuildify --node-gyp` runs it).
const { parseArgs } = require('node:util')
const { build } = require('./build-native.cjs')

const text = { type: 'string' }
const flag = { type: 'boolean' }
const options = { target: text, devdir: text, arch: text, release: flag, debug: flag, runtime: text, 'dist-url': text }
const { values } = parseArgs({ allowPositionals: true, strict: true, options })

// An incremental build: the objects are the same, only the libraries beside the addon are new. prebuildify takes those along.
build({ bundle: true, config: values.debug ? 'Debug' : 'Release', arch: values.arch })
