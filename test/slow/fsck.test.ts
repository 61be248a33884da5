import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { TransactionSql } from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { run } from '../../src/cli/run.ts'
import { type Hex, sha256, toHex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import type { AuditState, DatabaseReport } from '../../src/fsck/database.ts'
import type { ReceiptKey } from '../../src/fsck/leaf-context.ts'
import { readLogHead } from '../../src/graph/log-store.ts'
import { signEntry } from '../../src/receipt/sign.ts'
import { startApi } from '../support/api.ts'
import { openShell } from '../support/cli.ts'
import { CHAIN_ONLY, corruptor, LOG_TABLES, OTHER_TABLES, seeded } from '../support/corrupt.ts'
import { audit, auditChain, logged, SETTLED, submitEveryKind } from '../support/fsck.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { reading, type Station, startIndexer, startWorld, until, type World } from '../support/world.ts'

let world: World
let database: TestDatabase
let ids: Record<string, Hex>
const folder = mkdtempSync(join(tmpdir(), 'dunes-fsck-'))
const store = join(folder, 'fsck.sqlite')
const SIZE = SETTLED + 1

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(3), testDatabase({ max: 8 })])
  ids = await submitEveryKind(world)
  const indexer = startIndexer(world, database.sql)
  await logged(world, database.sql, SETTLED, indexer)
  // A second checkpoint and a second anchor.
  const [, second] = world.stations as [Station, Station]
  ids['last'] = await world.submit(second, world.payload(second, [reading('helium_002', 44)]))
  await world.attest(ids['last'])
  await logged(world, database.sql, SIZE, indexer)
  await indexer.stop()
}, 120_000)

