import type { Row } from 'postgres'
import { anchorSlots } from '../chain/slots.ts'
import { type Hex, toHex } from '../core/bytes.ts'
import { formatSeconds } from '../maml/time.ts'
import type { ServiceContext } from './context.ts'
import type { Coverage } from './coverage.ts'
import { makePage, type Page, type PageQuery, pageBounds } from './page.ts'

/** An anchor as the chain tells it. */
export interface AnchorItem {
  seq: number
  size: number
  root: Hex
  previous_size: number
  /** The contract's hash chain over all anchors, this one included. */
  chain_hash: Hex
  block: number
  block_hash: Hex
  time: string
  tx: Hex
  log_index: number
  /** Whether its block is final. */
  final: boolean
}

const LIST = 'anchors'

/**
 * One page of anchors, newest first. The contract's hash chain binds each anchor to the ones before, so those from the page's first on can be
 * proved whole up to the newest; the page is all of them where it begins with the newest and that is final.
 */
export async function listAnchors(
  ctx: ServiceContext,
  query: PageQuery,
): Promise<Page<AnchorItem> & Coverage> {
  const { sql, deployment } = ctx
  const { before, rows: limit } = pageBounds(LIST, query)
  // One statement, so that no anchor comes between the page and what is said about it.
  const rows = await sql`
    select a.*, f.*
    from (select coalesce((select max(seq) from anchor), 0)::bigint as newest,
                 (select count(*) from submission where index is null)
                   + coalesce((select max(index) + 1 from submission), 0)
                   - coalesce((select max(size) from anchor), 0) as pending,
                 coalesce((select final_number from cursor), -1)::bigint as final_block) f
    left join (select * from anchor where seq < ${before} order by seq desc limit ${limit}) a on true
    order by a.seq desc`
  const page = makePage(
    LIST,
    rows.filter((row) => row['seq'] !== null),
    query,
    (row) => row['seq'] as number,
    (row) => presentAnchor(row, row['final_block']),
  )
  const { newest, pending } = rows[0] as Row
  const [first, last] = [page.items[0], page.items.at(-1)]
  return {
    ...page,
    complete: first?.seq === newest && first?.final === true,
    superset: last
      ? {
          of: 'anchors',
          from_seq: last.seq,
          to_seq: newest,
          contract: deployment.anchor,
          slot: anchorSlots.chain(),
        }
      : null,
    pending,
  }
}

/** `finalBlock` is the last final block's number. */
export const presentAnchor = (row: Row, finalBlock: number): AnchorItem => ({
  seq: row['seq'],
  size: row['size'],
  root: toHex(row['root']),
  previous_size: row['previous_size'],
  chain_hash: toHex(row['chain_hash']),
  block: row['block'],
  block_hash: toHex(row['block_hash']),
  time: formatSeconds(row['time']),
  tx: toHex(row['tx']),
  log_index: row['log_index'],
  final: row['block'] <= finalBlock,
})
