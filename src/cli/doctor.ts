import { stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createClient, custom } from 'viem'
import { readContract } from 'viem/actions'
import { receiptAnchorAbi } from '../chain/abi.ts'
import { readDeployment } from '../chain/deployment.ts'
import { evmChain } from '../chain/ids.ts'
import { createRpc } from '../chain/rpc.ts'
import { fromHex, type Hex, toHex } from '../core/bytes.ts'
import { DunesError, describeError } from '../core/error.ts'
import { mlDsa } from '../core/ml-dsa-native.ts'
import { connect, type Sql } from '../graph/connect.ts'
import { type Deployment, readDeployment as readIndexed } from '../graph/cursor.ts'
import { readLogHead, requirePrefix } from '../graph/log-store.ts'
import { lastRestored } from '../graph/restored.ts'
import { keySource, ROLES, type Role } from '../keys.ts'
import { apiOf } from './client.ts'
import { type Action, explained, type Invocation } from './command.ts'
import { queryFindings } from './query-doctor.ts'
import { table } from './text.ts'

/** Below this much free space the database may not be able to finish a checkpoint. */
const FREE_BYTES = 1024 ** 3

interface Finding {
  check: string
  state: 'ok' | 'warning' | 'problem'
  found: string
  /** What to do; absent when all is well. */
  todo?: string
}

const ok = (check: string, found: string): Finding => ({ check, state: 'ok', found })
const problem = (check: string, found: string, todo: string): Finding => ({
  check,
  state: 'problem',
  found,
  todo,
})
const warning = (check: string, found: string, todo: string): Finding => ({
  check,
  state: 'warning',
  found,
  todo,
})

/** The ways out of a log that contradicts the chain: none of them signs a second history. */
const DIVERGED = [
  'This indexer signs and anchors nothing meanwhile.',
  'If another indexer anchors with the same key, stop one of the two.',
  'If this database is an old copy, or a row was changed by hand (`dunes fsck` names it): index again into an empty database, after',
  '`dunes restore` of the newest backup, export or mirror, which holds the statements that nobody can make again.',
  'If no such copy is left: `dunes deploy --successor-of`, then `dunes log close`, and index the successor.',
].join(' ')
/** What to do about a log that is shorter than the one that is anchored. */
const BEHIND =
  'wait while it catches up: nothing is signed until it has. If it never does, the payloads or statements of the missing leaves cannot be ' +
  'had again: `dunes restore` of a newer backup, export or mirror brings them'

const tried = async (
  { config }: Invocation,
  check: string,
  todo: string,
  work: () => Promise<Finding[]>,
): Promise<Finding[]> => {
  try {
    return await work()
  } catch (error) {
    const known = dunesError(explained(dunesError(error), config))
    return [problem(check, known?.message ?? describeError(error), known?.hint ?? todo)]
  }
}

/** The error of ours that a library may have wrapped in one of its own. */
function dunesError(error: unknown): DunesError | null {
  if (error instanceof DunesError) return error
  return error instanceof Error ? dunesError(error.cause) : null
}

/** Looks at everything that a deployment depends on and says what is wrong and what to do. Changes nothing. */
export const doctor: Action = async (call) => {
  const findings = [
    runtime(),
    ...(await keys(call)),
    ...(await tried(call, 'disk', 'free some space', () => disk(call))),
    ...(await tried(call, 'database', 'check DATABASE_URL, or start the devnet', () => database(call))),
    ...(await tried(call, 'queries', 'see docs/query.md', () => queryFindings(call))),
    ...(await tried(call, 'chain', 'check the RPC and the addresses of the contracts', () => chain(call))),
    ...(await tried(call, 'API', 'start it with `npm start`, `dunes start` or `dunes serve`', () =>
      api(call),
    )),
  ]
  const problems = findings.filter((finding) => finding.state === 'problem').length
  call.result({ ok: problems === 0, findings }, () =>
    table(
      findings.flatMap(({ check, state, found, todo }) => [
        [`${state.padEnd(8)} ${check}`, found] as const,
        ...(todo ? ([['         do', todo]] as const) : []),
      ]),
    ),
  )
  return problems === 0 ? 0 : 3
}

const runtime = (): Finding =>
  mlDsa.name === 'native'
    ? ok('runtime', `Node ${process.versions.node} with native ML-DSA`)
    : warning(
        'runtime',
        `Node ${process.versions.node} without native ML-DSA`,
        'run under the pinned Node: `npm ci` installs it',
      )

async function keys({ config, env }: Invocation): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const role of Object.keys(ROLES) as Role[]) {
    const { variable, file } = keySource(config, role)
    if (env[variable] || env[`${variable}_FILE`]) {
      findings.push(ok(`${role} key`, `from ${env[variable] ? variable : `${variable}_FILE`}`))
      continue
    }
    const mode = await stat(file).then(
      (found) => found.mode,
      () => null,
    )
    if (mode === null)
      findings.push(warning(`${role} key`, `none at ${file}`, 'needed to index: `dunes keys init` makes it'))
    else if ((mode & 0o077) !== 0)
      findings.push(problem(`${role} key`, `others can read ${file}`, `run: chmod 600 ${file}`))
    else findings.push(ok(`${role} key`, file))
  }
  return findings
}

