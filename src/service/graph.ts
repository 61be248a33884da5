import type { Row } from 'postgres'
import { accountId, evmAccount } from '../chain/ids.ts'
import { fromHex, toHex } from '../core/bytes.ts'
import { EDGE } from '../graph/schema.ts'
import { formatSeconds, parseTimestamp } from '../maml/time.ts'
import type { ServiceContext } from './context.ts'
import { notFound, ServiceError } from './error.ts'
import { readSubmissionId } from './submissions.ts'

export const NODE_TYPES = ['submission', 'contributor', 'sensor', 'dataset'] as const
export type NodeType = (typeof NODE_TYPES)[number]
/** What an edge says, from its source to its target. */
export const EDGE_KINDS = [
  'owns',
  'feeds',
  'measured_by',
  'submitted_by',
  'confirmed',
  'disputed',
  'duplicates',
] as const
export type EdgeKind = (typeof EDGE_KINDS)[number]

const KIND_NAMES: readonly EdgeKind[] = Object.entries({
  owns: EDGE.owns,
  feeds: EDGE.feeds,
  measured_by: EDGE.measuredBy,
  submitted_by: EDGE.submittedBy,
  confirmed: EDGE.confirmed,
  disputed: EDGE.disputed,
  duplicates: EDGE.duplicates,
} satisfies Record<EdgeKind, number>)
  .sort(([, a], [, b]) => a - b)
  .map(([kind]) => kind as EdgeKind)
const kindName = (kind: number): EdgeKind => KIND_NAMES[kind - 1] as EdgeKind

/** Hops from the first node, and nodes of one answer: unless told, and at most. */
export const MAX_HOPS = 6
export const DEFAULT_NODES = 200
export const MAX_NODES = 1_000
/** Edges of one answer. */
export const MAX_EDGES = 5_000

/** What part of the graph is wanted: around one node, or without one the newest submissions. */
export interface GraphQuery {
  submission?: string | undefined
  /** CAIP-10 id or bare address. */
  contributor?: string | undefined
  sensor?: string | undefined
  dataset?: string | undefined
  /** `lineage`: only what the node comes from; `neighbourhood`: everything within so many hops. */
  mode?: 'lineage' | 'neighbourhood' | undefined
  hops?: number | undefined
  /** Only submissions made at this time or later, and before `to`; RFC 3339 in UTC. */
  from?: string | undefined
  to?: string | undefined
  limit?: number | undefined
}

/** A part of the graph as columns: element `i` of each array of `nodes` is about node `i`. */
export interface GraphPart {
  mode: 'lineage' | 'neighbourhood' | 'window'
  nodes: {
    type: NodeType[]
    id: string[]
    /** Hops from the first node. */
    hop: number[]
    /** When a submission was made; null for what is no submission. */
    time: (string | null)[]
    verdict: ('accepted' | 'rejected' | null)[]
  }
  edges: {
    /** Places in `nodes`. */
    source: number[]
    target: number[]
    kind: EdgeKind[]
    /** The block whose event drew the edge. */
    block: number[]
  }
  /** Whether there is more of it than is shown. */
  truncated: boolean
}

/** Edges that lead to what a node comes from: along them, and against them. */
const LINEAGE = {
  out: [EDGE.measuredBy, EDGE.submittedBy, EDGE.duplicates, EDGE.feeds] as readonly number[],
  in: [EDGE.confirmed, EDGE.disputed, EDGE.owns] as readonly number[],
}
const ALL = { out: Object.values(EDGE), in: Object.values(EDGE) } as const

interface Edge {
  src: number
  kind: number
  dst: number
  block: number
}

/** Internal ids of submissions that were made in a window of time; of others nothing is asked. */
interface Window {
  first: number
  last: number
  from: number
  to: number
}

/**
 * One part of the graph. Throws `NOT_FOUND`, `BAD_ID`, `BAD_CHAIN_ID`, `BAD_TIME`, and `BAD_RANGE` where more than one node is named.
 */
