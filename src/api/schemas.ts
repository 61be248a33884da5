import { z } from '@hono/zod-openapi'
import { CHANGE_KINDS } from '../service/changes.ts'
import { EDGE_KINDS, NODE_TYPES } from '../service/graph.ts'
import { STAGES } from '../service/stages.ts'
import { FILTER_VALUES } from '../service/submissions.ts'

/** The shapes of answers. They are described, not checked again: the types of src/service make them. */

export const name = z.string().regex(/^[a-z0-9_]{1,32}$/)
const hash = z.string().regex(/^0x[0-9a-f]{64}$/)
const address = z.string().regex(/^0x[0-9a-f]{40}$/)
const integer = z.int().min(0)
const time = z.string().openapi({ format: 'date-time', example: '2025-10-01T23:30:00Z' })
const account = z
  .string()
  .openapi({ description: 'CAIP-10 account id', example: `eip155:31337:0x${'ab'.repeat(20)}` })
const links = <K extends string>(...names: K[]) =>
  z.object(Object.fromEntries(names.map((n) => [n, z.string()])) as Record<K, z.ZodString>)
const outcome = z.enum(FILTER_VALUES.outcome)
const verdict = z.enum(FILTER_VALUES.verdict)
const reason = z.enum(FILTER_VALUES.reason)
const state = z.enum(FILTER_VALUES.state)

/** A described shape or null; `nullable` of a shape that has a name would come out as one that is never null. */
const orNull = <T extends z.ZodType>(shape: T) => z.union([shape, z.null()])

export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.string(),
    hint: z.string().optional(),
    request_id: z.string().optional(),
    details: z.record(z.string(), z.unknown()).optional(),
  })
  .openapi('Problem', { description: 'RFC 9457 problem details' })

const Superset = z
  .discriminatedUnion('of', [
    z.object({
      of: z.literal('contributor'),
      contributor: account,
      from_seq: integer,
      to_seq: integer,
      url: z.string().openapi({ description: 'A bundle that proves the stretch whole' }),
    }),
    z.object({
      of: z.literal('log'),
      from_index: integer,
      to_index: integer,
      url: z.string().openapi({
        description: 'The checkpoint under which the tiles and entries of these indices prove themselves',
      }),
    }),
    z.object({
      of: z.literal('anchors'),
      from_seq: integer,
      to_seq: integer,
      contract: address,
      slot: hash.openapi({
        description: 'The storage slot that holds the hash chain which the anchors fold to',
      }),
    }),
  ])
  .openapi('Superset', {
    description: 'What can be proved to be whole and holds what the page shows; both ends included',
  })

/** A page with how whole it is. */
export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({
    items: z.array(item),
    next_cursor: z.string().nullable(),
    complete: z.boolean().openapi({
      description:
        'Whether the page shows everything that `superset` names; never where anything is filtered away, or where the chain keeps no hash over what is listed',
    }),
    superset: orNull(Superset).openapi({
      description: 'Null where nothing holds the page that can be proved whole',
    }),
    pending: integer.openapi({
      description:
        'Submissions that the list waits for, outside every proof: of that contributor, or of all, those that are not settled; of anchors, those that no anchor covers; 0 of sensors and datasets',
    }),
  })

const ChainPlace = z.object({ block: integer, tx: hash, log_index: integer, time }).openapi('ChainPlace')

export const Submission = z
  .object({
    id: hash,
    state,
    chain: z.string(),
    contributor: account,
    sensor: name,
    dataset: name,
    payload: z.object({ sha256: hash, bytes: integer }),
    uri: z.string(),
    key_id: hash,
    submitted: ChainPlace,
    settled: orNull(ChainPlace),
    index: integer.nullable(),
    seq: integer.nullable(),
    outcome: outcome.nullable(),
    verdict: verdict.nullable(),
    reason: reason.nullable(),
    reason_detail: z
      .object({ fault: z.string(), sentence: z.string(), todo: z.string(), found: z.string().nullable() })
      .nullable(),
    observed: z.boolean(),
    readings: integer.nullable(),
    links: links('self', 'payload', 'receipt', 'proof', 'lineage', 'contributor', 'sensor', 'dataset'),
  })
  .openapi('Submission')

