import type { TransactionSql } from 'postgres'
import { encodeFunctionData } from 'viem'
import { sensorRegistryAbi } from '../../src/chain/abi.ts'
import type { Hex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { ChainAuditor, subjectName } from '../../src/fsck/chain.ts'
import type { ChainAudit, ChainReport } from '../../src/fsck/chain-audit.ts'
import { rowCheck } from '../../src/fsck/chain-rows.ts'
import {
  auditDatabase,
  type DatabaseAudit,
  type DatabaseReport,
  readSubject,
} from '../../src/fsck/database.ts'
import { type CheckpointKey, readCheckpointKey } from '../../src/fsck/note.ts'
import { publishedInDatabase } from '../../src/fsck/published.ts'
import { ChainReader } from '../../src/fsck/rpc.ts'
import { Store } from '../../src/fsck/store.ts'
import type { Sql } from '../../src/graph/connect.ts'
import { readLogHead } from '../../src/graph/log-store.ts'
import { formatVkey } from '../../src/log/vkey.ts'
import { parseMaml } from '../../src/maml/parse.ts'
import { createPayloadFetcher } from '../../src/payload/fetch.ts'
import { type Indexer, reading, SIGNERS, type Station, until, type World } from './world.ts'

/** The keys that sign a test world's checkpoints, read as the auditor reads them. */
export const CHECKPOINT_KEYS = SIGNERS.map(
  (signer) => readCheckpointKey(formatVkey(signer.vkey)) as CheckpointKey,
)

/**
 * Submissions of every kind: accepted ones, some of several readings, a rejected, a duplicate, an expired one, unavailable
 * ones, refused and malformed ones, one that breaks the schema, old keys and new ones, and two that stay pending. Needs
 * three stations.
 */
export async function submitEveryKind(world: World): Promise<Record<string, Hex>> {
  const [first, second, third] = world.stations as [Station, Station, Station]
  const ids: Record<string, Hex> = {}
  const settle = async (name: string, station: Station, bytes: Uint8Array, uri?: string, valid = true) => {
    const id = await world.submit(station, bytes, uri)
    ids[name] = id
    await world.attest(id, valid)
  }
  let unique = 200
  const lost = () => world.payload(second, [reading('helium_002', ++unique)])
  const expiring = await world.submit(first, world.payload(first, [reading('helium_001', 300)]))
  ids['expired'] = expiring
  const good = world.payload(first, [reading('helium_001', 85)])
  await settle('good', first, good)
  await settle('repeated', first, good)
  await settle('disputed', second, world.payload(second, [reading('helium_002', 40)]), undefined, false)
  const many = [41, 42, 43].map((air, i) => ({
    ...reading('helium_002', air, `2025-10-01T23:3${i}:00.5Z`),
    temperature: air / 10,
  }))
  await settle('many', second, world.payload(second, many))
  // Kept where nobody looks, for a test that brings it back.
  const missing = lost()
  world.host.files.set('/kept', missing)
  await settle('missing', second, missing, `${world.host.url}/not-there`)
  await settle('refused', third, lost(), 'http://user:secret@example.org/x')
  await settle('schema', third, world.payload(third, [reading('helium_003', 9_999)]))
  await settle('other', third, world.payload(first, [reading('helium_001', 3)]))
  await settle('malformed', third, new TextEncoder().encode('no payload\n'))
  await settle('unsigned', third, parseMaml(world.payload(third, [reading('helium_003', 5)])).signedBytes)
  const rotated = new Uint8Array(32).fill(200)
  const before = world.payload(third, [reading('helium_003', 7)])
  await (await third.client.registerKey(rotated, mlDsa)).send()
  await settle('revoked', third, before)
  third.seed = rotated
  await settle('rotated', third, world.payload(third, [reading('helium_003', 8)]))
  await world.mine(60)
  const data = encodeFunctionData({ abi: sensorRegistryAbi, functionName: 'expire', args: [expiring] })
  await world.rpc('eth_sendTransaction', [{ from: first.client.account, to: world.contracts.registry, data }])
  ids['waiting'] = await world.submit(first, world.payload(first, [reading('helium_001', 86)]))
  ids['attested'] = await world.submit(second, world.payload(second, [reading('helium_002', 87)]))
  await (await (world.validators[0] as World['validators'][0]).attest(ids['attested'], true)).send()
  await world.mine(10)
  return ids
}

/** How many of {@link submitEveryKind}'s are settled. */
export const SETTLED = 13

/** Waits until `size` leaves are logged and, unless told otherwise, anchored. */
export const logged = (world: World, sql: Sql, size: number, indexer: Indexer, anchored = true) =>
  until(
    `${size} leaves`,
    async () => {
      const head = await readLogHead(sql)
      const [row] = await sql`select 1 from anchor, cursor where size = ${size} and block <= final_number`
      if (head.size === size && (row || !anchored)) return head
      await world.mine(1)
      return undefined
    },
    indexer,
  )

/** An audit within a transaction. */
export const audit = (tx: Sql | TransactionSql, more: Partial<DatabaseAudit> = {}): Promise<DatabaseReport> =>
  auditDatabase({
    db: tx as TransactionSql,
    mlDsa,
    clock: systemClock,
    checkpointKeys: [{ keys: CHECKPOINT_KEYS, toSize: null }],
    receiptKeys: [],
    ...more,
  })

/** An audit from a world's chain, with stored rows compared, up to the last block that the database knows as final. */
export async function auditChain(
  world: World,
  tx: Sql | TransactionSql,
  file: string,
  more: Partial<ChainAudit> = {},
): Promise<ChainReport> {
  const db = tx as TransactionSql
  const subject = await readSubject(db)
  const [cursor] = await db`select final_number from cursor`
  const upTo: number = cursor?.['final_number']
  const fetcher = createPayloadFetcher({ allowedPrivate: [world.host.url.slice('http://'.length)] })
  const store = new Store(file, subjectName(subject))
  try {
    let auditor: ChainAuditor | null = null
    auditor = new ChainAuditor({
      subject,
      chain: new ChainReader(world.rpcUrl, systemClock),
      upTo,
      fetchPayload: (request) => fetcher.fetch(request),
      published: await publishedInDatabase(db),
      store,
      rows: rowCheck(db, upTo, () => (auditor as ChainAuditor).findings),
      mlDsa,
      clock: systemClock,
      ...more,
    })
    const report = await auditor.run()
    store.clear()
    return report
  } finally {
    store.close()
  }
}
