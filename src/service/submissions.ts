import type { Row } from 'postgres'
import { accountId, evmAccount } from '../chain/ids.ts'
import { fromHex, type Hex } from '../core/bytes.ts'
import { REASON_INFO, REASONS, type Reason } from '../core/reason.ts'
import { OUTCOMES } from '../graph/schema.ts'
import { formatSeconds } from '../maml/time.ts'
import { judgeUri, uriText } from '../payload/uri.ts'
import type { Outcome, Verdict } from '../receipt/entry.ts'
import { boundsOf, indexRange, readBounds, STATES, type State, type StateBounds, stateOf } from './bounds.ts'
import type { ServiceContext } from './context.ts'
import { notFound, ServiceError } from './error.ts'
import { makePage, type Page, type PageQuery, pageBounds } from './page.ts'
import { SUBMISSION_COLUMNS, SUBMISSION_TABLES, submissionRow } from './submission-rows.ts'

/** Where on the chain something happened. `time` is the block's, `YYYY-MM-DDTHH:MM:SSZ`. */
export interface ChainPlace {
  block: number
  tx: Hex
  log_index: number
  time: string
}

/** Why a submission was rejected, in words. `found` is what exactly was found, null where the sentence says it all. */
export interface ReasonDetail {
  fault: string
  sentence: string
  todo: string
  found: string | null
}

/** One submission as every surface shows it. Hex is lower-case 0x. */
export interface SubmissionItem {
  id: Hex
  state: State
  /** CAIP-2. */
  chain: string
  /** CAIP-10. */
  contributor: string
  sensor: string
  dataset: string
  /** As declared on-chain. */
  payload: { sha256: Hex; bytes: number }
  /** As on-chain; bytes that are no UTF-8 are shown as U+FFFD. */
  uri: string
  key_id: Hex
  submitted: ChainPlace
  settled: ChainPlace | null
  /** The leaf index. */
  index: number | null
  seq: number | null
  outcome: Outcome | null
  /** Null until the payload was judged; may change until the submission is logged. */
  verdict: Verdict | null
  reason: Reason | null
  reason_detail: ReasonDetail | null
  /** Whether the verdict is an observed statement: nobody can compute it again. */
  observed: boolean
  /** How many readings the payload holds; null where it was not read. */
  readings: number | null
  links: Record<
    'self' | 'payload' | 'receipt' | 'proof' | 'lineage' | 'contributor' | 'sensor' | 'dataset',
    string
  >
}

/** Fields by which submissions are listed. Accounts, names and ids that do not exist give an empty list. */
export interface SubmissionQuery extends PageQuery {
  state?: State | undefined
  verdict?: Verdict | undefined
  reason?: Reason | undefined
  outcome?: Outcome | undefined
  /** CAIP-10 id or bare address. */
  contributor?: string | undefined
  sensor?: string | undefined
  dataset?: string | undefined
  /** CAIP-2 id or a namespace. */
  chain?: string | undefined
}

/** The values that each of these filters takes. */
export const FILTER_VALUES = {
  state: STATES,
  verdict: ['accepted', 'rejected'],
  reason: REASONS,
  outcome: OUTCOMES,
} as const

const LIST = 'submissions'

/** Reads a submission's id, 0x and 64 hex digits of either case. Throws `BAD_ID`. */
export function readSubmissionId(text: string): Hex {
  if (/^0x[0-9a-fA-F]{64}$/.test(text)) return text.toLowerCase() as Hex
  throw new ServiceError('BAD_ID', 'not a submission id', { hint: 'an id is 0x and 64 hex digits' })
}

/** Whether `wanted`, a CAIP-2 id or a namespace, covers `chain`. */
export const coversChain = (wanted: string, chain: string): boolean =>
  wanted === chain || (!wanted.includes(':') && chain.startsWith(`${wanted}:`))

/** One page of submissions, newest first. Throws `BAD_CURSOR`, and `BAD_CHAIN_ID` for a malformed contributor. */
export async function listSubmissions(
  ctx: ServiceContext,
  query: SubmissionQuery,
): Promise<Page<SubmissionItem>> {
  const { sql, deployment } = ctx
  const { before, rows: limit } = pageBounds(LIST, query)
  const empty: Page<SubmissionItem> = { items: [], next_cursor: null }
  if (query.chain !== undefined && !coversChain(query.chain, deployment.chain)) return empty
  const [bounds, keys] = await Promise.all([readBounds(sql), readKeys(ctx, query)])
  const range =
    query.state === undefined || query.state === 'pending' ? null : indexRange(query.state, bounds)
  if (keys === null || (range && range.from >= range.to)) return empty

  // A range that begins at 0 ends near the newest, so a walk from the newest finds its rows at once. Any other range is
  // cut out by index first: a walk would pass every older submission in search of a page that is not full.
  const cut = range !== null && range.from > 0
  const source = cut
    ? sql`(select * from submission where index >= ${range.from} and index < ${range.to} offset 0)`
    : sql`submission`
  const equal = Object.entries<string | number | undefined>({
    sensor: keys.sensor,
    contributor: keys.contributor,
    reason: query.reason,
    verdict: query.verdict,
    dataset: keys.dataset,
    outcome: query.outcome && OUTCOMES.indexOf(query.outcome) + 1,
  }).filter((entry): entry is [string, string | number] => entry[1] !== undefined)
  // One of the filters that have an index (column, id) leads, spelled so that only a walk along that index gives the
  // order: the planner does not know how rare a value is, and might walk all submissions for the few of one sensor.
  const lead = cut ? undefined : equal.find(([column]) => INDEXED.has(column))
  const conditions = [
    ...(lead
      ? [
          sql`(${sql(`s.${lead[0]}`)}, s.id) < (${lead[1]}, ${before}) and ${sql(`s.${lead[0]}`)} >= ${lead[1]}`,
        ]
      : [sql`s.id < ${before}`]),
    ...equal
      .filter((entry) => entry !== lead)
      .map(([column, value]) => sql`${sql(`s.${column}`)} = ${value}`),
    ...(range && !cut ? [sql`s.index < ${range.to}`] : []),
    ...(query.state === 'pending' ? [sql`s.index is null`] : []),
  ]
  const rows = await sql`
    with picked as materialized (
      select s.id from ${source} s
      where ${conditions.map((condition, i) => (i === 0 ? condition : sql` and ${condition}`))}
      order by ${lead ? sql`${sql(`s.${lead[0]}`)} desc, ` : sql``} s.id desc limit ${limit})
    select ${sql.unsafe(SUBMISSION_COLUMNS)} from ${sql.unsafe(SUBMISSION_TABLES)}
    where s.id = any(array(select id from picked)) order by s.id desc`
  return makePage(
    LIST,
    rows,
    query,
    (row) => row['id'] as number,
    (row) => present(row, bounds, deployment.chain),
  )
}

