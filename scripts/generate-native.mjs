// Writes lib/native.generated.ts from the addon's schema, which the preprocessor made of native/core/ops.def.
// With --check: fails when the committed file is stale.
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const target = `${root}lib/native.generated.ts`
const ops = createRequire(import.meta.url)('node-gyp-build')(root).schema()

const camel = name => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase())
const pascal = name => camel(`_${name}`)

/** The TypeScript type of a field. */
const types = {
  in: 'Tensor',
  out: 'Tensor',
  acc: 'Tensor',
  'in?': 'Tensor | undefined',
  'out?': 'Tensor | undefined',
  'acc?': 'Tensor | undefined',
  'in[]': 'readonly Tensor[]',
  'acc[]': 'readonly Tensor[]',
  i32: 'number',
  f32: 'number',
  u64: 'number',
  counter: 'number',
}
const words = { u64: 2, counter: 2 }

const writers = {
  tensor: name => [`w[i++] = a.${name}.handle.index`],
  optional: name => [`w[i++] = a.${name} === undefined ? -1 : a.${name}.handle.index`],
  list: name => [`w[i++] = a.${name}.length`, `for (const tensor of a.${name}) w[i++] = tensor.handle.index`],
  i32: name => [`w[i++] = a.${name}`],
  f32: name => [`f[i++] = a.${name}`],
  wide: name => [`w[i++] = a.${name}`, `w[i++] = Math.floor(a.${name} / 0x100000000)`],
}
const writerOf = kind =>
  kind.endsWith('[]')
    ? writers.list
    : kind.endsWith('?')
      ? writers.optional
      : kind in words
        ? writers.wide
        : (writers[kind] ?? writers.tensor)

function emit(op) {
  const fields = op.fields.map(field => ({ kind: field.kind, name: camel(field.name) }))
  const lists = fields.filter(field => field.kind.endsWith('[]'))
  const fixed = 1 + fields.reduce((sum, field) => sum + (words[field.kind] ?? 1), 0)
  const size = [fixed, ...lists.map(list => `a.${list.name}.length`)].join(' + ')
  const first =
    fields.find(field => ['in', 'out', 'acc'].includes(field.kind)) ?? fields.find(field => ['in?', 'out?', 'acc?'].includes(field.kind))
  const device = `a.${first.name}${first.kind.endsWith('?') ? '!' : ''}.device`
  // Broken as biome breaks it.
  const line = `  let i = stream.begin(${size})`
  const sum = `    ${size},`.length <= 140 ? size : size.replaceAll(' + ', ' +\n      ')
  const begin = line.length <= 140 ? line : `  let i = stream.begin(\n    ${sum},\n  )`
  const floats = fields.some(field => field.kind === 'f32')
  return `export interface ${pascal(op.name)}Args {
${fields.map(field => `  ${field.name}${field.kind.endsWith('?') ? '?' : ''}: ${types[field.kind]}`).join('\n')}
}

export function ${camel(op.name)}(a: ${pascal(op.name)}Args): void {
  const stream = ${device}.commands
${begin}
  const w = stream.words
${floats ? '  const f = stream.floats\n' : ''}  w[i++] = ${op.id}
${fields
  .flatMap(field => writerOf(field.kind)(field.name))
  .map(line => `  ${line}`)
  .join('\n')}
  stream.end(i)
}
`
}

const names = (op, kinds) =>
  `[${op.fields
    .filter(field => kinds.includes(field.kind))
    .map(field => `'${camel(field.name)}'`)
    .join(', ')}]`
const text = `// Made by scripts/generate-native.mjs from native/core/ops.def. Do not edit: change ops.def, build, run \`npm run generate\`.
import type { Tensor } from './tensor.ts'

${ops.map(emit).join('\n')}
/** The tensors of each op by role, as ops.def states them. */
export const schema = {
${ops
  .map(
    op => `  ${camel(op.name)}: {
    id: ${op.id},
    inputs: ${names(op, ['in', 'in?'])},
    outputs: ${names(op, ['out', 'out?'])},
    accumulated: ${names(op, ['acc', 'acc?'])},
  },`,
  )
  .join('\n')}
} as const
`

if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== text) {
    console.error('lib/native.generated.ts is stale: run `npm run generate`')
    process.exit(1)
  }
} else {
  writeFileSync(target, text)
}