export const Reading = z
  .object({
    submission: hash,
    position: integer,
    dataset: name,
    sensor: name,
    sensor_id: z.string(),
    contributor: account,
    h3: z.string(),
    timestamp: time,
    state,
    verdict: verdict.nullable(),
    reason: reason.nullable(),
    leaf_index: integer.nullable(),
    receipt_id: hash.nullable(),
    tx: hash.nullable(),
    values: z.record(z.string(), z.unknown()),
    links: links('submission', 'proof'),
  })
  .openapi('Reading')

export const Graph = z
  .object({
    mode: z.enum(['lineage', 'neighbourhood', 'window']),
    nodes: z.object({
      type: z.array(z.enum(NODE_TYPES)),
      id: z.array(z.string()),
      hop: z.array(integer),
      time: z.array(time.nullable()),
      verdict: z.array(verdict.nullable()),
    }),
    edges: z.object({
      source: z.array(integer).openapi({ description: 'Places in the arrays of `nodes`' }),
      target: z.array(integer),
      kind: z.array(z.enum(EDGE_KINDS)),
      block: z.array(integer),
    }),
    truncated: z.boolean().openapi({ description: 'Whether there is more of it than is shown' }),
  })
  .openapi('Graph')

const stageName = z.enum(STAGES)
export const Lineage = z
  .object({
    submission: Submission,
    status: z.enum(['complete', 'failed', 'pending']),
    obstacle: z
      .object({
        stage: stageName,
        status: z.enum(['failed', 'pending']),
        reason: reason.nullable(),
        fault: z.string(),
        sentence: z.string(),
        todo: z.string(),
      })
      .nullable(),
    stages: z.array(
      z.object({
        name: stageName,
        status: z.enum(['ok', 'failed', 'pending', 'skipped']),
        sentence: z.string(),
        facts: z.record(z.string(), z.unknown()),
      }),
    ),
    edges: z.array(
      z.object({
        kind: z.enum([
          'measured_by',
          'submitted_by',
          'confirmed_by',
          'disputed_by',
          'duplicates',
          'duplicated_by',
        ]),
        type: z.enum(['sensor', 'contributor', 'submission']),
        id: z.string(),
        block: integer,
      }),
    ),
  })
  .openapi('Lineage')

export const Contributor = z
  .object({
    id: account,
    account: address,
    first_block: integer,
    validator: z.boolean(),
    submitted: integer,
    settled: integer,
    links: links('self', 'submissions', 'completeness'),
  })
  .openapi('Contributor')

export const ContributorDetail = Contributor.extend({
  keys: z.array(
    z.object({
      key_index: integer,
      key_id: hash,
      current: z.boolean(),
      possession_valid: z.boolean(),
      registered_block: integer,
      revoked_block: integer.nullable(),
    }),
  ),
  sensors: z.array(name),
  counts: z.object({
    submitted: integer,
    pending: integer,
    outcomes: z.object({ validated: integer, rejected: integer, expired: integer }),
    unjudged: integer,
    accepted: integer,
    rejected: z.partialRecord(reason, integer),
  }),
  head: z.object({ acc: hash, seq: integer, submitted: integer }),
}).openapi('ContributorDetail')

export const Sensor = z
  .object({
    name,
    dataset: name,
    contributor: account,
    h3: z.string().openapi({ description: 'H3 cell, 15 hex digits' }),
    registered_block: integer,
    links: links('self', 'submissions', 'contributor', 'dataset'),
  })
  .openapi('Sensor')

const DatasetVersion = z
  .object({
    version: integer,
    schema_sha256: hash,
    schema_name: z.string().nullable(),
    problem: z.string().nullable(),
    registered_block: integer,
  })
  .openapi('DatasetVersion')

export const Dataset = z
  .object({ name, current: DatasetVersion, links: links('self', 'submissions', 'sensors') })
  .openapi('Dataset')

