import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromHex, type Hex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { mlDsa } from '../core/ml-dsa-native.ts'
import { ChainAuditor, readOrigin, subjectName } from '../fsck/chain.ts'
import type { ChainAudit, ChainReport } from '../fsck/chain-audit.ts'
import { rowCheck } from '../fsck/chain-rows.ts'
import { type AuditState, auditDatabase, type DatabaseReport, readSubject } from '../fsck/database.ts'
import type { FindingsState } from '../fsck/findings.ts'
import type { ReceiptKey } from '../fsck/leaf-context.ts'
import { type CheckpointKeySet, readCheckpointKey } from '../fsck/note.ts'
import { type Published, publishedAt, publishedInDatabase } from '../fsck/published.ts'
import type { Snapshot } from '../fsck/rows.ts'
import { ChainReader } from '../fsck/rpc.ts'
import { Store } from '../fsck/store.ts'
import type { Progress, Subject } from '../fsck/subject.ts'
import { connect } from '../graph/connect.ts'
import { createPayloadFetcher } from '../payload/fetch.ts'
import { parseTrustPolicy } from '../proof/trust-policy.ts'
import { apiUrlOf } from './client.ts'
import type { Action, Invocation, Options } from './command.ts'
import { stepLines } from './progress.ts'
import { readPolicy } from './prove.ts'
import { printable, table } from './text.ts'

/** Files in the data folder that an interrupted audit goes on from. */
const STATE_FILE = 'fsck.json'
const STORE_FILE = 'fsck.sqlite'
/** Differences and warnings that are listed without `--json`. */
const LISTED = 20

/** Rebuilds what a log stands on and compares. Exit code 1 when anything differs, 3 when something cannot be reached. */
export const fsck: Action = async (call, _args, options) => {
  const path = (name: string) => join(call.config.dataDir, name)
  if (options['restart'] === true)
    for (const name of [STATE_FILE, STORE_FILE, `${STORE_FILE}-wal`, `${STORE_FILE}-shm`])
      rmSync(path(name), { force: true })
  try {
    return options['fromChain'] === true ? await fromChain(call, options) : await fromDatabase(call, options)
  } catch (error) {
    if (!call.signal.aborted) throw error
    call.note('\nStopped. The next run goes on from here; --restart begins anew.\n')
    return 3
  }
}

async function fromDatabase(call: Invocation, options: Options): Promise<number> {
  const file = join(call.config.dataDir, STATE_FILE)
  const keys = await trustedKeys(call, options)
  const report = await inSnapshot(call, (db) =>
    auditDatabase({
      db,
      mlDsa,
      clock: call.clock,
      ...keys,
      progress: teller(call),
      state: readState(file),
      save: (state) => writeState(call.config.dataDir, file, state),
      signal: call.signal,
    }),
  )
  rmSync(file, { force: true })
  const onChain = await anchoredHead(call, report.subject)
  const contradicts = onChain !== null && onChain.size === report.size && onChain.root !== report.root
  const differences = report.findings.differences + (contradicts ? 1 : 0)
  call.result({ ok: differences === 0, ...report, onChain }, () =>
    renderDatabase(report, onChain, contradicts),
  )
  return differences === 0 ? 0 : 1
}

async function fromChain(call: Invocation, options: Options): Promise<number> {
  const { config } = call
  const url = typeof options['log'] === 'string' ? options['log'] : null
  const work = async (db: Snapshot | null): Promise<ChainReport> => {
    const chain = openChain(call)
    const upTo = await finalBlock(call, chain, db)
    const subject = await findSubject(call, chain, db, upTo)
    const keys = await trustedKeys(call, options)
    const published: Published = db
      ? await publishedInDatabase(db)
      : await publishedAt(url ?? apiUrlOf(config), subject.origin, keys.checkpointKeys, mlDsa)
    const { allowFile, ipfsGateways } = config
    const fetcher = createPayloadFetcher({ allowedPrivate: privateHosts(call), allowFile, ipfsGateways })
    mkdirSync(config.dataDir, { recursive: true })
    const store = new Store(
      join(config.dataDir, STORE_FILE),
      `${subjectName(subject)} ${db ? 'rows' : 'log'}`,
    )
    try {
      let auditor: ChainAuditor | null = null
      const audit: ChainAudit = {
        subject,
        chain,
        upTo,
        fetchPayload: (request) => fetcher.fetch(request),
        published,
        store,
        rows: db && rowCheck(db, upTo, () => (auditor as ChainAuditor).findings),
        mlDsa,
        clock: call.clock,
        progress: teller(call),
        signal: call.signal,
      }
      auditor = new ChainAuditor(audit)
      const report = await auditor.run()
      store.clear()
      return report
    } finally {
      store.close()
    }
  }
  const report = config.databaseUrl && url === null ? await inSnapshot(call, work) : await work(null)
  const isGood = report.counts.differs === 0 && report.findings.differences === 0
  call.result({ ok: isGood, ...report }, renderChain)
  return isGood ? 0 : 1
}