async function disk({ config }: Invocation): Promise<Finding[]> {
  const folder = await stat(config.dataDir).then(
    () => config.dataDir,
    () => dirname(config.dataDir),
  )
  const { bavail, bsize } = await statfs(folder)
  const free = bavail * bsize
  const text = `${(free / 1024 ** 3).toFixed(1)} GiB free at ${folder}`
  return [
    free < FREE_BYTES
      ? warning('disk', text, 'free some space: PostgreSQL stops when the disk is full')
      : ok('disk', text),
  ]
}

async function database(call: Invocation): Promise<Finding[]> {
  const { databaseUrl } = call.config
  if (!databaseUrl)
    return [problem('database', 'none is set', 'set DATABASE_URL, or start a devnet with `npm start`')]
  const sql = await connect(databaseUrl, { max: 1, statementTimeout: 10_000 })
  try {
    const [row] =
      await sql`select current_setting('server_version') as version, to_regclass('cursor') is not null as migrated`
    const findings = [ok('database', `PostgreSQL ${row?.['version']}`)]
    if (row?.['migrated'] !== true)
      return [...findings, problem('migrations', 'the database is empty', 'run `dunes migrate`')]
    const indexed = await readIndexed(sql)
    findings.push(indexed ? owner(call, indexed) : warning('indexed', 'nothing yet', 'start the indexer'))
    if (indexed)
      findings.push(
        ...(await tried(call, 'log', 'see the chain check', () => log(call, sql, indexed.anchor))),
      )
    return findings
  } finally {
    await sql.end({ timeout: 5 })
  }
}

/** Whose index the database is, held against the contracts that the settings name. */
function owner({ config }: Invocation, { chain, registry, anchor }: Deployment): Finding {
  const found = `${chain}, registry ${registry}, anchor ${anchor}`
  const same = (set: string | undefined, is: Hex): boolean => !set || set.toLowerCase() === is
  if (same(config.registry, registry) && same(config.anchor, anchor) && chain === evmChain(config.chainId))
    return ok('indexed', found)
  return problem(
    'indexed',
    `${found}: another deployment than the settings name`,
    'correct chainId, registry and anchor, or give each deployment a database of its own',
  )
}

/** Holds the committed log against the head that the chain has. */
async function log({ config }: Invocation, sql: Sql, anchor: Hex): Promise<Finding[]> {
  const rpc = createRpc({ urls: config.rpcUrls, chainId: config.chainId })
  const client = createClient({
    transport: custom({ request: ({ method, params }) => rpc.call(method, params ?? []) }, { retryCount: 0 }),
  })
  const contract = { address: anchor, abi: receiptAnchorAbi } as const
  const [[root, size], [isClosed, successor, lastGood]] = await Promise.all([
    readContract(client, { ...contract, functionName: 'head' }),
    readContract(client, { ...contract, functionName: 'closure' }),
  ])
  const head = await readLogHead(sql)
  try {
    await requirePrefix(sql, head, { size: Number(size), root: fromHex(root, 32) })
  } catch (error) {
    if (error instanceof DunesError && error.code === 'LOG_BEHIND')
      return [warning('log', error.message, BEHIND)]
    if (error instanceof DunesError && error.code === 'LOG_DIVERGED')
      return [problem('log', error.message, DIVERGED)]
    throw error
  }
  const findings = await waiting(sql, head.size)
  if (isClosed)
    findings.push(
      warning(
        'log',
        `closed on-chain for good at size ${lastGood}; ${BigInt(successor) === 0n ? 'it has no successor' : `its successor is ${successor.toLowerCase()}`}`,
        'serve it with `dunes serve`; index its successor with --anchor and a database of its own',
      ),
    )
  return [
    ...findings,
    ok('log', `${head.size} leaves, root ${toHex(head.root)}; the ${size} anchored ones are its prefix`),
  ]
}

/** Entries that a restore brought back and whose submissions have not come round. */
async function waiting(sql: Sql, size: number): Promise<Finding[]> {
  const last = await lastRestored(sql)
  if (last < size) return []
  return [
    warning(
      'restored',
      `leaves ${size} to ${last} are restored and wait for their submissions`,
      'start the indexer, and let it catch up',
    ),
  ]
}

async function chain({ config }: Invocation): Promise<Finding[]> {
  const { registry, anchor, startBlock } = config
  const rpc = createRpc({ urls: config.rpcUrls, chainId: config.chainId })
  const head = Number(await rpc.call('eth_blockNumber', []))
  const findings = [ok('chain', `chain ${config.chainId} at ${rpc.endpoint()}, block ${head}`)]
  if (!registry || !anchor) {
    return [
      ...findings,
      warning('contracts', 'their addresses are not set', 'set registry, anchor and startBlock'),
    ]
  }
  const found = await readDeployment(rpc, { registry: registry as Hex, anchor: anchor as Hex, startBlock })
  return [...findings, ok('contracts', `origin ${found.origin}`)]
}

async function api({ config }: Invocation): Promise<Finding[]> {
  const status = await apiOf(config).call('getStatus', {})
  const text =
    status.settled === null
      ? 'no block indexed yet'
      : `${status.settled} settled, ${status.logged} logged, ${status.anchored} anchored`
  return [status.ready ? ok('API', text) : warning('API', text, status.reasons.join('; '))]
}
