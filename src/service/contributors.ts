import type { TransactionSql } from 'postgres'
import { accountId, evmAccount } from '../chain/ids.ts'
import { fromHex, type Hex, toHex } from '../core/bytes.ts'
import type { Reason } from '../core/reason.ts'
import type { Db } from '../graph/cursor.ts'
import { OUTCOMES } from '../graph/schema.ts'
import type { Outcome } from '../receipt/entry.ts'
import type { ServiceContext } from './context.ts'
import { type Coverage, uncovered } from './coverage.ts'
import { notFound } from './error.ts'
import { makePage, type Page, type PageQuery, pageBounds } from './page.ts'

/** A contributor as lists show it. */
export interface ContributorItem {
  /** CAIP-10. */
  id: string
  account: Hex
  first_block: number
  validator: boolean
  submitted: number
  settled: number
  links: Record<'self' | 'submissions' | 'completeness', string>
}

/** A registered key. `possession_valid` says whether its proof of possession verifies. */
export interface ContributorKey {
  key_index: number
  key_id: Hex
  current: boolean
  possession_valid: boolean
  registered_block: number
  revoked_block: number | null
}

/** A contributor with its keys, sensors, counts and the head of its records' hash chain. */
export interface ContributorDetail extends ContributorItem {
  keys: ContributorKey[]
  /** Names, in alphabetical order. */
  sensors: string[]
  counts: {
    submitted: number
    pending: number
    outcomes: Record<Outcome, number>
    /** Settled but not judged yet. */
    unjudged: number
    accepted: number
    rejected: Partial<Record<Reason, number>>
  }
  /** The accumulator after the last settled record, as the registry holds it; zero before the first. */
  head: { acc: Hex; seq: number; submitted: number }
}

const LIST = 'contributors'

// The newest submission has the highest nonce, and the newest settled one the highest seq: no counting of rows. The range
// and the order over both columns keep the planner on the index (contributor, id), however rare the contributor is.
const columns = ({ sql }: { sql: Db }) => sql`
  select c.id, c.account, c.block,
         coalesce((select nonce + 1 from submission where contributor between c.id and c.id
                   order by submission.contributor desc, submission.id desc limit 1), 0)::bigint as submitted,
         coalesce((select max(seq) + 1 from submission where contributor = c.id), 0)::bigint as settled,
         exists (select 1 from validator where contributor = c.id and until_block is null) as validator
  from contributor c`

/** One page of contributors, newest first, with how many submissions of all contributors are not settled. */
export async function listContributors(
  ctx: ServiceContext,
  query: PageQuery,
): Promise<Page<ContributorItem> & Coverage> {
  const { before, rows: limit } = pageBounds(LIST, query)
  const [rows, [waiting]] = await Promise.all([
    ctx.sql`${columns(ctx)} where c.id < ${before} order by c.id desc limit ${limit}`,
    ctx.sql`select count(*) as pending from submission where index is null`,
  ])
  const page = makePage(
    LIST,
    rows,
    query,
    (row) => row['id'] as number,
    (row) => present(row, ctx.deployment.chain),
  )
  return uncovered(page, waiting?.['pending'])
}

const present = (row: Record<string, unknown>, chain: string): ContributorItem => {
  const account = toHex(row['account'] as Uint8Array)
  const id = accountId(chain, account)
  return {
    id,
    account,
    first_block: row['block'] as number,
    validator: row['validator'] as boolean,
    submitted: row['submitted'] as number,
    settled: row['settled'] as number,
    links: {
      self: `/v1/contributors/${id}`,
      submissions: `/v1/submissions?contributor=${id}`,
      completeness: `/v1/contributors/${id}/completeness`,
    },
  }
}

/** One contributor by CAIP-10 id or bare address. Throws `BAD_CHAIN_ID` or `NOT_FOUND`. */
export async function findContributor(ctx: ServiceContext, id: string): Promise<ContributorDetail> {
  const { deployment } = ctx
  const account = evmAccount(id, deployment.chain)
  // From one snapshot: a block, or a reorganisation, may come between two statements.
  return ctx.sql.begin('isolation level repeatable read read only', async (sql) => {
    const [row] = await sql`${columns({ sql })} where c.account = ${fromHex(account)}`
    if (!row) throw notFound('contributor', accountId(deployment.chain, account))
    return readDetail(sql, row, deployment.chain)
  })
}

async function readDetail(
  sql: TransactionSql,
  row: Record<string, unknown>,
  chain: string,
): Promise<ContributorDetail> {
  const key = row['id'] as number
  const [keys, sensors, groups, [head]] = await Promise.all([
    sql`select key_index, key_id, possession_valid, block, revoked_block from contributor_key
        where contributor = ${key} order by key_index desc`,
    sql`select name from sensor where contributor = ${key} order by name`,
    sql`select outcome, verdict, reason, count(*) as count from submission where contributor = ${key}
        group by outcome, verdict, reason`,
    sql`select acc, seq from submission where contributor = ${key} and seq is not null order by seq desc limit 1`,
  ])
  return {
    ...present(row, chain),
    keys: keys.map((k, i) => ({
      key_index: k['key_index'],
      key_id: toHex(k['key_id']),
      current: i === 0 && k['revoked_block'] === null,
      possession_valid: k['possession_valid'],
      registered_block: k['block'],
      revoked_block: k['revoked_block'],
    })),
    sensors: sensors.map((s) => s['name'] as string),
    counts: countsOf(groups as unknown as CountGroup[]),
    head: {
      acc: head ? toHex(head['acc']) : toHex(new Uint8Array(32)),
      seq: head ? (head['seq'] as number) + 1 : 0,
      submitted: row['submitted'] as number,
    },
  }
}

/** One row of counts: `outcome` is the contract's number, null for pending. */
export interface CountGroup {
  outcome: number | null
  verdict: string | null
  reason: Reason | null
  count: number
}

/** Sums groups up by outcome, verdict and reason. */
export function countsOf(groups: readonly CountGroup[]): ContributorDetail['counts'] {
  const counts: ContributorDetail['counts'] = {
    submitted: 0,
    pending: 0,
    outcomes: { validated: 0, rejected: 0, expired: 0 },
    unjudged: 0,
    accepted: 0,
    rejected: {},
  }
  for (const { outcome, verdict, reason, count } of groups) {
    counts.submitted += count
    if (outcome === null) {
      counts.pending += count
      continue
    }
    const name = OUTCOMES[outcome - 1]
    if (name) counts.outcomes[name] += count
    if (verdict === null) counts.unjudged += count
    else if (reason === null) counts.accepted += count
    else counts.rejected[reason] = (counts.rejected[reason] ?? 0) + count
  }
  return counts
}
