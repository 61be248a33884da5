import { createRpc } from '../../src/chain/rpc.ts'
import type { Hex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { ensureQueryRole, QUERY_ROLE } from '../../src/graph/roles.ts'
import { formatVkey } from '../../src/log/vkey.ts'
import { checkpointSigner } from '../../src/service/checkpoint.ts'
import type { ServiceSettings } from '../../src/service/context.ts'
import { createQuerySessions } from '../../src/service/query-sessions.ts'
import { RECEIPT_KEY, startApi } from './api.ts'
import { type TestDatabase, testDatabase } from './postgres.ts'
import { asRole } from './query.ts'
import { ORIGIN, reading, SIGNERS, startIndexer, startWorld, until, type World } from './world.ts'

export interface Anchored {
  world: World
  database: TestDatabase
  /** What an API over it is given: it can prove, sign and query. */
  settings: Pick<ServiceSettings, 'sql' | 'deployment'> & Partial<ServiceSettings>
  /** Submissions: accepted ones, one that validators disputed, one without a payload, one that is waiting. */
  ids: Record<'good' | 'second' | 'disputed' | 'missing' | 'waiting', Hex>
  stop(): Promise<void>
}

/** A real chain whose submissions are indexed and anchored, all but the last one. */
export async function startAnchored(): Promise<Anchored> {
  const [world, database] = await Promise.all([startWorld(2), testDatabase({ max: 8 })])
  const { sql } = database
  const [first, second] = world.stations as [World['stations'][0], World['stations'][0]]
  const send = async (station: World['stations'][0], bytes: Uint8Array, uri?: string, valid = true) => {
    const id = await world.submit(station, bytes, uri)
    await world.attest(id, valid)
    return id
  }
  const good = await send(
    first,
    world.payload(first, [reading('helium_001', 85), reading('helium_001', 86, '2025-10-01T23:31:00Z')]),
  )
  const later = await send(second, world.payload(second, [reading('helium_002', 40, '2025-10-02T00:00:00Z')]))
  const disputed = await send(second, world.payload(second, [reading('helium_002', 1)]), undefined, false)
  const missing = await send(
    second,
    world.payload(second, [reading('helium_002', 2)]),
    `${world.host.url}/nowhere`,
  )
  await ensureQueryRole(sql, { password: 'a password of tests' })
  const queries = createQuerySessions(asRole(database.url, QUERY_ROLE, 'a password of tests'), silentLogger)
  const settings = {
    sql,
    deployment: world.deployment,
    rpc: createRpc({ urls: [world.rpcUrl], chainId: 31337 }),
    checkpointVkeys: SIGNERS.map((signer) => formatVkey(signer.vkey)),
    receiptKeys: [{ publicKey: RECEIPT_KEY.publicKey, fromIndex: 0, toIndex: null }],
    signCheckpoint: checkpointSigner(sql, ORIGIN, () => SIGNERS, systemClock),
    queries,
  }
  const api = await startApi(settings)
  const indexer = startIndexer(world, sql)
  await until(
    'all receipts to be anchored',
    async () => {
      const { items } = await api.json<{ items: unknown[] }>('/v1/submissions?state=anchored')
      if (items.length === 4) return true
      await world.mine(1)
      return undefined
    },
    indexer,
  )
  const waiting = await world.submit(first, world.payload(first, [reading('helium_001', 86)]))
  await until(
    'the last submission',
    async () => (await api.get(`/v1/submissions/${waiting}`)).ok || undefined,
    indexer,
  )
  await indexer.stop()
  await api.close()
  return {
    world,
    database,
    settings,
    ids: { good, second: later, disputed, missing, waiting },
    async stop() {
      await queries.end()
      await database.stop()
      await world.stop()
    },
  }
}
