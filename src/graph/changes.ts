import type { TransactionSql } from 'postgres'
import type { BlockRef } from '../chain/source.ts'
import { type Hex, toHex } from '../core/bytes.ts'
import type { Db } from './cursor.ts'
import { OUTCOMES } from './schema.ts'

/**
 * The feed of changes as it is stored. Every transaction that moves a submission from one state to another tells so here, as its
 * **last** statements: the row of `feed` is then held until the commit, so that ids come in the order of the commits, run without holes, and
 * a reader that has seen id n has seen all before it. Nothing else may be locked after it, or two transactions could wait for each other.
 */

/** The submission that a change is about. Hashes and accounts are lower-case 0x hex. */
export interface ChangeSubject {
  readonly submission: Hex
  readonly contributor: Hex
  readonly sensor: string
  readonly dataset: string
}

type Outcome = (typeof OUTCOMES)[number]

/** A change of one submission. `block` is where it was submitted or settled. */
export type SubmissionChange = ChangeSubject &
  (
    | { readonly kind: 'submitted'; readonly block: number }
    | {
        readonly kind: 'settled'
        readonly index: number
        readonly outcome: Outcome
        readonly block: number
      }
    | {
        readonly kind: 'judged'
        readonly index: number
        readonly verdict: 'accepted' | 'rejected'
        readonly reason: string | null
      }
    /** A reorganisation undid the settling, and with it the verdict: it is pending again. */
    | { readonly kind: 'unsettled'; readonly index: number; readonly block: number }
    /** A reorganisation undid the submission itself. */
    | { readonly kind: 'removed'; readonly block: number }
  )

/** A change of all settled submissions with the indices from `first` to `last`, both included. */
export type RangeChange = { readonly first: number; readonly last: number } & (
  | { readonly kind: 'final'; readonly block: number }
  | { readonly kind: 'logged' }
  | {
      readonly kind: 'anchored'
      readonly seq: number
      readonly size: number
      readonly root: Hex
      readonly block: number
    }
)

/** The blocks from above `block` up to `from` are off the chain; what that undid follows it. */
export interface RollbackChange {
  readonly kind: 'rolled_back'
  readonly block: number
  readonly hash: Hex
  readonly from: number
}

export type Change = SubmissionChange | RangeChange | RollbackChange
export type ChangeKind = Change['kind']

/** The kinds in the order of their numbers in the rows, which never change. */
export const CHANGE_KINDS = [
  'submitted',
  'settled',
  'judged',
  'final',
  'logged',
  'anchored',
  'rolled_back',
  'unsettled',
  'removed',
] as const satisfies readonly ChangeKind[]

/** Changes of one submission that share a row: a reader holds a few rows at a time. */
const ROW_CHANGES = 256
/** Submissions that one range speaks of at most. */
const RANGE_WIDTH = 10_000
/** Anchors told in one transaction: more than ever become final at once, but for a log that is read anew. */
const ANCHORS = 256

/** How many ids a change takes: one for each submission that it is about, so that they can also be told one by one. */
export const widthOf = (change: Change): number => ('first' in change ? change.last - change.first + 1 : 1)

/** Tells changes, in order. Call it last in the transaction that makes them true. */
export async function tell(tx: TransactionSql, changes: readonly Change[]): Promise<void> {
  if (changes.length === 0) return
  const rows = rowsOf(changes)
  const total = rows.at(-1)?.upTo as number
  await tx`
    with f as (
      insert into feed as f (last) values (${total})
      on conflict (singleton) do update set last = f.last + excluded.last returning f.last)
    insert into change (last, count, items)
    select f.last - ${total}::bigint + r.up_to, r.count, r.items
    from f, unnest(${rows.map((row) => row.upTo)}::bigint[], ${rows.map((row) => row.count)}::bigint[],
                   ${rows.map((row) => row.items)}::text[]) as r(up_to, count, items)`
}

interface NewRow {
  /** Ids up to this row's end, counted from the first of this call. */
  upTo: number
  count: number
  items: string
}

function rowsOf(changes: readonly Change[]): NewRow[] {
  const rows: NewRow[] = []
  let upTo = 0
  for (let i = 0; i < changes.length; i += ROW_CHANGES) {
    const some = changes.slice(i, i + ROW_CHANGES)
    const count = some.reduce((sum, change) => sum + widthOf(change), 0)
    upTo += count
    rows.push({ upTo, count, items: JSON.stringify(some.map(pack)) })
  }
  return rows
}

