import { type Hex, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { DunesError } from '../core/error.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { checkAnchors } from './anchors.ts'
import { checkEdges } from './edges.ts'
import { Findings, type FindingsState } from './findings.ts'
import type { Counts, ReceiptKey } from './leaf-context.ts'
import { BATCH, LeafPass } from './leaves.ts'
import type { CheckpointKeySet } from './note.ts'
import { checkReadingTables } from './reading-tables.ts'
import { checkStrayReadings } from './readings.ts'
import { checkKeys, checkOrigins, checkSchemas } from './registrations.ts'
import { PAGE, type Snapshot } from './rows.ts'
import { chainNumber, type Progress, type Subject } from './subject.ts'
import { checkSubmitted } from './submission.ts'
import { Tree, type TreeState, tileCount } from './tree.ts'

/** How often a long audit writes down how far it is, in milliseconds. */
const SAVE_MS = 5_000

/** An audit that was interrupted: every leaf below `next` had been looked at. */
export interface AuditState {
  readonly v: 1
  readonly subject: Subject
  readonly next: number
  readonly tree: TreeState
  readonly counts: Counts
  readonly findings: FindingsState
}

export interface DatabaseAudit {
  /** One snapshot: a transaction at `repeatable read`. */
  readonly db: Snapshot
  readonly mlDsa: MlDsa
  readonly clock: Clock
  /** Keys that may sign checkpoints and receipts; without them signatures are not verified. */
  readonly checkpointKeys: readonly CheckpointKeySet[]
  readonly receiptKeys: readonly ReceiptKey[]
  readonly progress?: (progress: Progress) => void
  /** What an earlier run saved; ignored where it is of another log or of a longer one. */
  readonly state?: AuditState | null
  readonly save?: (state: AuditState) => void
  readonly signal?: AbortSignal
}

export interface DatabaseReport {
  readonly subject: Subject
  readonly counts: Counts & { keys: number; schemas: number; edges: number; anchors: number; pending: number }
  readonly size: number
  readonly root: Hex
  /** Leaves that an earlier run had looked at. */
  readonly resumedFrom: number
  readonly signaturesVerified: boolean
  readonly findings: FindingsState
}

const noCounts = (): Counts => ({
  submissions: 0,
  leaves: 0,
  accepted: 0,
  rejected: 0,
  observed: 0,
  payloads: 0,
  readings: 0,
  tiles: 0,
  checkpoints: 0,
  anchoredRoots: 0,
  receiptSignatures: 0,
})

/** What the database says that it is an index of. Throws `FSCK_EMPTY` where it says nothing. */
export async function readSubject(db: Snapshot): Promise<Subject> {
  const [row] = await db`select * from deployment`
  if (!row)
    throw new DunesError('FSCK_EMPTY', 'the database is an index of nothing yet', {
      hint: 'start the indexer first, or check DATABASE_URL',
    })
  return {
    chain: row['chain'],
    chainId: chainNumber(row['chain']),
    registry: toHex(row['registry']),
    anchor: toHex(row['anchor']),
    origin: row['origin'],
    startBlock: row['start_block'],
  }
}

/**
 * Rebuilds everything that the database derives from submissions and payloads, and compares: see docs/fsck.md for what is
 * checked and what a database alone cannot show. Nothing is written. Memory is bounded whatever the size of the log. Throws
 * `FSCK_EMPTY`, the signal's reason, and what the driver throws.
 */
export async function auditDatabase(audit: DatabaseAudit): Promise<DatabaseReport> {
  const { db, mlDsa, clock, checkpointKeys, receiptKeys } = audit
  const progress = (step: string, done: number, total: number) => audit.progress?.({ step, done, total })
  const subject = await readSubject(db)
  const [sizes] = await db`
    select (select count(*) from leaf)::float8 as leaves, (select count(*) from submission where index is not null)::float8 as settled,
      (select count(*) from submission where index is null)::float8 as pending`
  const leafCount: number = sizes?.['leaves'] ?? 0
  const end = Math.max(leafCount, sizes?.['settled'] ?? 0)
  const resumable = audit.state && isSame(audit.state.subject, subject) && audit.state.next <= leafCount
  const state = resumable ? audit.state : null
  const findings = new Findings(state?.findings)
  const counts: Counts = state ? { ...state.counts } : noCounts()
  const tree = new Tree(state?.tree)
  const policies = (
    await db`select first_index::float8 as first, encode(hash, 'hex') as hash from leaf_policy order by first_index`
  ).map((row) => ({ firstIndex: row['first'] as number, hash: `0x${row['hash']}` as Hex }))
  const pass = new LeafPass(
    { db, subject, mlDsa, findings, counts, policies, checkpointKeys, receiptKeys, leafCount },
    tree,
  )

  let savedAt = clock.now()
  const from = state?.next ?? 0
  for (let next = from; next < end; ) {
    progress('submissions and leaves', next, end)
    const to = Math.min(next + BATCH, end)
    await pass.batch(next, to)
    next = to
    // What is beyond the log may still change, so that a later run looks at it again. After the last leaf nothing else is saved, and
    // whoever stops the audit in what follows does not lose the leaves.
    const isDue = audit.signal?.aborted === true || next === end || clock.now() - savedAt >= SAVE_MS
    if (next <= leafCount && isDue) {
      savedAt = clock.now()
      audit.save?.({ v: 1, subject, next, tree: tree.state(), counts, findings: findings.state() })
    }
    audit.signal?.throwIfAborted()
  }
  progress('submissions and leaves', end, end)
  await pass.partialTiles()
  await checkLog(db, tree, end, findings)
  const pending = await checkPending(pass, db, subject, findings, (done) =>
    progress('pending submissions', done, sizes?.['pending'] ?? 0),
  )
  const step = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    audit.signal?.throwIfAborted()
    progress(name, 0, 1)
    const result = await work()
    progress(name, 1, 1)
    return result
  }
  const anchors = await step('anchors', () => checkAnchors(db, subject, findings))
  const keys = await step('keys', () => checkKeys(db, subject, mlDsa, findings))
  const schemas = await step('schemas', () => checkSchemas(db, findings))
  await step('registrations', () => checkOrigins(db, findings))
  await step('reading tables', () => checkReadingTables(db, findings))
  await step('readings', () => checkStrayReadings(db, findings))
  await step('payloads', () => checkPayloads(db, findings))
  await step('blocks', () => checkBlocks(db, findings))
  const edges = await step('edges', () => checkEdges(db, findings))
  return {
    subject,
    counts: { ...counts, keys, schemas, edges, anchors, pending },
    size: tree.size,
    root: toHex(tree.root()),
    resumedFrom: from,
    signaturesVerified: checkpointKeys.length > 0,
    findings: findings.state(),
  }
}

