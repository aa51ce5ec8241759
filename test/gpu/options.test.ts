import { expect, it } from 'vitest'
import { parse, UsageError } from './options.ts'

it('draws a seed from the clock, and takes one that is given', () => {
  expect(parse([], 5)).toMatchObject({ device: 'cuda', quick: false, sanitize: false, seed: 5, json: undefined, limit: 480 })
  expect(parse([], 2 ** 31 + 7)?.seed).toBe(7)
  expect(
    parse(['--seed', '42', '--device', 'simt', '--quick', '--sanitize', '--json', 'out.json', '--workers', '3', '--limit', '60']),
  ).toEqual({
    device: 'simt',
    quick: true,
    sanitize: true,
    seed: 42,
    json: 'out.json',
    workers: 3,
    limit: 60,
  })
})

it('refuses what it does not understand, by name', () => {
  expect(() => parse(['--device', 'cpu'])).toThrow("--device must be 'cuda' or 'simt', is 'cpu'")
  for (const seed of ['x', '', '-1', '1.5', '2147483648'])
    expect(() => parse([`--seed=${seed}`])).toThrow(`--seed must be an integer from 0 to 2^31 - 1, is '${seed}'`)
  expect(() => parse(['--workers', '0'])).toThrow('--workers must be an integer from 1')
  expect(() => parse(['--fast'])).toThrow(UsageError)
  expect(() => parse(['extra'])).toThrow(UsageError)
  expect(parse(['--help'])).toBeUndefined()
})