export async function readGraph(ctx: ServiceContext, query: GraphQuery): Promise<GraphPart> {
  const { mode = 'neighbourhood', hops = 1, limit = DEFAULT_NODES } = query
  const named = NODE_TYPES.filter((type) => query[type] !== undefined)
  if (named.length > 1) {
    throw new ServiceError('BAD_RANGE', `the graph is read around one node, not ${named.length}`, {
      hint: `give one of ${NODE_TYPES.join(', ')}, or none for the newest submissions`,
    })
  }
  const [type] = named
  const window = await openWindow(ctx, query)
  const found = new Map<number, number>()
  const edges = new Map<string, Edge>()
  let truncated = false
  let frontier: number[]
  if (type === undefined) {
    const newest = await newestSubmissions(ctx, window, limit + 1)
    truncated = newest.length > limit
    frontier = newest.slice(0, limit)
  } else frontier = [await findNode(ctx, type, query[type] as string)]
  for (const id of frontier) found.set(id, 0)

  const along = mode === 'lineage' ? LINEAGE : ALL
  for (let hop = 1; hop <= hops && frontier.length > 0 && edges.size < MAX_EDGES; hop++) {
    // Room for one edge more than can be shown tells that there is one.
    const read = await readEdges(ctx, frontier, along, window, limit + 1)
    truncated ||= read.cut
    const next: number[] = []
    for (const edge of read.edges) {
      const key = `${edge.src}:${edge.kind}:${edge.dst}`
      if (edges.has(key)) continue
      const fresh = [edge.src, edge.dst].filter((id) => !found.has(id))
      if (found.size + fresh.length > limit || edges.size >= MAX_EDGES) {
        truncated = true
        continue
      }
      for (const id of fresh) {
        found.set(id, hop)
        next.push(id)
      }
      edges.set(key, edge)
    }
    frontier = next
  }
  return present(ctx, type === undefined ? 'window' : mode, found, [...edges.values()], truncated)
}

async function findNode(ctx: ServiceContext, type: NodeType, id: string): Promise<number> {
  const { sql, deployment } = ctx
  const [row] = await (type === 'submission'
    ? sql`select id from submission where submission_id = ${fromHex(readSubmissionId(id))}`
    : type === 'contributor'
      ? sql`select id from contributor where account = ${fromHex(evmAccount(id, deployment.chain))}`
      : type === 'sensor'
        ? sql`select id from sensor where name = ${id}`
        : sql`select id from dataset where name = ${id}`)
  if (row) return row['id'] as number
  throw notFound(type, id)
}

function readSeconds(text: string | undefined, name: string): number | null {
  if (text === undefined) return null
  const moment = parseTimestamp(text)
  if (moment) return moment.seconds + (moment.nanoseconds > 0 ? 1 : 0)
  throw new ServiceError('BAD_TIME', `${name} is not a time`, {
    hint: 'write it as 2025-10-01T23:30:00Z, in UTC',
  })
}

/** The ids of submissions in a window: ids and times rise together, so the ends are found by halving. Null where all are wanted. */
async function openWindow(ctx: ServiceContext, query: GraphQuery): Promise<Window | null> {
  const from = readSeconds(query.from, 'from')
  const to = readSeconds(query.to, 'to')
  if (from === null && to === null) return null
  const [ends] = await ctx.sql`
    select coalesce(min(id), 0)::bigint as first, coalesce(max(id), 0)::bigint as last from submission`
  const [first, last] = [ends?.['first'] as number, ends?.['last'] as number]
  return {
    first: from === null ? first : await firstSince(ctx, from, first, last),
    last: to === null ? last : (await firstSince(ctx, to, first, last)) - 1,
    from: from ?? Number.MIN_SAFE_INTEGER,
    to: to ?? Number.MAX_SAFE_INTEGER,
  }
}

/** The lowest id from `first` to `last` of a submission made at `seconds` or later; `last + 1` where there is none. */
async function firstSince(
  { sql }: ServiceContext,
  seconds: number,
  first: number,
  last: number,
): Promise<number> {
  let low = first
  let high = last + 1
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const [row] = await sql`
      select id, submitted_time from submission where id >= ${middle} order by id limit 1`
    if (!row || row['submitted_time'] >= seconds) high = middle
    else low = (row['id'] as number) + 1
  }
  return low
}

async function newestSubmissions(
  { sql }: ServiceContext,
  window: Window | null,
  count: number,
): Promise<number[]> {
  const rows = await sql`
    select id from submission
    ${window ? sql`where id between ${window.first} and ${window.last} and submitted_time >= ${window.from} and submitted_time < ${window.to}` : sql``}
    order by id desc limit ${count}`
  return rows.map((row) => row['id'] as number)
}

