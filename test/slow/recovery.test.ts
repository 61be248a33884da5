import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { devAccount } from '../../src/chain/dev-accounts.ts'
import { type Hex, toHex } from '../../src/core/bytes.ts'
import type { Sql } from '../../src/graph/connect.ts'
import { readLogHead } from '../../src/graph/log-store.ts'
import { ensureReadingTable } from '../../src/graph/readings.ts'
import { parseSchemaFile } from '../../src/maml/schema.ts'
import { AnchorAdmin } from '../../src/service/anchor-admin.ts'
import { type TestDatabase, testDatabase } from '../support/postgres.ts'
import { type RunningDunes, runDunes } from '../support/running.ts'
import { reading, type Station, startWorld, until, type World } from '../support/world.ts'

let world: World
let database: TestDatabase
let dunes: RunningDunes
/** The submission whose payload nobody could have had. */
let observed: Hex
/** Payloads as they are hosted, so that they can be taken away and put back. */
const hosted = () => new Map(world.host.files)

/** Submits a payload that its host does not have; it is logged as unavailable after the grace. */
async function unavailable(air: number, path: string): Promise<Hex> {
  const station = world.stations[0] as Station
  const bytes = world.payload(station, [reading(station.sensor, air)])
  const id = await world.submit(station, bytes, `${world.host.url}${path}`)
  await world.attest(id)
  await until('the statement to be anchored', async () => {
    await world.mine(1)
    const answer = await fetch(`${dunes.api}/v1/submissions/${id}`)
    if (answer.status !== 200) return undefined
    const { state, observed: said } = (await answer.json()) as { state: string; observed: boolean }
    return state === 'anchored' && said ? true : undefined
  })
  // From now on anybody could have it: whoever makes the leaf again would make another one.
  world.host.files.set(path, bytes)
  return id
}

const head = async (sql: Sql) => {
  const { size, root } = await readLogHead(sql)
  return { size, root: toHex(root) }
}
/** Waits until the log of `sql` has `size` leaves and a checkpoint of them. */
const logged = (sql: Sql, size: number) =>
  until(`${size} leaves`, async () => {
    await world.mine(1)
    const [row] = await sql`select 1 from checkpoint where size = ${size}`
    return row ? head(sql) : undefined
  })
const refused = async (...args: string[]) => {
  const { code, stderr } = await dunes.shell.dunes(...args)
  return { code, stderr }
}
/** Runs what follows on another database. */
const use = (url: string) => {
  dunes.shell.env['DATABASE_URL'] = url
}

beforeAll(async () => {
  ;[world, database] = await Promise.all([startWorld(1), testDatabase({ migrated: false })])
  dunes = await runDunes(world, database.url)
  await dunes.up()
  await dunes.anchored(41)
  observed = await unavailable(42, '/late')
  const third = await dunes.anchored(43)
  await dunes.ask('prove', third, '-o', 'old.json')
}, 120_000)

afterAll(async () => {
  await dunes?.stop()
  await database?.stop()
  await world?.stop()
})

describe('a backup', () => {
  it('holds the log, payloads and signatures, and no key unless asked', async () => {
    const made = await dunes.ask('backup', 'copy')
    expect(made).toMatchObject({ size: 3, payloads: 2, receiptSignatures: 1, keys: 0 })
    expect(made['root']).toBe((await head(database.sql)).root)
    expect(existsSync(dunes.file('copy/keys'))).toBe(false)
    const everything = readFileSync(dunes.file('.dunes/keys/receipt.key'), 'utf8').trim().slice(2)
    for (const name of ['backup.json', 'checkpoints.jsonl', 'receipt-signatures.jsonl'])
      expect(readFileSync(dunes.file(`copy/${name}`), 'latin1'), name).not.toContain(everything)
    // The same again, byte for byte: what the hash of the manifest says.
    expect(await dunes.ask('backup', 'copy')).toMatchObject({ sha256: made['sha256'] })
    expect(await dunes.ask('backup', 'secret', '--with-keys')).toMatchObject({ keys: 3 })
    expect(readFileSync(dunes.file('secret/keys/receipt.key'), 'utf8')).toContain(everything)
    // A chain that is away keeps nobody from saving what is here.
    const away = await dunes.ask('backup', 'offline', '--rpc-urls', 'http://127.0.0.1:9')
    expect([away['size'], existsSync(dunes.file('offline/trust-policy.json'))]).toEqual([3, false])
    expect(await refused('restore', 'copy')).toEqual({
      code: 2,
      stderr: expect.stringContaining('an indexer is running on this database'),
    })
  })
})

