import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { createClient, http } from 'viem'
import { readContract } from 'viem/actions'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { sensorRegistryAbi } from '../../src/chain/abi.ts'
import { toHex } from '../../src/core/bytes.ts'
import { databaseError } from '../../src/graph/connect.ts'
import { type LogHead, readLogHead } from '../../src/graph/log-store.ts'
import { canRetry } from '../../src/ingest/stage.ts'
import { dumpGraph } from '../support/dump.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { type Station, startIndexer, startWorld, until, type World } from '../support/world.ts'

// Indexers that die at any instant, and others that take over.

let world: World
beforeAll(async () => {
  world = await startWorld(2)
}, 60_000)
afterAll(() => world?.stop())

interface Process {
  child: ChildProcess
  /** What it last said of itself. */
  said(): string
  /** Ends it at once; resolves when it is gone. */
  kill(): Promise<void>
}

const running = new Set<Process>()
afterAll(() => Promise.all([...running].map((process) => process.kill())))

function startProcess(database: TestDatabase): Process {
  const { rpcUrl, deployment, host } = world
  const child = spawn(
    process.execPath,
    [
      fileURLToPath(new URL('../support/indexer-process.ts', import.meta.url)),
      database.url,
      JSON.stringify({ rpcUrl, deployment, host: { url: host.url } }),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  let said = ''
  child.stdout?.on('data', (text) => {
    said = String(text).trim().split('\n').at(-1) ?? ''
  })
  const gone = new Promise<void>((done) => child.once('exit', () => done()))
  const started: Process = {
    child,
    said: () => said,
    kill() {
      running.delete(started)
      child.kill('SIGKILL')
      return gone
    },
  }
  running.add(started)
  return started
}

let air = 0
async function send(): Promise<void> {
  const station = world.stations[air % 2] as Station
  const id = await world.submitReading(station, air++)
  await world.attest(id, air % 5 !== 0)
}

const settled = async (): Promise<number> =>
  Number(
    await readContract(createClient({ transport: http(world.rpcUrl) }), {
      address: world.deployment.registry,
      abi: sensorRegistryAbi,
      functionName: 'settledCount',
    }),
  )

/** Makes a block, unless the index has not come to the newest one yet: mining at each look would outrun it. */
async function mineAfter(head: number | undefined): Promise<void> {
  if ((head ?? 0) >= Number(await world.rpc<string>('eth_blockNumber'))) await world.mine(1)
}

/** Waits until all that is settled is logged. The first query after a lost session may still be told of the loss. */
const logged = (sql: TestDatabase['sql']) =>
  until('the whole log', async () => {
    const look = Promise.all([readLogHead(sql), settled(), sql`select head_number from cursor`])
    const [head, count, [row]] = await look.catch((error: unknown) => {
      if (canRetry(databaseError(error))) return [null, 0, []] as const
      throw error
    })
    if (head === null) return undefined
    if (head.size === count) return head
    await mineAfter(row?.['head_number'])
    return undefined
  })

/** Waits until the chain's newest block is applied and its anchors cover the log. */
const anchored = (sql: TestDatabase['sql'], { size }: LogHead) =>
  until('the anchor', async () => {
    const { hash } = await world.rpc<{ hash: string }>('eth_getBlockByNumber', ['latest', false])
    const [row] = await sql`
      select head_number, encode(head_hash, 'hex') as head, (select max(size) from anchor) as anchored from cursor`
    if (row && row['anchored'] === size && `0x${row['head']}` === hash) return true
    if (row?.['anchored'] !== size) await mineAfter(row?.['head_number'])
    return undefined
  })

test('killed again and again, loses nothing, does nothing twice and reaches the same root', async () => {
  const database = await testDatabase()
  const straight = await testDatabase({ max: 8 })
  try {
    let sending = true
    const sender = (async () => {
      while (sending) await send()
    })()
    // From before the first query to well into the work; the seed is the test's own, so that it can be run again.
    for (const ms of [400, 1_000, 600, 1_300]) {
      const victim = startProcess(database)
      await new Promise((done) => setTimeout(done, ms))
      await victim.kill()
    }
    sending = false
    await sender
    const last = startProcess(database)
    const head = await logged(database.sql)
    await anchored(database.sql, head)
    await last.kill()

    const reference = startIndexer(world, straight.sql, { anchor: null })
    const expected = await logged(straight.sql)
    await anchored(straight.sql, expected)
    await reference.stop()
    expect(head.size).toBeGreaterThan(3)
    expect(toHex(head.root)).toBe(toHex(expected.root))
    expect(await dumpGraph(database.sql)).toEqual(await dumpGraph(straight.sql))
    // What is said of a payload, and the payload itself, were committed with its verdict or before it.
    const [lost] = await database.sql`
      select count(*)::int as n from submission s where s.signed_sha256 is not null
        and not exists (select from payload p where p.sha256 = s.payload_sha256)`
    expect(lost?.['n']).toBe(0)
  } finally {
    await straight.stop()
    await database.stop()
  }
}, 120_000)

test('one of two indexers works, and the other takes over when the first is killed', async () => {
  const database = await testDatabase()
  try {
    const first = startProcess(database)
    await until('the first to lead', async () => (first.said() === 'leading' ? true : undefined))
    await send()
    await logged(database.sql)
    const second = startProcess(database)
    await until('the second to stand by', async () => (second.said() === 'standby' ? true : undefined))
    await send()
    await logged(database.sql)
    expect(second.said()).toBe('standby')
    const from = Date.now()
    await first.kill()
    await until('the second to lead', async () => (second.said() === 'leading' ? true : undefined))
    expect(Date.now() - from).toBeLessThan(5_000)
    await send()
    await logged(database.sql)
    await second.kill()
  } finally {
    await database.stop()
  }
}, 120_000)

test('seeks the lock anew when its session is ended, and goes on', async () => {
  const database = await testDatabase({ max: 8 })
  const indexer = startIndexer(world, database.sql, { anchor: null })
  try {
    await logged(database.sql)
    const holders = () => database.sql`
      select a.pid from pg_locks l join pg_stat_activity a using (pid)
      where l.locktype = 'advisory' and l.granted and a.datname = current_database()`
    const [holder] = await holders()
    await database.sql`select pg_terminate_backend(${holder?.['pid']})`
    const [next] = await until(
      'another session to hold the lock',
      async () => {
        const rows = await holders()
        return rows.length > 0 && rows[0]?.['pid'] !== holder?.['pid'] ? rows : undefined
      },
      indexer,
    )
    expect(next).toBeDefined()
    await send()
    await logged(database.sql)
    await until(
      'readiness',
      async () => (indexer.pipeline.readiness().length === 0 ? true : undefined),
      indexer,
    )
  } finally {
    await indexer.stop()
    await database.stop()
  }
}, 120_000)

test('waits for a database that goes away for a while, and says so', async () => {
  const database = await testDatabase({ max: 8 })
  const admin = await testDatabase()
  const name = new URL(database.url.replace(/^postgres:\/\/[^/]*/, 'postgres://x')).pathname.slice(1)
  const indexer = startIndexer(world, database.sql, { anchor: null })
  try {
    await logged(database.sql)
    await admin.sql.unsafe(`alter database "${name}" allow_connections false`)
    await admin.sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name}`
    await until(
      'the trouble',
      async () => (indexer.pipeline.readiness().length > 0 ? true : undefined),
      indexer,
    )
    // Longer than the lock is asked for.
    await new Promise((done) => setTimeout(done, 2_500))
    await admin.sql.unsafe(`alter database "${name}" allow_connections true`)
    await send()
    await logged(database.sql)
    await until(
      'readiness',
      async () => (indexer.pipeline.readiness().length === 0 ? true : undefined),
      indexer,
    )
  } finally {
    await admin.sql.unsafe(`alter database "${name}" allow_connections true`)
    await indexer.stop()
    await admin.stop()
    await database.stop()
  }
}, 120_000)