const isSame = (a: Subject, b: Subject): boolean =>
  a.chain === b.chain && a.registry === b.registry && a.anchor === b.anchor && a.origin === b.origin

/** The log's head, and rows that stand outside of what the log has room for. */
async function checkLog(db: Snapshot, tree: Tree, end: number, findings: Findings): Promise<void> {
  const { size } = tree
  const [head] = await db`select size::text, root from log_head`
  if (head || size > 0) {
    findings.same('log_head', 'the head', 'size', String(size), head?.['size'])
    findings.same('log_head', 'the head', 'root', toHex(tree.root()), head ? toHex(head['root']) : undefined)
  }
  const strays = await db`
    select 'submission' as table, index::text as at from submission where index < 0 or index >= ${end}
    union all select 'leaf', index::text from leaf where index < 0 or index >= ${end}
    union all select 'checkpoint', size::text from checkpoint where size < 1 or size > ${size}
    union all select 'receipt_signature', index::text from receipt_signature where index < 0 or index >= ${end}
    order by 1, 2 limit ${PAGE}`
  for (const { table, at } of strays) findings.add(table, `at ${at}`, 'place', `within ${size} leaves`, at)
  const [tiles] = await db`select count(*)::float8 as count from tile`
  findings.same('tile', 'all', 'number of tiles', tileCount(size), tiles?.['count'])
  const [cursor] = await db`
    select c.final_number::text as final, (select max(settled_block) from leaf l join submission u on u.id = l.submission)::text as last,
      c.final_number < (select max(settled_block) from leaf l join submission u on u.id = l.submission) as wrong from cursor c`
  if (cursor?.['wrong'] === true)
    findings.add('cursor', 'the cursor', 'final_number', `from ${cursor['last']}`, cursor['final'])
  await checkNewestCheckpoint(db, size, findings)
  const [ahead] =
    await db`select count(*)::int as count, max(size)::text as size from anchor where size > ${size}`
  if (ahead?.['count'] > 0)
    findings.warn(
      `${ahead?.['count']} anchors, up to size ${ahead?.['size']}, are ahead of this log of ${size} leaves`,
    )
}

