import { accountId, evmAccount } from '../chain/ids.ts'
import { fromHex, type Hex } from '../core/bytes.ts'
import type { ServiceContext } from './context.ts'
import type { Page } from './page.ts'
import { coversChain } from './submissions.ts'

/**
 * What can be proved to be whole and holds everything that a list shows: a stretch of one contributor's settled submissions, which a
 * completeness bundle proves; a stretch of the log, which its tiles prove under a checkpoint; or the anchors up to the newest, whose fields fold
 * to the hash chain in `slot` of the contract. Both ends included.
 */
export type Superset =
  | { of: 'contributor'; contributor: string; from_seq: number; to_seq: number; url: string }
  | { of: 'log'; from_index: number; to_index: number; url: string }
  | { of: 'anchors'; from_seq: number; to_seq: number; contract: Hex; slot: Hex }

/** How whole a list is. A list leaves out what its filters do not let through, and nobody can prove a filter. */
export interface Coverage {
  /** Whether the page is exactly the stretch that `superset` names: nothing that is settled is left out of it. */
  complete: boolean
  /** Null where nothing that the list could show is settled. */
  superset: Superset | null
  /**
   * Submissions that the list waits for, outside every proof: of the same contributor, or of all where the superset is the log, those that are
   * not settled. Of anchors, those that no anchor covers. None where a list is not of what submissions brought.
   */
  pending: number
}

/**
 * A page of what is registered: contributors, sensors, datasets. The chain keeps no hash over registrations, so no proof can show that none is
 * left out. A registration itself is never pending; `pending` is of the submissions that a list counts.
 */
export const uncovered = <T>(page: Page<T>, pending = 0): Page<T> & Coverage => ({
  ...page,
  complete: false,
  superset: null,
  pending,
})

/** What of a query decides which superset there is. `others` says whether anything else is filtered by. */
export interface CoverageQuery {
  /** CAIP-10 id or bare address. */
  contributor?: string | undefined
  sensor?: string | undefined
  cursor?: string | undefined
  /** CAIP-2 id or a namespace. */
  chain?: string | undefined
  /** Whether the list is filtered by anything but the contributor, and the log's own order of states. */
  others: boolean
}

/** Where an item stands; null where it is not settled, or the list does not say. */
export interface CoveredItem {
  index: number | null
  seq: number | null
}

/** The page with how whole it is. */
export async function withCoverage<T>(
  ctx: ServiceContext,
  page: Page<T>,
  query: CoverageQuery,
  placeOf: (item: T) => CoveredItem,
): Promise<Page<T> & Coverage> {
  return { ...page, ...(await coverageOf(ctx, page.items.map(placeOf), page.next_cursor !== null, query)) }
}

async function coverageOf(
  ctx: ServiceContext,
  places: readonly CoveredItem[],
  more: boolean,
  query: CoverageQuery,
): Promise<Coverage> {
  const { contributor, sensor, chain } = query
  if (chain !== undefined && !coversChain(chain, ctx.deployment.chain))
    return { complete: false, superset: null, pending: 0 }
  const facts = await readFacts(ctx, contributor, sensor)
  const ends = (
    values: (number | null)[],
    provable: number,
    last: number,
  ): { from: number; to: number; whole: boolean } => {
    const found = values.filter((value) => value !== null)
    const [low, high] = [Math.min(...found), Math.max(...found)]
    const whole = !query.others && found.length > 0 && found.length === high - low + 1 && high <= provable
    if (whole) return { from: low, to: high, whole }
    // Where the list begins or ends, so does what it might have left out.
    const from = more && found.length > 0 ? low : 0
    const to = query.cursor !== undefined && found.length > 0 ? Math.max(high, from) : Math.max(last, from)
    return { from, to, whole: false }
  }
  if (facts.account !== null) {
    const id = accountId(ctx.deployment.chain, facts.account)
    const stretch = ends(
      places.map(({ seq }) => seq),
      facts.finalSeqs - 1,
      facts.seqs - 1,
    )
    const { from, to, whole } = sensor === undefined ? stretch : { ...stretch, whole: false }
    return {
      complete: whole,
      superset:
        facts.seqs === 0
          ? null
          : {
              of: 'contributor',
              contributor: id,
              from_seq: from,
              to_seq: to,
              url: `/v1/contributors/${id}/completeness?from=${from}&to=${to}`,
            },
      pending: facts.pending,
    }
  }
  const named = contributor !== undefined || sensor !== undefined
  if (named || facts.logged === 0)
    return { complete: false, superset: null, pending: named ? 0 : facts.pending }
  const { from, to, whole } = ends(
    places.map(({ index }) => index),
    facts.logged - 1,
    facts.logged - 1,
  )
  return {
    complete: whole,
    superset: { of: 'log', from_index: from, to_index: to, url: '/checkpoint' },
    pending: facts.pending,
  }
}

interface Facts {
  /** The account that the list is of, by its own name or as the owner of a sensor; null where it is of all, or of nobody. */
  account: `0x${string}` | null
  /** Its settled submissions, and those of them that a completeness bundle can cover now. */
  seqs: number
  finalSeqs: number
  logged: number
  pending: number
}

async function readFacts(
  { sql, deployment }: ServiceContext,
  contributor: string | undefined,
  sensor: string | undefined,
): Promise<Facts> {
  if (contributor === undefined && sensor === undefined) {
    const [row] = await sql`
      select coalesce((select size from log_head), 0)::bigint as logged, (select count(*) from submission where index is null) as pending`
    return { account: null, seqs: 0, finalSeqs: 0, logged: row?.['logged'], pending: row?.['pending'] }
  }
  const account = contributor === undefined ? null : fromHex(evmAccount(contributor, deployment.chain), 20)
  // The newest submission has the highest nonce, and the newest settled one the highest seq: no counting of rows.
  const [row] = await sql`
    select '0x' || encode(c.account, 'hex') as account,
           coalesce((select nonce + 1 from submission where contributor between c.id and c.id
                     order by submission.contributor desc, submission.id desc limit 1), 0)::bigint as submitted,
           coalesce((select max(seq) + 1 from submission where contributor = c.id), 0)::bigint as seqs,
           coalesce((select max(seq) + 1 from submission where contributor = c.id
                     and settled_block <= (select final_number from cursor)), 0)::bigint as final
    from contributor c
    where ${
      account !== null
        ? sql`c.account = ${account} ${sensor === undefined ? sql`` : sql`and exists (select from sensor s where s.name = ${sensor} and s.contributor = c.id)`}`
        : sql`c.id = (select contributor from sensor where name = ${sensor as string})`
    }`
  if (!row) return { account: null, seqs: 0, finalSeqs: 0, logged: 0, pending: 0 }
  return {
    account: row['account'],
    seqs: row['seqs'],
    finalSeqs: row['final'],
    logged: 0,
    pending: row['submitted'] - row['seqs'],
  }
}
