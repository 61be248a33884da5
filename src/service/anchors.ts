import type { Row } from 'postgres'
import { type Hex, toHex } from '../core/bytes.ts'
import { readPosition } from '../graph/cursor.ts'
import { formatSeconds } from '../maml/time.ts'
import type { ServiceContext } from './context.ts'
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

/** One page of anchors, newest first. */
export async function listAnchors(ctx: ServiceContext, query: PageQuery): Promise<Page<AnchorItem>> {
  const { before, rows: limit } = pageBounds(LIST, query)
  const final = (await readPosition(ctx.sql))?.final.number ?? -1
  const rows = await ctx.sql`select * from anchor where seq < ${before} order by seq desc limit ${limit}`
  return makePage(
    LIST,
    rows,
    query,
    (row) => row['seq'] as number,
    (row) => presentAnchor(row, final),
  )
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