/** Runs `work` on one snapshot of the database. Throws `DATABASE_URL_MISSING` and what the driver throws. */
async function inSnapshot<T>(call: Invocation, work: (db: Snapshot) => Promise<T>): Promise<T> {
  const { databaseUrl } = call.config
  if (!databaseUrl)
    throw new DunesError('DATABASE_URL_MISSING', 'no database is set', {
      hint: 'set DATABASE_URL, or use --from-chain with --log URL',
    })
  const sql = await connect(databaseUrl, { max: 1, applicationName: 'dunes fsck' })
  try {
    return (await sql.begin('isolation level repeatable read read only', (tx) => work(tx as Snapshot))) as T
  } finally {
    await sql.end({ timeout: 5 })
  }
}

const openChain = ({ config, clock, signal }: Invocation): ChainReader =>
  new ChainReader(config.rpcUrls[0] as string, clock, signal)

/** The last block to audit: final on the chain, and applied as final where a database is compared. */
async function finalBlock(call: Invocation, chain: ChainReader, db: Snapshot | null): Promise<number> {
  const { confirmations, chainId } = call.config
  const found = await chain.chainId()
  if (found !== chainId)
    throw new DunesError('CHAIN_MISMATCH', `the endpoint serves chain ${found}, not ${chainId}`, {
      exitCode: 3,
    })
  const head = await chain.block(confirmations === undefined ? 'finalized' : 'latest')
  if (!head)
    throw new DunesError('FSCK_CHAIN_UNREACHABLE', 'the chain has no final block yet', { exitCode: 3 })
  const final = head.number - (confirmations ?? 0)
  const [cursor] = db ? await db`select final_number from cursor` : []
  return cursor ? Math.min(final, cursor['final_number']) : final
}

/** The deployment that the settings name, else the one that the database is an index of. Its origin is always the contract's. */
async function findSubject(
  { config }: Invocation,
  chain: ChainReader,
  db: Snapshot | null,
  upTo: number,
): Promise<Subject> {
  const { registry, anchor, chainId, startBlock } = config
  const named = registry && anchor ? { registry: registry as Hex, anchor: anchor as Hex, startBlock } : null
  const found = named ?? (db && (await readSubject(db)))
  if (!found)
    throw new DunesError('CONTRACTS_MISSING', 'the addresses of the contracts are not set', {
      hint: 'set registry, anchor and startBlock (flags, DUNES_REGISTRY ..., or dunes.config.json)',
    })
  return {
    chain: `eip155:${chainId}`,
    chainId,
    registry: found.registry,
    anchor: found.anchor,
    startBlock: found.startBlock,
    origin: await readOrigin(chain, found.anchor, upTo),
  }
}

/** A devnet of this folder hosts its payloads on private addresses; of others only those that the settings allow. */
function privateHosts({ config }: Invocation): string[] {
  const ours = config.sources['rpcUrls'] === 'running devnet'
  const devnet = ours ? [`127.0.0.1:${config.fleetPort}`, `127.0.0.1:${config.port}`] : []
  return [...new Set([...config.allowedPrivate, ...devnet])]
}

/** What the anchor contract holds in the newest block; null where the chain does not answer, which only the summary misses. */
async function anchoredHead(
  call: Invocation,
  { anchor }: Subject,
): Promise<{ size: number; root: Hex } | null> {
  try {
    const chain = openChain(call)
    const block = await chain.block('latest')
    return block && (await chain.anchored(anchor, block.number))
  } catch (error) {
    if (error instanceof DunesError && error.exitCode === 3) return null
    throw error
  }
}

