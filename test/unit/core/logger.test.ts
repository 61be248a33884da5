import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createLogger, openLog } from '../../../src/core/logger.ts'

test('writes each line at once', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dunes-log-'))
  const path = join(folder, 'new', 'a.log')
  try {
    const logger = createLogger('info', openLog(path))
    logger.info({ n: 1 }, 'did it')
    logger.debug({}, 'not told')
    const [line, ...rest] = readFileSync(path, 'utf8').trimEnd().split('\n')
    expect(rest).toEqual([])
    expect(JSON.parse(line ?? '')).toMatchObject({ n: 1, msg: 'did it' })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

// A device that answers every write as a full disk does.
test.skipIf(process.platform !== 'linux')('loses lines, and not the process, where the disk is full', () => {
  const logger = createLogger('info', openLog('/dev/full'))
  for (let i = 0; i < 1_000; i++) logger.info({ i }, 'lost')
})

test('loses lines where nobody reads them any more', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dunes-log-'))
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK)
  try {
    const logger = createLogger('info', openLog(writer))
    const text = 'x'.repeat(40_000)
    // A pipe holds 64 KiB: the second line is cut off, and the third one waits in vain too.
    for (const n of [1, 2, 3]) logger.info({ n, text }, 'told')
    const taken = Buffer.alloc(70_000)
    const first = taken.subarray(0, readSync(reader, taken)).toString()
    expect(first.split('\n').map((line) => line.slice(0, 10))).toEqual(['{"level":3', '{"level":3'])
    logger.info({ n: 4 }, 'told')
    const last = taken.subarray(0, readSync(reader, taken)).toString()
    expect(JSON.parse(last.trim())).toMatchObject({ n: 4 })
    expect(last.startsWith('\n')).toBe(true)
    closeSync(reader)
    logger.info({ n: 5 }, 'lost')
  } finally {
    closeSync(writer)
    rmSync(folder, { recursive: true })
  }
})