afterAll(async () => {
  await database?.stop()
  await world?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const UNDO = new Error('undo')
/** Carries a report out of a savepoint that is to be undone. */
class Done extends Error {
  readonly report: DatabaseReport
  constructor(report: DatabaseReport) {
    super('done')
    this.report = report
  }
}

/** Runs `work` after a statement whose effects nobody sees afterwards; answers null where the statement changed nothing. */
async function changed<T>(
  tx: TransactionSql,
  statement: string,
  work: (tx: TransactionSql) => Promise<T>,
): Promise<T | null> {
  let result: T | null = null
  await tx
    .savepoint(async (savepoint) => {
      const { count } = await savepoint.unsafe(statement)
      if (count > 0) result = await work(savepoint)
      throw UNDO
    })
    .catch((error) => {
      // 22 and 23: the database itself refuses such a row.
      if (error !== UNDO && !/^2[23]/.test(error.code ?? '')) throw error
    })
  return result
}

/** Makes random corruptions until `count` were looked at; answers those that `find` did not see, and how many were made of each table. */
async function missed(
  count: number,
  tables: readonly string[],
  find: (tx: TransactionSql, column: string) => Promise<number>,
  only?: readonly string[],
): Promise<{ out: string[]; made: Record<string, number> }> {
  const random = seeded(Number(process.env['SEED'] ?? 1))
  const out: string[] = []
  const made: Record<string, number> = {}
  await database.sql.begin(async (tx) => {
    const next = await corruptor(tx, random, tables, only)
    for (let looked = 0; looked < count; ) {
      const { table, column, statement } = next()
      const name = `${table}.${column}`
      const differences = await changed(tx, statement, (within) => find(within, name))
      if (differences === null) continue
      looked++
      made[table] = (made[table] ?? 0) + 1
      if (differences === 0) out.push(`${name}: ${statement}`)
    }
  })
  return { out, made }
}

/** Differences that an audit finds: of the database alone, and for what only the chain can show, from the chain. */
const differences = async (tx: TransactionSql, column: string): Promise<number> =>
  CHAIN_ONLY.includes(column)
    ? (await auditChain(world, tx, store)).findings.differences
    : (await audit(tx)).findings.differences

const inSnapshot = <T>(work: (tx: TransactionSql) => Promise<T>) =>
  database.sql.begin('isolation level repeatable read read only', work) as Promise<T>

describe('from the database', () => {
  it('finds nothing wrong with a log that the pipeline made', async () => {
    const head = await readLogHead(database.sql)
    const report = await inSnapshot((tx) => audit(tx))
    expect(report.findings.first).toEqual([])
    expect(report).toMatchObject({ size: SIZE, root: toHex(head.root), signaturesVerified: true })
    expect(report.counts).toMatchObject({
      submissions: SIZE,
      pending: 2,
      accepted: 4,
      observed: 1,
    })
  })

  it('finds each of 1,000 random corruptions of what the log is made of', async () => {
    const { out, made } = await missed(1_000, LOG_TABLES, differences)
    expect(out).toEqual([])
    for (const table of LOG_TABLES) expect(made[table], table).toBeGreaterThan(60)
  }, 600_000)

  it('finds each of 300 random corruptions of other tables', async () => {
    expect((await missed(300, OTHER_TABLES, differences)).out).toEqual([])
  }, 600_000)

  it('notices that the newest checkpoints are missing', async () => {
    const report = (statement: string) =>
      database.sql.begin((tx) => changed(tx, statement, (within) => audit(within)))
    const anchored = await report('delete from checkpoint where size = (select max(size) from checkpoint)')
    expect(anchored?.findings.first).toEqual([
      {
        table: 'checkpoint',
        row: 'the newest',
        field: 'size',
        expected: `at least ${SIZE}, which is anchored`,
        found: String(SETTLED),
      },
    ])
    const all = await report('delete from checkpoint')
    expect(all?.findings.first).toMatchObject([{ row: 'the newest', found: 'nothing' }])
    // One that nothing was anchored under may only not be signed yet.
    const unsigned = await database.sql.begin(async (tx) =>
      changed(tx, `delete from anchor where size = ${SIZE}`, (one) =>
        changed(one, `delete from checkpoint where size = ${SIZE}`, (within) => audit(within)),
      ),
    )
    expect(unsigned?.findings).toMatchObject({
      differences: 0,
      firstWarnings: [expect.stringContaining(`the newest checkpoint is of size ${SETTLED}`)],
    })
  })

  it('verifies receipt signatures by the keys that may sign at their index', async () => {
    const seed = new Uint8Array(32).fill(77)
    const publicKey = mlDsa.publicKey(65, seed)
    const report = (statement: string, receiptKeys: ReceiptKey[]) =>
      database.sql.begin(async (tx) => {
        const result = await tx
          .savepoint(async (within) => {
            const [row] = await within`select entry from leaf where index = 3`
            const signature = signEntry(new Uint8Array(row?.['entry']), seed, mlDsa)
            await within`insert into receipt_signature (index, key_id, signature) values (3, ${sha256(publicKey)}, ${signature})`
            await within.unsafe(statement)
            throw new Done(await audit(within, { receiptKeys }))
          })
          .catch((error: unknown) => error as Done)
        return (result as Done).report
      })
    const key = (fromIndex: number | null, toIndex: number | null) => ({ publicKey, fromIndex, toIndex })
    const good = await report('select 1', [key(3, 3)])
    expect([good.findings.first, good.counts.receiptSignatures]).toEqual([[], 1])
    const fields = async (statement: string, ...keys: ReceiptKey[]) =>
      (await report(statement, keys)).findings.first.map(({ row, field }) => `${row} ${field}`)
    expect(await fields('select 1', key(0, 2))).toEqual(['index 3 key_id'])
    expect(await fields('select 1', key(4, null))).toEqual(['index 3 key_id'])
    expect(
      await fields('select 1', { ...key(0, null), publicKey: mlDsa.publicKey(65, new Uint8Array(32)) }),
    ).toEqual(['index 3 key_id'])
    const flip =
      'update receipt_signature set signature = set_bit(signature, 900, 1 - get_bit(signature, 900))'
    expect(await fields(flip, key(0, null))).toEqual(['index 3 signature'])
    // Of a key that was replaced after another leaf, and by the one that came then.
    expect(
      await fields('select 1', key(0, 3), {
        ...key(0, null),
        publicKey: mlDsa.publicKey(65, new Uint8Array(32)),
      }),
    ).toEqual([])
    expect(await fields('update receipt_signature set index = 2', key(0, null))).toEqual([
      'index 2 signature',
    ])
  })

  it('names submission, field and both values', async () => {
    const id = ids['good'] as Hex
    const report = await database.sql.begin((tx) =>
      changed(
        tx,
        `update reading_helium_sensors set v_air_quality = 84 where submission = (select id from submission where submission_id = '\\${id.slice(1)}')`,
        (changed) => audit(changed),
      ),
    )
    expect(report?.findings.first).toEqual([
      {
        table: 'reading_helium_sensors',
        row: id,
        field: 'reading 0, v_air_quality',
        expected: '85',
        found: '84',
      },
    ])
  })

  it('goes on where an interrupted run was', async () => {
    const saved: AuditState[] = []
    // A clock on which every look is long after the last.
    let now = 0
    const clock = { now: () => (now += 60_000), sleep: async () => {} }
    const whole = await inSnapshot((tx) =>
      audit(tx, { clock, save: (state) => saved.push(structuredClone(state)) }),
    )
    expect(saved.map((state) => state.next)).toEqual([SIZE])
    const resumed = await inSnapshot((tx) => audit(tx, { state: saved[0] as AuditState }))
    expect(resumed).toEqual({ ...whole, resumedFrom: SIZE })
    const elsewhere = {
      ...(saved[0] as AuditState),
      subject: { ...whole.subject, origin: 'other.example/log' },
    }
    expect((await inSnapshot((tx) => audit(tx, { state: elsewhere }))).resumedFrom).toBe(0)
  })

  it('has written down the last leaf when it is interrupted in what comes after the leaves', async () => {
    const saved: AuditState[] = []
    const stop = new AbortController()
    const progress = ({ step }: { step: string }) => {
      if (step === 'anchors') stop.abort()
    }
    const stopped = inSnapshot((tx) =>
      audit(tx, { progress, signal: stop.signal, save: (state) => saved.push(state) }),
    )
    await expect(stopped).rejects.toMatchObject({ name: 'AbortError' })
    expect(saved.map((state) => state.next)).toEqual([SIZE])
  })
})

describe('from the chain', () => {
  it('reproduces every leaf, and the root that is anchored', async () => {
    const report = await inSnapshot((tx) => auditChain(world, tx, store))
    expect(report.findings.first).toEqual([])
    expect(report.counts).toMatchObject({
      reproduced: SIZE,
      differs: 0,
      notCheckable: 0,
      observed: 1,
      obtainable: 0,
      pending: 2,
    })
    expect(report.onChain).toEqual({ size: SIZE, root: report.root, settled: SIZE })
  })

  it('finds changes of columns that only the chain can show', async () => {
    const find = async (tx: TransactionSql) => (await auditChain(world, tx, store)).findings.differences
    for (const column of CHAIN_ONLY)
      expect((await missed(2, [column.split('.')[0] as string], find, [column])).out).toEqual([])
  }, 300_000)

  it('tells a payload that is gone from one that is not what the leaf says', async () => {
    const { files } = world.host
    const kept = new Map(files)
    files.clear()
    const gone = await inSnapshot((tx) => auditChain(world, tx, store))
    for (const [path, bytes] of kept) files.set(path, bytes)
    // A rejected and an expired one, one with a refused URI, and one that is stated to be unavailable.
    expect(gone.counts).toMatchObject({ reproduced: 4, differs: 0, notCheckable: SIZE - 4 })
    expect(gone.findings.differences).toBe(0)
    const altered = await database.sql.begin((tx) =>
      changed(
        tx,
        `update leaf set entry = convert_to(replace(convert_from(entry, 'utf8'), '"reason":null', '"reason":"STALE"'), 'utf8') where index = 0`,
        (changed) => auditChain(world, changed, store),
      ),
    )
    expect(altered?.counts).toMatchObject({ reproduced: SIZE - 1, differs: 1 })
    expect(altered?.findings.first[0]).toEqual({
      table: 'leaf',
      row: ids['good'],
      field: 'reason',
      expected: 'null',
      found: 'STALE',
    })
  })

  it('warns of a payload that is stated to be unavailable and can be had', async () => {
    world.host.files.set('/not-there', world.host.files.get('/kept') as Uint8Array)
    const report = await inSnapshot((tx) => auditChain(world, tx, store))
    world.host.files.delete('/not-there')
    expect(report.counts).toMatchObject({ reproduced: SIZE, observed: 1, obtainable: 1 })
    expect(report.findings).toMatchObject({ differences: 0, warnings: 1 })
  })

  it('goes on where an interrupted run was', async () => {
    const whole = await inSnapshot((tx) => auditChain(world, tx, store))
    const stop = new AbortController()
    const stopped = inSnapshot((tx) =>
      auditChain(world, tx, store, {
        signal: stop.signal,
        progress: ({ step }) => step === 'submissions and leaves' && stop.abort(),
      }),
    )
    await expect(stopped).rejects.toThrow()
    const report = await inSnapshot((tx) => auditChain(world, tx, store))
    expect(report).toEqual({ ...whole, resumedFrom: expect.any(Number) })
  })
})

describe('the command', () => {
  async function dunes(env: Record<string, string>, ...args: string[]) {
    const out: string[] = []
    const notes: string[] = []
    const terminal = {
      env: {
        DUNES_DATA_DIR: folder,
        DUNES_RPC_URLS: world.rpcUrl,
        DUNES_CHAIN_ID: '31337',
        DUNES_ALLOWED_PRIVATE: world.host.url.slice('http://'.length),
        ...env,
      },
      cwd: folder,
      clock: systemClock,
      signal: new AbortController().signal,
      out: (text: string) => void out.push(text),
      note: (text: string) => void notes.push(text),
      interactive: false,
      stdin: () => Readable.from([]),
    }
    const code = await run(['fsck', ...args], terminal)
    return { code, out: out.join(''), notes: notes.join('') }
  }

  it('says 0, prints the root beside the one on-chain, and says that it trusts no key', async () => {
    const { code, out, notes } = await dunes({ DATABASE_URL: database.url })
    const root = toHex((await readLogHead(database.sql)).root)
    // Once for the log, once for the chain.
    expect(out.split(`${SIZE} leaves, root ${root}`)).toHaveLength(3)
    expect(out).toContain('Nothing differs.')
    expect(notes).toContain('No trust policy')
    expect(code).toBe(0)
  })

  it('says 1 and names the difference', async () => {
    await database.sql`update tile set hashes = set_bit(hashes, 300, 1 - get_bit(hashes, 300))`
    const { code, out } = await dunes({ DATABASE_URL: database.url }, '--json')
    await database.sql`update tile set hashes = set_bit(hashes, 300, 1 - get_bit(hashes, 300))`
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({ ok: false, findings: { differences: 1, byTable: { tile: 1 } } })
  })

  it('audits from the chain with a database, or with nothing but the published log', async () => {
    const own = await dunes({ DATABASE_URL: database.url }, '--from-chain', '--json')
    expect(JSON.parse(own.out)).toMatchObject({ ok: true, counts: { reproduced: SIZE, differs: 0 } })
    expect(own.code).toBe(0)
    const api = await startApi({ sql: database.sql, deployment: world.deployment })
    try {
      const { registry, anchor, startBlock } = world.deployment
      const deployment = {
        DUNES_REGISTRY: registry,
        DUNES_ANCHOR: anchor,
        DUNES_START_BLOCK: String(startBlock),
      }
      const stranger = await dunes(deployment, '--from-chain', '--json', '--log', api.url)
      expect(JSON.parse(stranger.out)).toMatchObject({
        ok: true,
        counts: { reproduced: SIZE, differs: 0 },
        onChain: { size: SIZE, root: JSON.parse(own.out).root },
      })
      expect(stranger.code).toBe(0)
    } finally {
      await api.close()
    }
  })

  it('writes down how far it was when it is interrupted, and goes on from there', async () => {
    const shell = openShell({
      DATABASE_URL: database.url,
      DUNES_RPC_URLS: world.rpcUrl,
      DUNES_ALLOWED_PRIVATE: world.host.url.slice('http://'.length),
    })
    try {
      // Nobody may read tiles for now, so that the audit is in the middle of its first batch.
      let release = () => {}
      const held = new Promise<void>((resolve) => {
        release = resolve
      })
      const locked = database.sql.begin(async (tx) => {
        await tx`lock table receipt_signature in access exclusive mode`
        await held
      })
      const child = shell.start('fsck')
      const said: string[] = []
      child.stderr?.on('data', (chunk: Buffer) => said.push(chunk.toString()))
      const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
      await until('the audit to wait for the lock', async () => {
        const [row] = await database.sql`
          select 1 from pg_stat_activity where application_name = 'dunes fsck' and wait_event_type = 'Lock'`
        return row ? true : undefined
      })
      child.kill('SIGINT')
      release()
      await locked
      expect(await ended).toBe(3)
      expect(said.join('')).toContain('The next run goes on from here')
      const again = await shell.dunes('fsck')
      expect([again.code, again.stdout]).toEqual([
        0,
        expect.stringMatching(new RegExp(`resumed\\s+leaves below ${SIZE} were checked by an earlier run`)),
      ])
      expect((await shell.dunes('fsck', '--restart')).stdout).not.toContain('resumed')
    } finally {
      await shell.stop()
    }
  }, 60_000)

  it('says 3 where the chain cannot be reached, and 2 without a database', async () => {
    const away = await dunes(
      { DATABASE_URL: database.url, DUNES_RPC_URLS: 'http://127.0.0.1:9' },
      '--from-chain',
    )
    expect(away.notes).toContain('does not answer')
    expect(away.code).toBe(3)
    expect((await dunes({})).code).toBe(2)
  })
})
