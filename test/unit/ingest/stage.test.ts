import { describe, expect, it } from 'vitest'
import { DunesError } from '../../../src/core/error.ts'
import { silentLogger } from '../../../src/core/logger.ts'
import { runStage } from '../../../src/ingest/stage.ts'

const refusal = (code: string) => Object.assign(new Error(`refused with ${code}`), { code })

/** Runs a stage whose first turns throw these, and then ends it. */
async function run(errors: unknown[]) {
  const stop = new AbortController()
  const troubles: (string | null)[] = []
  const waits: number[] = []
  const left = [...errors]
  await runStage(
    {
      name: 'test',
      clock: { now: () => 1, sleep: async (ms) => void waits.push(ms) },
      logger: silentLogger,
      trouble: (why) => troubles.push(why),
    },
    async () => {
      if (left.length === 0) stop.abort()
      else throw left.shift()
    },
    stop.signal,
  )
  return { troubles, waits }
}

describe('a stage', () => {
  it.each([
    ['a serialization failure', '40001'],
    ['a deadlock', '40P01'],
    ['a full disk', '53100'],
    ['no memory', '53200'],
    ['too many connections', '53300'],
    ['a lock that was not had in time', '55P03'],
    ['a statement that took too long', '57014'],
    ['an administrator’s shutdown', '57P01'],
    ['a crash', '57P02'],
    ['a server that starts', '57P03'],
    ['an I/O error', '58030'],
    ['a server that only reads', '25006'],
    ['a connection that broke', 'CONNECTION_CLOSED'],
    ['a connection that was reset', 'ECONNRESET'],
    ['a connection that timed out', 'ETIMEDOUT'],
  ])('survives %s, says so, and takes it back', async (_, code) => {
    const { troubles, waits } = await run([refusal(code), refusal(code)])
    expect(troubles.slice(0, 2).every((why) => why?.startsWith('test: '))).toBe(true)
    expect(troubles.at(-1)).toBeNull()
    expect(waits).toHaveLength(2)
    expect(waits.every((ms) => ms >= 0 && ms <= 5_000)).toBe(true)
  })

  it.each([
    ['a row that is there already', '23505'],
    ['a value that does not fit', '22003'],
    ['a column that is not there', '42703'],
    ['damaged data', 'XX001'],
  ])('ends at %s with what was refused and a way out', async (_, code) => {
    const error = Object.assign(refusal(code), {
      table_name: 'submission',
      constraint_name: 'submission_index_unique',
    })
    const end = run([error])
    await expect(end).rejects.toMatchObject({
      code: 'DATABASE_UNEXPECTED',
      exitCode: 3,
      retryable: false,
      message: `the database refused what the test stage wrote: refused with ${code} (SQLSTATE ${code})`,
      details: { stage: 'test', table: 'submission', constraint: 'submission_index_unique' },
    })
    await expect(end).rejects.toThrow(
      expect.objectContaining({ hint: expect.stringContaining('dunes fsck') }),
    )
  })

  it('ends at errors of its own as they are', async () => {
    const fatal = new DunesError('LOG_DIVERGED', 'no', { exitCode: 3 })
    await expect(run([fatal])).rejects.toBe(fatal)
    const fault = new TypeError('x is not a function')
    await expect(run([fault])).rejects.toBe(fault)
  })
})