/** Keys of the trust policy, where there is one. */
async function trustedKeys(
  call: Invocation,
  options: Options,
): Promise<{ checkpointKeys: CheckpointKeySet[]; receiptKeys: ReceiptKey[] }> {
  let bytes: Uint8Array
  try {
    ;({ bytes } = await readPolicy(call, options))
  } catch (error) {
    if (!(error instanceof DunesError && error.code === 'POLICY_MISSING')) throw error
    call.note(
      'No trust policy: signatures of checkpoints and receipts are not verified (--policy names one).\n',
    )
    return { checkpointKeys: [], receiptKeys: [] }
  }
  const policy = parseTrustPolicy(bytes)
  return {
    checkpointKeys: [
      { vkeys: policy.checkpointVkeys, toSize: null },
      ...(policy.retiredCheckpointVkeys ?? []),
    ].map(({ vkeys, toSize }) => ({ keys: vkeys.flatMap((line) => readCheckpointKey(line) ?? []), toSize })),
    receiptKeys: policy.receiptKeys.map(({ pub, fromIndex, toIndex }) => ({
      publicKey: fromHex(pub),
      fromIndex,
      toIndex,
    })),
  }
}

function readState(file: string): AuditState | null {
  if (!existsSync(file)) return null
  try {
    const state = JSON.parse(readFileSync(file, 'utf8')) as AuditState
    return state.v === 1 ? state : null
  } catch {
    // Half a file, or another program's: begin anew.
    return null
  }
}

function writeState(folder: string, file: string, state: AuditState): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${file}.new`, JSON.stringify(state))
  renameSync(`${file}.new`, file)
}

/** Tells progress now and then, with an estimate of what is left of the step. */
function teller(call: Invocation): (progress: Progress) => void {
  const tell = stepLines(call)
  return ({ step, done, total }) => tell(step, done, total)
}

const headText = (head: { size: number; root: Hex } | null): string =>
  head ? `${head.size} leaves, root ${head.root}` : 'the chain does not answer'

function renderDatabase(
  { counts, size, root, findings, resumedFrom, signaturesVerified }: DatabaseReport,
  onChain: { size: number; root: Hex } | null,
  contradicts: boolean,
): string {
  return [
    table([
      ['log', `${size} leaves, root ${root}`],
      ['on-chain', headText(onChain)],
      ['submissions', `${counts.submissions} settled, ${counts.pending} pending`],
      [
        'verdicts',
        `${counts.accepted} accepted, ${counts.rejected} rejected, ${counts.observed} of them unavailable`,
      ],
      ['payloads', `${counts.payloads} read, ${counts.readings} readings`],
      ['tiles', counts.tiles],
      ['checkpoints', `${counts.checkpoints}${signaturesVerified ? ', signatures verified' : ''}`],
      ['anchors', `${counts.anchors}, ${counts.anchoredRoots} roots rebuilt`],
      [
        'others',
        `${counts.edges} edges, ${counts.keys} keys, ${counts.schemas} schemas, ${counts.receiptSignatures} receipt signatures`,
      ],
      ...(resumedFrom > 0
        ? ([['resumed', `leaves below ${resumedFrom} were checked by an earlier run`]] as const)
        : []),
    ]),
    contradicts ? 'The root on-chain is another one at this size.\n' : '',
    renderFindings(findings),
  ].join('')
}

function renderChain({ counts, upTo, size, root, onChain, findings }: ChainReport): string {
  return [
    table([
      ['log', `${size} leaves, root ${root}`],
      ['on-chain', `${headText(onChain)}, at block ${upTo.number}`],
      ['reproduced', counts.reproduced],
      ['differs', counts.differs],
      ['not checkable', `${counts.notCheckable} (payload gone)`],
      ['observed', `${counts.observed} stated unavailable, ${counts.obtainable} of them obtainable now`],
      ['not logged', `${counts.notLogged} settled, ${counts.pending} pending`],
      ['chain', `${counts.events} events, ${counts.anchors} anchors`],
    ]),
    renderFindings(findings),
  ].join('')
}

function renderFindings({ differences, first, warnings, firstWarnings, byTable }: FindingsState): string {
  const lines = firstWarnings.slice(0, LISTED).map((text) => `warning: ${printable(text)}`)
  if (warnings > LISTED) lines.push(`... ${warnings} warnings in all`)
  for (const { table: name, row, field, expected, found } of first.slice(0, LISTED))
    lines.push(printable(`${name}, ${row}: ${field} is ${found}, rebuilt it is ${expected}`))
  const each = Object.entries(byTable).map(([name, count]) => `${count} in ${name}`)
  lines.push(differences === 0 ? 'Nothing differs.' : `${differences} differences: ${each.join(', ')}.`)
  return `${lines.join('\n')}\n`
}