/** Columns of `submission` that have an index followed by the id. */
const INDEXED: ReadonlySet<string> = new Set(['sensor', 'contributor', 'reason', 'verdict'])

/** Internal ids of what a query names, or null where it names something that does not exist. */
async function readKeys({ sql, deployment }: ServiceContext, query: SubmissionQuery) {
  const { contributor, sensor, dataset } = query
  const keys: { contributor?: number; sensor?: number; dataset?: number } = {}
  if (contributor === undefined && sensor === undefined && dataset === undefined) return keys
  const account = contributor === undefined ? null : fromHex(evmAccount(contributor, deployment.chain), 20)
  const [row] = await sql`
    select (select id from contributor where account = ${account}) as contributor,
           (select id from sensor where name = ${sensor ?? null}) as sensor,
           (select id from dataset where name = ${dataset ?? null}) as dataset`
  for (const name of ['contributor', 'sensor', 'dataset'] as const) {
    if (query[name] === undefined) continue
    if (row?.[name] === null) return null
    keys[name] = row?.[name]
  }
  return keys
}

/** A submission with what is needed to go on from it. */
export interface FoundSubmission {
  /** Internal id. */
  key: number
  item: SubmissionItem
  /** As they hold for this submission: `final` is at its index or behind it. */
  bounds: StateBounds
}

/** One submission. Throws `BAD_ID` or `NOT_FOUND`. */
export async function findSubmission(ctx: ServiceContext, id: string): Promise<FoundSubmission> {
  const hex = readSubmissionId(id)
  const row = await submissionRow(ctx, hex)
  if (!row) throw notFound('submission', hex)
  const bounds = boundsOf(row)
  return { key: row['id'], item: present(row, bounds, ctx.deployment.chain), bounds }
}

/** The words for a reason code, with what was found. */
export const describeReason = (reason: Reason, found: string | null): ReasonDetail => ({
  ...REASON_INFO[reason],
  found,
})

/** What exactly was found, in words: what the checks noted, else what the URI's grammar or the last attempt to fetch says. */
function findingOf(reason: Reason, uri: string, row: Row): string | null {
  if (row['found'] !== null) return row['found']
  if (reason === 'URI_REFUSED') return judgeUri(uri)
  return reason === 'PAYLOAD_UNAVAILABLE' ? row['last_failure'] : null
}

function present(row: Row, bounds: StateBounds, chain: string): SubmissionItem {
  const id = hexOf(row['submission_id'])
  const contributor = accountId(chain, hexOf(row['account']))
  const index = row['index'] as number | null
  const reason = row['reason'] as Reason | null
  const outcome = row['outcome'] as number | null
  const uri = uriText(row['uri'])
  const self = `/v1/submissions/${id}`
  return {
    id,
    state: stateOf(index, bounds),
    chain,
    contributor,
    sensor: row['sensor'],
    dataset: row['dataset'],
    payload: { sha256: hexOf(row['payload_sha256']), bytes: row['payload_bytes'] },
    uri,
    key_id: hexOf(row['key_id']),
    submitted: place(row, 'submitted'),
    settled: index === null ? null : place(row, 'settled'),
    index,
    seq: row['seq'],
    outcome: outcome === null ? null : (OUTCOMES[outcome - 1] ?? null),
    verdict: row['verdict'],
    reason,
    reason_detail: reason === null ? null : describeReason(reason, findingOf(reason, uri, row)),
    observed: row['observed'],
    readings: row['readings'],
    links: {
      self,
      payload: `${self}/payload`,
      receipt: `${self}/receipt`,
      proof: `${self}/proof`,
      lineage: `${self}/lineage`,
      contributor: `/v1/contributors/${contributor}`,
      sensor: `/v1/sensors/${row['sensor']}`,
      dataset: `/v1/datasets/${row['dataset']}`,
    },
  }
}

/** The text of a `bytea`, `\\x` and its digits, as hex. */
const hexOf = (text: string): Hex => `0x${text.slice(2)}`

const place = (row: Row, when: 'submitted' | 'settled'): ChainPlace => ({
  block: row[`${when}_block`],
  tx: hexOf(row[`${when}_tx`]),
  log_index: row[`${when}_log`],
  time: formatSeconds(row[`${when}_time`]),
})