describe('a restore', () => {
  let empty: TestDatabase
  /** Where the payloads were hosted that the copy has. */
  let copied: string[]
  /** Where the payload of the sixth leaf is hosted. */
  let newest: string
  beforeAll(async () => {
    // Two more leaves than the copy has, one of them a statement; and an export that has them.
    copied = [...world.host.files.keys()].filter((path) => path !== '/late')
    await dunes.anchored(44)
    await unavailable(45, '/later')
    await dunes.ask('export', 'site')
    await dunes.down()
    empty = await testDatabase({ migrated: false })
    use(empty.url)
  }, 180_000)
  afterAll(() => empty?.stop())

  const copyOf = (name: string, path: string, change: (bytes: Buffer) => Buffer | null) => {
    rmSync(dunes.file(name), { recursive: true, force: true })
    cpSync(dunes.file('copy'), dunes.file(name), { recursive: true })
    const changed = change(readFileSync(dunes.file(join(name, path))))
    if (changed) writeFileSync(dunes.file(join(name, path)), changed)
    else rmSync(dunes.file(join(name, path)))
  }
  const flip = (at: number) => (bytes: Buffer) => {
    const place = at < 0 ? bytes.length + at : at
    bytes[place] = (bytes[place] as number) ^ 1
    return bytes
  }

  it.each([
    ['an entry', 'tile/entries/000.p/3', flip(700), /backup is damaged|is no entry/],
    ['a missing bundle', 'tile/entries/000.p/3', () => null, /it is missing/],
    ['a payload', 'payloads/000.p/3', flip(-1), /has another hash/],
    ['the length of a payload', 'payloads/000.p/3', flip(34), /damaged/],
    ['a payload file cut short', 'payloads/000.p/3', (b: Buffer) => b.subarray(0, 40), /SHA-256/],
    ['an older checkpoint', 'checkpoints.jsonl', flip(60), /checkpoint/],
    ['no older checkpoint', 'checkpoints.jsonl', () => Buffer.alloc(0), /SHA-256/],
    ['a receipt signature', 'receipt-signatures.jsonl', flip(-30), /does not verify|damaged/],
    ['the newest checkpoint', 'checkpoint', flip(-20), /checkpoint is refused/],
    ['the manifest', 'backup.json', flip(4), /backup\.json/],
  ])('refuses a copy with damage in %s, and changes nothing', async (_, path, change, reason) => {
    copyOf('bad', path, change)
    const { code, stderr } = await refused('restore', 'bad')
    expect([code, stderr]).toEqual([1, expect.stringMatching(reason)])
    for (const table of ['restored_leaf', 'restored_checkpoint', 'payload', 'receipt_signature'])
      expect(await empty.sql`select 1 from ${empty.sql(table)} limit 1`, table).toEqual([])
  })

  it('refuses a log that is not the one that is anchored, and a copy of another one', async () => {
    const policy = JSON.parse(readFileSync(dunes.file('.dunes/trust-policy.json'), 'utf8'))
    writeFileSync(dunes.file('other.json'), JSON.stringify({ ...policy, origin: 'other.example/log' }))
    expect(await refused('restore', 'copy', '--policy', 'other.json')).toMatchObject({ code: 1 })
    writeFileSync(
      dunes.file('elsewhere.json'),
      JSON.stringify({ ...policy, registry: `0x${'99'.repeat(20)}` }),
    )
    expect(await refused('restore', 'copy', '--policy', 'elsewhere.json')).toEqual({
      code: 1,
      stderr: expect.stringContaining('of another registry'),
    })
    expect(await refused('restore', 'nothing')).toEqual({
      code: 1,
      stderr: expect.stringContaining('there is none'),
    })
    expect(await refused('restore', 'copy', '--data-dir', 'nowhere')).toMatchObject({ code: 2 })
  })

  it('brings an old copy back, and the indexer catches up as far as the chain and the payloads let it', async () => {
    const before = await head(database.sql)
    const kept = hosted()
    // The copy's own payloads are to be had nowhere else; that of the statement nobody should ask for.
    for (const path of copied) world.host.files.delete(path)
    expect(await dunes.ask('restore', 'copy', '--dry-run')).toMatchObject({
      dry_run: true,
      entries: 3,
      observed: 1,
    })
    expect(await empty.sql`select 1 from restored_leaf`).toEqual([])
    const restored = await dunes.ask('restore', 'copy')
    expect(restored).toMatchObject({ size: 3, before: 0, entries: 3, observed: 1, payloads: 2, anchored: 5 })
    expect((await dunes.shell.dunes('doctor')).stdout).toContain('nothing yet')
    await dunes.up(() => true)
    // The fifth leaf is a statement that the copy is too old for, and whose payload can be had now.
    const { code, stderr } = await dunes.ended()
    expect([code, stderr]).toEqual([
      3,
      expect.stringMatching(/the root of the first 5 leaves is .*, on-chain it is/),
    ])
    for (const [path, bytes] of kept) world.host.files.set(path, bytes)
    // Nothing was signed: the checkpoints are those of the copy.
    const notes = await empty.sql`select size, note from checkpoint order by size`
    expect(notes).toEqual(await database.sql`select size, note from checkpoint where size <= 3 order by size`)
    const told = await dunes.shell.dunes('doctor')
    expect(told.code).toBe(3)
    expect(told.stdout).toMatch(/problem {2}log\s+the root of the first 5 leaves/)
    for (const way of ['stop one of the two', 'dunes fsck', 'dunes restore', 'dunes log close'])
      expect(told.stdout).toContain(way)
    expect(await refused('restore', 'site')).toEqual({
      code: 1,
      stderr: expect.stringContaining('the database has another log: its root at size 5'),
    })
    expect((await head(database.sql)).root).toBe(before.root)
  }, 180_000)

  it('takes newer entries from an export, and goes on as if nothing had been', async () => {
    const again = await testDatabase({ migrated: false })
    use(again.url)
    try {
      expect(await dunes.ask('restore', 'copy')).toMatchObject({ entries: 3 })
      expect(await dunes.ask('restore', 'site')).toMatchObject({ entries: 5, observed: 2, payloads: 0 })
      await dunes.up()
      await logged(again.sql, 5)
      expect(await head(again.sql)).toEqual(await head(database.sql))
      const before = new Set(world.host.files.keys())
      const id = await dunes.anchored(46)
      newest = [...world.host.files.keys()].find((path) => !before.has(path)) as string
      await dunes.ask('prove', id, '-o', 'new.json')
      for (const bundle of ['old.json', 'new.json'])
        expect((await dunes.shell.dunes('verify', bundle, '--rpc', world.rpcUrl)).code, bundle).toBe(0)
      const item = await (await fetch(`${dunes.api}/v1/submissions/${observed}`)).json()
      expect(item).toMatchObject({ verdict: 'rejected', reason: 'PAYLOAD_UNAVAILABLE', observed: true })
      expect(
        await again.sql`select 1 from restored_leaf union all select 1 from restored_checkpoint`,
      ).toEqual([])
      const fsck = await dunes.shell.dunes('fsck')
      expect([fsck.code, fsck.stdout]).toEqual([0, expect.stringContaining('Nothing differs')])
    } finally {
      await dunes.down()
      await again.stop()
    }
  }, 180_000)

  it('restores a log whose payloads are gone from its entries alone', async () => {
    const again = await testDatabase({ migrated: false })
    const kept = hosted()
    use(again.url)
    try {
      await dunes.ask('restore', 'site')
      // The sixth leaf came after the export, and its payload must be somewhere.
      for (const path of kept.keys()) if (path !== newest) world.host.files.delete(path)
      await dunes.up(() => true)
      await logged(again.sql, 6)
      const rows = await again.sql`select verdict, observed from submission where index < 5 order by index`
      expect(rows).toEqual([
        { verdict: 'accepted', observed: false },
        { verdict: 'rejected', observed: true },
        { verdict: 'accepted', observed: false },
        { verdict: 'accepted', observed: false },
        { verdict: 'rejected', observed: true },
      ])
    } finally {
      for (const [path, each] of kept) world.host.files.set(path, each)
      await dunes.down()
      await again.stop()
    }
  }, 180_000)

  it('says which leaf an entry does not fit', async () => {
    const again = await testDatabase({ migrated: false })
    use(again.url)
    try {
      await dunes.ask('restore', 'site')
      // As if the program had changed its mind about what a leaf says.
      await again.sql`
        update restored_leaf set entry = convert_to(replace(convert_from(entry, 'utf8'), '"readings":1', '"readings":2'), 'utf8')
        where index = 2`
      await dunes.up(() => true)
      const { code, stderr } = await dunes.ended()
      expect([code, stderr]).toEqual([
        3,
        expect.stringMatching(/leaf 2 \(0x[0-9a-f]{64}\) is made with another readings/),
      ])
    } finally {
      await again.stop()
    }
  }, 180_000)
})

