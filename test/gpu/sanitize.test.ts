import { expect, it } from 'vitest'
import { findSanitizer, verdict } from './sanitize.ts'

it('passes only what has run to its end and found nothing', () => {
  const ran = '========= COMPUTE-SANITIZER\nsanitized: 40 of 900 programs\n========= ERROR SUMMARY: 0 errors\n'
  expect(verdict('memcheck', 0, ran)).toEqual({ tool: 'memcheck', state: 'passed', message: '40 of 900 programs' })
  expect(verdict('memcheck', 86, `${ran}========= Invalid __global__ write of size 4 bytes`)).toMatchObject({
    state: 'failed',
    message: expect.stringMatching(/^found errors\n(.|\n)*Invalid __global__ write/),
  })
  // Nothing found because nothing ran is no pass, and neither is a crash or a hang.
  expect(verdict('synccheck', 0, '========= ERROR SUMMARY: 0 errors\n').state).toBe('failed')
  expect(verdict('synccheck', 139, ran)).toMatchObject({ state: 'failed', message: expect.stringMatching(/^ended with 139/) })
  expect(verdict('initcheck', null, '').message).toMatch(/^ended with a signal/)
})

it('says where the checker cannot watch the GPU', () => {
  expect(verdict('memcheck', 1, 'x\n========= Error: Device not supported. Please refer to the list\ny')).toEqual({
    tool: 'memcheck',
    state: 'skipped',
    message: 'compute-sanitizer cannot run here: ========= Error: Device not supported. Please refer to the list',
  })
})

it('looks for the checker on the path', () => {
  expect(findSanitizer('/nowhere')?.startsWith('/nowhere')).not.toBe(true)
})
