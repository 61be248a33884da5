import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createClient, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { deployContracts } from '../src/chain/deploy.ts'
import { devAccount, devPrivateKey } from '../src/chain/dev-accounts.ts'
import { type Hex, toHex } from '../src/core/bytes.ts'
import { type Config, DEVNET_FILE } from '../src/core/config.ts'
import { DunesError, describeError } from '../src/core/error.ts'
import { createKey } from '../src/core/key-file.ts'
import type { Logger } from '../src/core/logger.ts'
import { connect } from '../src/graph/connect.ts'
import { readPosition } from '../src/graph/cursor.ts'
import { migrate } from '../src/graph/migrate.ts'
import {
  type PrivatePostgres,
  removePrivatePostgres,
  startPrivatePostgres,
} from '../src/graph/postgres-private.ts'
import { API_ROLE, ensureRoles } from '../src/graph/roles.ts'
import { makeQueryAccess } from '../src/query-access.ts'
import { DEVNET_POLICY, policyHash } from '../src/receipt/policy.ts'
import { DEFAULT_ANVIL_PORT, startAnvil } from './anvil.ts'

/** The devnet's log is named after what it is: nothing that leaves this machine. */
export const DEVNET_ORIGIN = 'dunes.localhost/devnet'
/** Seconds between blocks: what makes `finalized` and graces move on their own. */
const BLOCK_SECONDS = 1
/** Attestations of one side that settle a submission. */
const QUORUM = 3
/** Blocks after which a submission that nobody settles expires. */
const TTL_BLOCKS = 60
const EPOCH_SECONDS = 3_600
/** 1,000 units of the devnet's currency. */
const FUNDS = 10n ** 21n
/** Tables that the API's role may add to: payloads sent to it, signatures made on request, checkpoints of old sizes. */
const API_INSERTS = ['payload', 'receipt_signature', 'checkpoint'] as const

/** What one start of a devnet brought up. */
export interface Devnet {
  rpcUrl: string
  /** The indexer's connection, and the API's with fewer rights. */
  databaseUrl: string
  apiDatabaseUrl: string
  /** The connection for strangers' queries; null where the role for it could not be made on a database of somebody else's. */
  queryDatabaseUrl: string | null
  /** The contracts, deployed now or found from the last time. */
  contracts: DevnetContracts
  /** Whether the contracts were deployed by this start. */
  fresh: boolean
  /** Sends devnet currency to an account. */
  fund(account: Hex): Promise<void>
  /** Rejects when anvil or Postgres ends by itself. */
  broken: Promise<never>
  stop(): Promise<void>
}

export interface DevnetContracts {
  registry: Hex
  anchor: Hex
  startBlock: number
}

export interface DevnetOptions {
  config: Config
  /** TCP port of anvil. */
  anvilPort?: number
  /** The account that anchors, and those that attest. */
  anchorer: Hex
  validators: readonly Hex[]
  logger: Logger
  /** Told what is being done, in the present tense, and how long each step took. */
  progress: (step: string, ms: number) => void
}

const paths = (dataDir: string) => ({
  postgres: join(dataDir, 'postgres'),
  anvil: join(dataDir, 'anvil'),
  apiPassword: join(dataDir, 'keys', 'api-database.key'),
  devnet: join(dataDir, DEVNET_FILE),
})

/** Everything of a devnet but the keys goes, so that the next start begins again. */
export async function removeDevnet(dataDir: string, logger: Logger): Promise<void> {
  const { postgres, anvil, devnet } = paths(dataDir)
  await removePrivatePostgres(postgres, logger)
  for (const path of [
    anvil,
    devnet,
    join(dataDir, 'fleet', 'payloads'),
    join(dataDir, 'trust-policy.json'),
    // Says up to which leaf of the old log replaced keys are good.
    join(dataDir, 'keys', 'history.json'),
  ]) {
    rmSync(path, { recursive: true, force: true })
  }
}

/**
 * Brings up anvil, PostgreSQL (unless a database is set) and, the first time, the contracts. Throws with everything stopped again:
 * `PORT_BUSY`, `CHAIN_LOST` or `CHAIN_OLDER` where the chain is not the one that the database speaks of, and what starting throws.
 */