/** A log signs what it anchors before it anchors it, and its head as soon as it rests: neither may be missing. */
async function checkNewestCheckpoint(db: Snapshot, size: number, findings: Findings): Promise<void> {
  const [row] = await db`
    select (select max(size) from checkpoint)::float8 as signed, (select max(size) from anchor where size <= ${size})::float8 as anchored`
  const signed: number = row?.['signed'] ?? 0
  const anchored: number = row?.['anchored'] ?? 0
  if (anchored > signed)
    findings.add(
      'checkpoint',
      'the newest',
      'size',
      `at least ${anchored}, which is anchored`,
      signed || 'nothing',
    )
  else if (size > signed)
    findings.warn(
      `the newest checkpoint is of size ${signed}, the log has ${size} leaves: it is missing, or not signed yet`,
    )
}

async function checkPending(
  pass: LeafPass,
  db: Snapshot,
  subject: Subject,
  findings: Findings,
  progress: (done: number) => void,
): Promise<number> {
  let count = 0
  for (let after = '-1'; ; ) {
    const ids = await db`
      select id::text from submission where index is null and id > ${after}::bigint order by id limit ${PAGE}`
    const last = ids.at(-1)?.['id']
    if (last === undefined) break
    const rows = await pass.joined(
      db`u.index is null and u.id > ${after}::bigint and u.id <= ${last}::bigint`,
    )
    for (const joined of rows) checkSubmitted(joined, subject, findings)
    count += rows.length
    progress(count)
    after = last
  }
  const gaps = await db`
    select encode(c.account, 'hex') as account, count(*)::text as count, (max(u.nonce) + 1)::text as next
    from submission u join contributor c on c.id = u.contributor group by c.account
    having count(*) <> max(u.nonce) + 1 or min(u.nonce) < 0 order by 1 limit ${PAGE}`
  for (const { account, count: found, next } of gaps)
    findings.add('submission', `contributor 0x${account}`, 'number of submissions', next, found)
  return count
}

/** Every stored payload has the hash that it is stored under, also one that no submission refers to. */
async function checkPayloads(db: Snapshot, findings: Findings): Promise<void> {
  const wrong = await db`
    select encode(sha256, 'hex') as stored, encode(sha256(bytes), 'hex') as actual from payload
    where sha256 <> sha256(bytes) order by 1 limit ${PAGE}`
  for (const { stored, actual } of wrong)
    findings.add('payload', `0x${stored}`, 'sha256', `0x${actual}`, `0x${stored}`)
}

/** All that is said of one block agrees, and time never falls from block to block. */
async function checkBlocks(db: Snapshot, findings: Findings): Promise<void> {
  const rows = await db`
    with said as (
      select submitted_block as number, submitted_time as time, null as hash from submission
      union all select settled_block, settled_time, encode(settled_hash, 'hex') from submission where settled_block is not null
      union all select block, time, encode(block_hash, 'hex') from anchor
      union all select number, time, encode(hash, 'hex') from block),
    blocks as (
      select number, min(time) as low, max(time) as high, min(hash) as hash, max(hash) as other from said group by number),
    ordered as (select *, lag(high) over (order by number) as before from blocks)
    select number::text, low::text, high::text, before::text, hash, other,
      low <> high as times, hash <> other as hashes, before > low as falls
    from ordered where low <> high or hash <> other or before > low order by ordered.number limit ${PAGE}`
  for (const { number, low, high, before, hash, other, times, hashes, falls } of rows) {
    if (times) findings.add('block', number, 'time', low, high)
    if (hashes) findings.add('block', number, 'hash', `0x${hash}`, `0x${other}`)
    if (falls) findings.add('block', number, 'time', `from ${before}`, low)
  }
}