/** Edges at the nodes of `frontier`, of each kind and direction the newest `depth` of each node; `cut` where one has more. */
async function readEdges(
  { sql }: ServiceContext,
  frontier: readonly number[],
  along: { out: readonly number[]; in: readonly number[] },
  window: Window | null,
  depth: number,
): Promise<{ edges: Edge[]; cut: boolean }> {
  const ids = sql`${[...frontier]}::bigint[]`
  // Submissions at the other end are of the window, or are none: an index on the ids finds those without looking at the others.
  const within = (side: 'src' | 'dst', kinds: readonly number[]) =>
    window === null
      ? sql``
      : sql`and (k.kind <> all(${[...kinds]}::int[]) or e.${sql(side)} between ${window.first} and ${window.last})`
  const submissionIsSource = [EDGE.measuredBy, EDGE.submittedBy, EDGE.duplicates]
  const submissionIsTarget = [EDGE.confirmed, EDGE.disputed, EDGE.duplicates]
  const rows = await sql`
    select f.id as node, 'out' as side, e.src, e.kind, e.dst, e.block
    from unnest(${ids}) as f(id) cross join unnest(${[...along.out]}::int[]) as k(kind)
    cross join lateral (
      select * from edge e where e.src = f.id and e.kind = k.kind ${within('dst', submissionIsTarget)}
      order by e.dst desc limit ${depth}) e
    union all
    select f.id, 'in', e.src, e.kind, e.dst, e.block
    from unnest(${ids}) as f(id) cross join unnest(${[...along.in]}::int[]) as k(kind)
    cross join lateral (
      select * from edge e where e.dst = f.id and e.kind = k.kind ${within('src', submissionIsSource)}
      order by e.src desc limit ${depth}) e
    limit ${MAX_EDGES * 4}`
  const counts = new Map<string, number>()
  for (const row of rows) {
    const key = `${row['node']}:${row['side']}:${row['kind']}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return {
    edges: rows as unknown as Edge[],
    cut: rows.length === MAX_EDGES * 4 || [...counts.values()].some((count) => count >= depth),
  }
}

async function present(
  { sql, deployment }: ServiceContext,
  mode: GraphPart['mode'],
  found: ReadonlyMap<number, number>,
  edges: readonly Edge[],
  truncated: boolean,
): Promise<GraphPart> {
  const ids = [...found.keys()]
  const wanted = sql`any(${ids}::bigint[])`
  const rows = await sql`
    select id, 'submission' as type, submission_id as key, null as name, submitted_time, verdict
      from submission where id = ${wanted}
    union all select id, 'contributor', account, null, null, null from contributor where id = ${wanted}
    union all select id, 'sensor', null, name, null, null from sensor where id = ${wanted}
    union all select id, 'dataset', null, name, null, null from dataset where id = ${wanted}`
  const byId = new Map(rows.map((row) => [row['id'] as number, row]))
  const place = new Map<number, number>()
  const nodes: GraphPart['nodes'] = { type: [], id: [], hop: [], time: [], verdict: [] }
  for (const [id, hop] of found) {
    const row = byId.get(id)
    // A reorganisation may have taken it away between the two looks.
    if (!row) continue
    place.set(id, nodes.id.length)
    nodes.type.push(row['type'])
    nodes.id.push(nameOf(row, deployment.chain))
    nodes.hop.push(hop)
    nodes.time.push(row['submitted_time'] === null ? null : formatSeconds(row['submitted_time']))
    nodes.verdict.push(row['verdict'])
  }
  const shown = edges.filter(({ src, dst }) => place.has(src) && place.has(dst))
  return {
    mode,
    nodes,
    edges: {
      source: shown.map(({ src }) => place.get(src) as number),
      target: shown.map(({ dst }) => place.get(dst) as number),
      kind: shown.map(({ kind }) => kindName(kind)),
      block: shown.map(({ block }) => block),
    },
    truncated,
  }
}

const nameOf = (row: Row, chain: string): string =>
  row['name'] ?? (row['type'] === 'contributor' ? accountId(chain, toHex(row['key'])) : toHex(row['key']))