/**
 * Tells what has become final, was logged or was anchored since it was last told. Call it last in a transaction that moves finality or
 * the log: whoever comes second waits here for the first, and then sees what it did, so that no index is passed over by both.
 */
export async function tellProgress(tx: TransactionSql): Promise<void> {
  const read = () =>
    Promise.all([
      tx`select final, logged, anchored from feed for update`,
      tx`
        select c.final_number as block,
               (select index from submission where index >= f.final and settled_block > c.final_number order by index limit 1) as unfinal,
               (select coalesce(max(index) + 1, 0) from submission)::bigint as settled,
               coalesce((select size from log_head), 0)::bigint as logged
        from cursor c, feed f`,
    ])
  let [[told], [row]] = await read()
  if (!told) {
    await tx`insert into feed default values on conflict do nothing`
    ;[[told], [row]] = await read()
  }
  const { final, logged, anchored } = told as unknown as Record<'final' | 'logged' | 'anchored', number>
  if (!row) return
  const now = { final: row['unfinal'] ?? row['settled'], logged: row['logged'] }
  const block = row['block'] as number
  const changes: Change[] = [
    ...ranges(final, now.final).map((range) => ({ kind: 'final' as const, ...range, block })),
    ...ranges(logged, now.logged).map((range) => ({ kind: 'logged' as const, ...range })),
  ]
  let covered = anchored
  if (covered < now.logged) {
    const anchors = await tx`
      select seq, size, root, block from anchor where size > ${anchored} and block <= ${block} order by seq limit ${ANCHORS}`
    for (const a of anchors) {
      // An anchor may cover more than a log that is being read anew has so far.
      const end = Math.min(a['size'], now.logged)
      const facts = {
        kind: 'anchored' as const,
        seq: a['seq'],
        size: a['size'],
        root: toHex(a['root']),
        block: a['block'],
      }
      changes.push(...ranges(covered, end).map((range) => ({ ...facts, ...range })))
      covered = Math.max(covered, end)
    }
  }
  if (changes.length === 0) return
  await Promise.all([
    tx`
      update feed set final = ${Math.max(final, now.final)}, logged = ${Math.max(logged, now.logged)}, anchored = ${covered}`.execute(),
    tell(tx, changes),
  ])
}

/** The indices from `from` up to but without `to`, in pieces. */
function ranges(from: number, to: number): { first: number; last: number }[] {
  const out: { first: number; last: number }[] = []
  for (let first = from; first < to; first += RANGE_WIDTH)
    out.push({ first, last: Math.min(first + RANGE_WIDTH, to) - 1 })
  return out
}

/** What a rollback to `to` is about to undo. Call it before anything is undone, and tell it after. */
export async function readUndone(tx: TransactionSql, to: BlockRef): Promise<Change[]> {
  const [head] = await tx`select head_number from cursor`
  const rows = await tx`
    select u.submission_id, c.account, s.name as sensor, d.name as dataset, u.index, u.settled_block, u.submitted_block
    from submission u
    join contributor c on c.id = u.contributor join sensor s on s.id = u.sensor join dataset d on d.id = u.dataset
    where u.settled_block > ${to.number} or u.submitted_block > ${to.number}
    order by u.index desc nulls last, u.id desc`
  const subjectOf = (row: (typeof rows)[number]): ChangeSubject => ({
    submission: toHex(row['submission_id']),
    contributor: toHex(row['account']),
    sensor: row['sensor'],
    dataset: row['dataset'],
  })
  const unsettled = rows
    .filter((row) => row['index'] !== null)
    .map(
      (row): Change => ({
        kind: 'unsettled',
        ...subjectOf(row),
        index: row['index'],
        block: row['settled_block'],
      }),
    )
  const removed = rows
    .filter((row) => row['submitted_block'] > to.number)
    .map((row): Change => ({ kind: 'removed', ...subjectOf(row), block: row['submitted_block'] }))
  return [
    { kind: 'rolled_back', block: to.number, hash: to.hash, from: head?.['head_number'] ?? to.number },
    ...unsettled,
    ...removed,
  ]
}

/** Forgets the oldest changes beyond `keep`, a bounded number of rows in one call; answers how many rows. */
export async function forgetChanges(sql: Db, keep: number): Promise<number> {
  const gone = await sql`
    delete from change where last in (
      select last from change where last <= (select last from feed) - ${keep}::bigint order by last limit 1000)`
  return gone.count
}

/** Gives the feed another name, so that ids given out before are refused: for a database that was restored. */
export async function renameFeed(sql: Db): Promise<void> {
  await sql`update feed set name = left(gen_random_uuid()::text, 8)`
}

