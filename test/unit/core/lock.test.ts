import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { tryLock } from '../../../src/core/lock.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dunes-lock-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('one holder at a time, also within a process; a refused attempt does not weaken the lock', async () => {
  const path = join(folder, 'sub', 'lock')
  const lock = tryLock(path)
  expect(lock).not.toBeNull()
  expect(tryLock(path)).toBeNull()
  expect(await elsewhere(path)).toBe('refused')
  expect(statSync(path).mode & 0o777).toBe(0o600)
  lock?.release()
  lock?.release()
  expect(await elsewhere(path)).toBe('held')
})

test('the lock of a killed process is free at once', async () => {
  const path = join(folder, 'lock')
  const holder = spawn(process.execPath, [
    '--input-type=module',
    '-e',
    script(path, 'setInterval(() => {}, 1000)'),
  ])
  await new Promise((resolve) => holder.stdout.once('data', resolve))
  expect(tryLock(path)).toBeNull()
  const gone = new Promise((resolve) => holder.once('exit', resolve))
  holder.kill('SIGKILL')
  await gone
  const lock = tryLock(path)
  expect(lock).not.toBeNull()
  lock?.release()
})

const script = (path: string, then = '') => `
  const { tryLock } = await import(${JSON.stringify(new URL('../../../src/core/lock.ts', import.meta.url).href)})
  console.log(tryLock(${JSON.stringify(path)}) ? 'held' : 'refused')
  ${then}`

function elsewhere(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script(path)])
    child.stdout.once('data', (data) => resolve(String(data).trim()))
    child.once('error', reject)
  })
}