describe('the guards', () => {
  /** A copy of the first database as it is now, under a name of its own. */
  async function clone(): Promise<TestDatabase> {
    const copy = await testDatabase({ migrated: true })
    const tables = await database.sql`
      select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relkind = 'r' order by c.oid`
    await copy.sql.begin(async (tx) => {
      await tx`set local session_replication_role = replica`
      await tx`select setval('entity_id', ${(await database.sql`select last_value from entity_id`)[0]?.['last_value']}::bigint)`
      const [schema] = await database.sql`select schema from dataset_version limit 1`
      await ensureReadingTable(tx, 'helium_sensors', parseSchemaFile(new Uint8Array(schema?.['schema'])))
      for (const { name } of tables) {
        const rows = await database.sql`select to_jsonb(t)::text as row from ${database.sql(name)} t`
        for (const { row } of rows)
          await tx`insert into ${tx(name)} select * from jsonb_populate_record(null::${tx(name)}, ${row}::text::jsonb)`
      }
    })
    return copy
  }

  let copy: TestDatabase
  beforeAll(async () => {
    copy = await clone()
  })
  afterAll(() => copy?.stop())

  it('let a restored copy of an older database catch up and go on', async () => {
    use(copy.url)
    const doctor = await dunes.shell.dunes('doctor')
    expect(doctor.stdout).toContain('the chain has anchored 6 leaves, this log has 5')
    expect(doctor.stdout).toContain('wait while it catches up: nothing is signed until it has')
    await dunes.up()
    await logged(copy.sql, 6)
    await dunes.anchored(47)
    expect((await dunes.shell.dunes('doctor')).stdout).toContain('7 anchored ones are its prefix')
    await dunes.down()
  }, 180_000)

  // A changed head is mended by the next leaf, as the tree stands on its tiles: here none is waiting.
  it.each([
    ['the head', false, 'update log_head set root = set_bit(root, 3, 1 - get_bit(root, 3))'],
    [
      'a tile',
      true,
      'update tile set hashes = set_bit(hashes, 300, 1 - get_bit(hashes, 300)) where level = 0',
    ],
  ])(
    'sign and anchor nothing over a changed row of %s, and doctor says what to do',
    async (_, waits, change) => {
      use(copy.url)
      await copy.sql.unsafe(change)
      if (waits) {
        const station = world.stations[0] as Station
        const id = await world.submitReading(station, 60)
        await world.attest(id)
        await world.mine(3)
      }
      const checkpoints = await copy.sql`select * from checkpoint order by size`
      const nonce = await anchorNonce()
      await dunes.up(() => true)
      const { code, stderr } = await dunes.ended()
      expect([code, stderr]).toEqual([3, expect.stringMatching(/do not sign or anchor from this database/)])
      expect(await copy.sql`select * from checkpoint order by size`).toEqual(checkpoints)
      expect(await anchorNonce()).toBe(nonce)
      const doctor = await dunes.shell.dunes('doctor')
      expect([doctor.code, doctor.stdout]).toEqual([
        3,
        expect.stringMatching(/problem {2}log\s+the root of the first/),
      ])
      for (const way of ['dunes fsck', 'dunes restore', 'dunes log close'])
        expect(doctor.stdout).toContain(way)
      const fsck = await dunes.shell.dunes('fsck')
      expect([fsck.code, fsck.stdout]).toEqual([1, expect.stringMatching(/tile, level 0|log_head/)])
      await copy.sql.unsafe(change)
    },
    60_000,
  )

  it('stop the second of two indexers with one anchor key as soon as their logs part', async () => {
    const second = await testDatabase({ migrated: false })
    const kept = hosted()
    // The second one reads history on a day on which no payload can be had, and makes statements that the first did not.
    world.host.files.clear()
    use(second.url)
    try {
      const size = await anchoredSize()
      await dunes.up(() => true)
      const { code, stderr } = await dunes.ended()
      expect([code, stderr]).toEqual([3, expect.stringMatching(/the root of the first \d+ leaves is/)])
      expect(await second.sql`select 1 from checkpoint`).toEqual([])
      expect(await anchoredSize()).toBe(size)
      const doctor = await dunes.shell.dunes('doctor')
      expect(doctor.stdout).toContain('If another indexer anchors with the same key, stop one of the two.')
    } finally {
      for (const [path, bytes] of kept) world.host.files.set(path, bytes)
      await second.stop()
    }
  }, 180_000)
})

/** Leaves that the chain has anchored. */
async function anchoredSize(): Promise<number> {
  const { rpcUrl, deployment } = world
  return (
    await new AnchorAdmin({ rpcUrl, chainId: 31337, anchor: deployment.anchor, privateKey: null }).head()
  ).size
}

/** Transactions of the anchoring account. */
const anchorNonce = () => world.rpc('eth_getTransactionCount', [devAccount(1), 'latest'])