export const DatasetDetail = Dataset.extend({
  versions: z.array(DatasetVersion),
  sensors: integer,
  schema: z.string().openapi({ description: 'Text of the schema file in force' }),
}).openapi('DatasetDetail')

export const Anchor = z
  .object({
    seq: integer,
    size: integer,
    root: hash,
    previous_size: integer,
    chain_hash: hash,
    block: integer,
    block_hash: hash,
    time,
    tx: hash,
    log_index: integer,
    final: z.boolean(),
  })
  .openapi('Anchor')

const Block = z.object({ number: integer, hash, time: integer }).openapi('Block')
const Endpoint = z
  .object({
    endpoint: z.string(),
    state: z.enum(['closed', 'open', 'half-open']),
    why: z.string().nullable(),
    retry_ms: integer,
    score: z.int().min(0).max(100),
    latency_ms: z.number().nullable(),
    calls: integer,
    errors: integer,
    lies: integer,
    per_second: integer.nullable(),
    left: z.int().nullable(),
    in_flight: integer,
    most_in_flight: integer,
    waiting: integer,
    head: integer.nullable(),
    lagging: z.boolean(),
    range_blocks: integer.nullable(),
  })
  .openapi('Endpoint')
export const Status = z
  .object({
    chain: z.string(),
    registry: address,
    anchor: address,
    origin: z.string(),
    start_block: integer,
    head: orNull(Block),
    indexed: orNull(Block),
    final: orNull(Block),
    lag: z.object({ blocks: integer, seconds: integer }).nullable(),
    submitted: integer.nullable(),
    pending: integer.nullable(),
    settled: integer.nullable(),
    logged: integer.nullable(),
    anchored: integer.nullable(),
    verdicts: z.object({
      unjudged: integer.nullable(),
      accepted: integer.nullable(),
      rejected: integer.nullable(),
      reasons: z.partialRecord(reason, integer),
    }),
    source: z
      .object({
        phase: z.enum(['idle', 'backfill', 'live', 'stopped']),
        failures: integer,
        last_error: z.string().nullable(),
      })
      .nullable(),
    endpoints: z.array(Endpoint).nullable(),
    queues: z.object({ searches: integer, held_bytes: integer }).nullable(),
    recheck: z
      .object({
        ranges: integer,
        same: integer,
        refuted: integer,
        unresolved: integer,
        failed: integer,
        last: z
          .object({ from: integer, to: integer, endpoint: z.string(), at: time, result: z.string() })
          .nullable(),
      })
      .nullable(),
    socket: z
      .object({ endpoint: z.string(), connected: z.boolean(), wakes: integer, failures: integer })
      .nullable(),
    ready: z.boolean(),
    reasons: z.array(z.string()),
  })
  .openapi('Status')

export const Change = z
  .object({
    id: z.string(),
    kind: z.enum(CHANGE_KINDS),
    told: z.string().openapi({ format: 'date-time' }),
    submission: hash.optional(),
    contributor: account.optional(),
    sensor: name.optional(),
    dataset: name.optional(),
    index: integer.optional(),
    outcome: outcome.optional(),
    verdict: verdict.optional(),
    reason: reason.nullable().optional(),
    first_index: integer.optional(),
    last_index: integer.optional(),
    block: z.int().optional(),
    block_hash: hash.optional(),
    from_block: z.int().optional(),
    anchor: z.object({ seq: integer, size: integer, root: hash }).optional(),
  })
  .openapi('Change', { description: 'Which fields there are follows from `kind`: docs/api.md, "Changes"' })

export const Readiness = z.object({ ready: z.boolean(), reasons: z.array(z.string()) }).openapi('Readiness')

export const StorageReceipt = z
  .object({
    statement: z.object({
      v: z.literal(1),
      chain: z.string(),
      contributor: account,
      origin: z.string(),
      sha256: hash,
      bytes: integer,
      stored_at: time,
    }),
    key_id: hash,
    signature: z.string().openapi({ description: 'ML-DSA-65, context dunes.storage/v1, padded base64' }),
  })
  .openapi('StorageReceipt')
