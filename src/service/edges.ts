import type { Row } from 'postgres'
import { accountId } from '../chain/ids.ts'
import { toHex } from '../core/bytes.ts'
import { EDGE } from '../graph/schema.ts'
import type { ServiceContext } from './context.ts'

/** An edge of the graph at this submission. `id` is what the API calls the other end. */
export interface LineageEdge {
  kind: 'measured_by' | 'submitted_by' | 'confirmed_by' | 'disputed_by' | 'duplicates' | 'duplicated_by'
  type: 'sensor' | 'contributor' | 'submission'
  id: string
  block: number
}

const EDGE_KINDS: Readonly<Record<string, LineageEdge['kind']>> = {
  [`out${EDGE.measuredBy}`]: 'measured_by',
  [`out${EDGE.submittedBy}`]: 'submitted_by',
  [`out${EDGE.duplicates}`]: 'duplicates',
  [`in${EDGE.confirmed}`]: 'confirmed_by',
  [`in${EDGE.disputed}`]: 'disputed_by',
  [`in${EDGE.duplicates}`]: 'duplicated_by',
}

/** Edges shown at most; a submission has one a validator, and one a repetition. */
const MAX_EDGES = 200

/** The edges at the submission with this internal id, oldest first. */
export async function readEdges({ sql, deployment }: ServiceContext, key: number): Promise<LineageEdge[]> {
  const rows = await sql`
    select e.side, e.kind, e.block, se.name as sensor, c.account, s.submission_id
    from (
      select 'out' as side, kind, dst as other, block from edge where src = ${key}
      union all
      select 'in' as side, kind, src as other, block from edge where dst = ${key}
    ) e
    left join sensor se on se.id = e.other
    left join contributor c on c.id = e.other
    left join submission s on s.id = e.other
    order by e.block, e.kind, e.other limit ${MAX_EDGES}`
  return rows.flatMap((row): LineageEdge[] => {
    const kind = EDGE_KINDS[`${row['side']}${row['kind']}`]
    return kind ? [{ kind, ...endOf(row, deployment.chain), block: row['block'] }] : []
  })
}

function endOf(row: Row, chain: string): Pick<LineageEdge, 'type' | 'id'> {
  if (row['sensor'] !== null) return { type: 'sensor', id: row['sensor'] }
  if (row['account'] !== null) return { type: 'contributor', id: accountId(chain, toHex(row['account'])) }
  return { type: 'submission', id: toHex(row['submission_id']) }
}