export async function startDevnet(options: DevnetOptions): Promise<Devnet> {
  const { config, logger } = options
  const at = paths(config.dataDir)
  mkdirSync(at.anvil, { recursive: true, mode: 0o700 })
  const started: { stop(): Promise<void> }[] = []
  const stop = async () => {
    for (const part of started.splice(0).reverse()) await part.stop()
  }
  const step = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const begun = performance.now()
    const value = await work()
    options.progress(what, performance.now() - begun)
    return value
  }
  try {
    const anvil = step('chain', async () => {
      const running = await startAnvil({
        port: options.anvilPort ?? DEFAULT_ANVIL_PORT,
        blockTime: BLOCK_SECONDS,
        stateFile: join(at.anvil, 'state.json'),
        logFile: join(at.anvil, 'anvil.log'),
        pidFile: join(at.anvil, 'anvil.pid'),
      })
      started.push(running)
      return running
    })
    const postgres = step('database', async () => {
      const running = config.databaseUrl
        ? null
        : await startPrivatePostgres({ dataDir: at.postgres, log: logger })
      if (running) started.push(running)
      const databaseUrl = config.databaseUrl ?? (running as PrivatePostgres).url
      await migrate(databaseUrl)
      return {
        running,
        databaseUrl,
        apiDatabaseUrl: running ? await apiAccess(databaseUrl, at.apiPassword) : databaseUrl,
        queryDatabaseUrl: await queryAccess(databaseUrl, config.dataDir, logger),
      }
    })
    // Both are awaited whatever happens to either, so that a failed start stops what the other one brought up.
    const [chain, database] = await both(anvil, postgres)
    const client = createClient({ transport: http(chain.url), pollingInterval: 50 })
    const fund = async (account: Hex) => {
      await client.request({
        method: 'anvil_setBalance',
        params: [account, `0x${FUNDS.toString(16)}`],
      } as never)
    }
    const known = readContracts(at.devnet)
    const contracts = known ?? (await step('contracts', () => deploy(client, options)))
    if (known) {
      await requireContracts(client, known)
      await requireIndexed(client, database.databaseUrl)
    }
    await fund(options.anchorer)
    const broken = Promise.race([
      chain.exited.then((why) =>
        Promise.reject(new DunesError('CHAIN_ENDED', `anvil ended: ${why}`, { exitCode: 3 })),
      ),
      database.running
        ? database.running.exited.then(() =>
            Promise.reject(new DunesError('DATABASE_ENDED', 'PostgreSQL ended by itself', { exitCode: 3 })),
          )
        : new Promise<never>(() => {}),
    ])
    broken.catch(() => {})
    return { rpcUrl: chain.url, ...database, contracts, fresh: !known, fund, broken, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function both<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  const [first, second] = await Promise.allSettled([a, b])
  if (first.status === 'rejected') throw first.reason
  if (second.status === 'rejected') throw second.reason
  return [first.value, second.value]
}

/** A connection URL for the API's own role, which can read everything and add to three tables. */
async function apiAccess(databaseUrl: string, passwordFile: string): Promise<string> {
  const password = existsSync(passwordFile)
    ? readFileSync(passwordFile, 'utf8').trim()
    : toHex(createKey(passwordFile))
  const sql = await connect(databaseUrl, { max: 1 })
  try {
    await ensureRoles(sql, { password, schemas: ['public', 'api'], insertInto: API_INSERTS })
  } finally {
    await sql.end({ timeout: 5 })
  }
  return databaseUrl.replace(/^(postgres(?:ql)?:\/\/)[^@/]*@/, `$1${API_ROLE}:${password}@`)
}

/** A connection URL for queries; null, with a word in the log, where this owner may not make the role. */
async function queryAccess(databaseUrl: string, dataDir: string, logger: Logger): Promise<string | null> {
  try {
    return await makeQueryAccess(databaseUrl, dataDir)
  } catch (error) {
    logger.warn({ error: describeError(error) }, 'could not make the role for queries; they are off')
    return null
  }
}

async function deploy(
  client: ReturnType<typeof createClient>,
  options: DevnetOptions,
): Promise<DevnetContracts> {
  const { registry, anchor, block } = await deployContracts({
    client,
    deployer: privateKeyToAccount(devPrivateKey(0)),
    admin: devAccount(0),
    anchorer: options.anchorer,
    validators: options.validators,
    origin: DEVNET_ORIGIN,
    policyHash: toHex(policyHash(DEVNET_POLICY)),
    quorum: QUORUM,
    ttl: TTL_BLOCKS,
    epochSeconds: EPOCH_SECONDS,
    pollingInterval: 50,
  })
  return { registry, anchor, startBlock: block }
}

function readContracts(path: string): DevnetContracts | null {
  if (!existsSync(path)) return null
  const { registry, anchor, startBlock } = JSON.parse(readFileSync(path, 'utf8')) as DevnetContracts
  return { registry, anchor, startBlock }
}

/** Makes sure that the chain still has the last block that the database calls final: anvil may have lost its newest blocks. */
async function requireIndexed(client: ReturnType<typeof createClient>, databaseUrl: string): Promise<void> {
  const sql = await connect(databaseUrl, { max: 1 })
  const position = await readPosition(sql).finally(() => sql.end({ timeout: 5 }))
  if (!position || position.final.number < 0) return
  const { number, hash } = position.final
  const block = (await client.request({
    method: 'eth_getBlockByNumber',
    params: [`0x${number.toString(16)}`, false],
  } as never)) as { hash: Hex } | null
  if (block?.hash === hash) return
  throw new DunesError(
    'CHAIN_OLDER',
    `the devnet's chain is older than its database, which has block ${number} as final`,
    {
      hint: 'anvil lost its newest blocks when it was stopped hard; begin again with `npm start -- --fresh`',
    },
  )
}

/** Writes what other commands of this folder need to find the devnet. Only the owner may read it: it holds a database password. */
export function writeDevnetFile(dataDir: string, settings: Readonly<Record<string, unknown>>): void {
  const { devnet } = paths(dataDir)
  const next = `${devnet}.new`
  writeFileSync(next, `${JSON.stringify(settings, null, 2)}\n`, { mode: 0o600 })
  renameSync(next, devnet)
}

async function requireContracts(
  client: ReturnType<typeof createClient>,
  { registry, anchor }: DevnetContracts,
): Promise<void> {
  for (const address of [registry, anchor]) {
    const code = (await client.request({
      method: 'eth_getCode',
      params: [address, 'latest'],
    } as never)) as Hex
    if (code.length > 2) continue
    throw new DunesError(
      'CHAIN_LOST',
      "the devnet's chain no longer has the contracts that were deployed on it",
      {
        hint: 'anvil keeps its chain only when it is stopped properly; begin again with `npm start -- --fresh`',
      },
    )
  }
}