/** Where the feed stands. `last` is 0 before the first change. */
export interface FeedHead {
  readonly name: string
  readonly last: number
}

export interface ChangeRow {
  /** Ids of the row's first and last change. */
  readonly first: number
  readonly last: number
  readonly changes: readonly Change[]
  readonly toldAt: Date
}

/** The feed's head. */
export async function readFeedHead(sql: Db): Promise<FeedHead> {
  const [row] = await sql`select name, last from feed`
  return row ? { name: row['name'], last: row['last'] } : { name: '', last: 0 }
}

/** The first `limit` rows with an id above `after`, in order, and the head of the same moment. */
export async function readChangeRows(
  sql: Db,
  after: number,
  limit: number,
): Promise<{ head: FeedHead; rows: ChangeRow[] }> {
  const rows = await sql`
    select f.name, f.last as newest, c.last, c.count, c.items, c.told_at
    from feed f left join lateral (select * from change where last > ${after} order by last limit ${limit}) c on true
    order by c.last`
  const [first] = rows
  return {
    head: first ? { name: first['name'], last: first['newest'] } : { name: '', last: 0 },
    rows: rows
      .filter((row) => row['last'] !== null)
      .map((row) => ({
        first: row['last'] - row['count'] + 1,
        last: row['last'],
        changes: (JSON.parse(row['items']) as Packed[]).map(unpack),
        toldAt: row['told_at'],
      })),
  }
}

/** Id before the oldest change that is kept: where a reader begins that has seen nothing. */
export async function readOldest(sql: Db): Promise<number> {
  const [row] = await sql`
    select coalesce((select last - count from change order by last limit 1), (select last from feed), 0)::bigint as before`
  return row?.['before'] as number
}

/** A change in a row: the number of its kind, then its values. Hex goes without its prefix. */
type Packed = readonly [number, ...(string | number | null)[]]

const bare = (hex: Hex): string => hex.slice(2)

function pack(change: Change): Packed {
  const kind = CHANGE_KINDS.indexOf(change.kind)
  switch (change.kind) {
    case 'submitted':
    case 'removed':
      return [kind, ...packSubject(change), change.block]
    case 'settled':
      return [kind, ...packSubject(change), change.block, change.index, OUTCOMES.indexOf(change.outcome)]
    case 'judged':
      return [kind, ...packSubject(change), change.index, change.reason]
    case 'unsettled':
      return [kind, ...packSubject(change), change.block, change.index]
    case 'final':
      return [kind, change.first, change.last, change.block]
    case 'logged':
      return [kind, change.first, change.last]
    case 'anchored':
      return [kind, change.first, change.last, change.seq, change.size, bare(change.root), change.block]
    case 'rolled_back':
      return [kind, change.block, bare(change.hash), change.from]
  }
}

const packSubject = ({ submission, contributor, sensor, dataset }: ChangeSubject) =>
  [bare(submission), bare(contributor), sensor, dataset] as const

function unpack([number, ...values]: Packed): Change {
  const kind = CHANGE_KINDS[number]
  // Only `pack` writes rows.
  const v = values as never[]
  const subject = (): ChangeSubject => ({
    submission: `0x${v[0]}`,
    contributor: `0x${v[1]}`,
    sensor: v[2] as never,
    dataset: v[3] as never,
  })
  const at = (i: number): number => v[i] as never
  switch (kind) {
    case 'submitted':
    case 'removed':
      return { kind, ...subject(), block: at(4) }
    case 'settled':
      return { kind, ...subject(), block: at(4), index: at(5), outcome: OUTCOMES[at(6)] as Outcome }
    case 'judged': {
      const reason = v[5] as unknown as string | null
      return {
        kind,
        ...subject(),
        index: at(4),
        verdict: reason === null ? 'accepted' : 'rejected',
        reason,
      }
    }
    case 'unsettled':
      return { kind, ...subject(), block: at(4), index: at(5) }
    case 'final':
      return { kind, first: at(0), last: at(1), block: at(2) }
    case 'logged':
      return { kind, first: at(0), last: at(1) }
    case 'anchored':
      return { kind, first: at(0), last: at(1), seq: at(2), size: at(3), root: `0x${v[4]}`, block: at(5) }
    case 'rolled_back':
      return { kind, block: at(0), hash: `0x${v[1]}`, from: at(2) }
    default:
      throw new RangeError(`a change of the unknown kind ${number}`)
  }
}
