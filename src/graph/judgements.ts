import type { TransactionSql } from 'postgres'
import { fromHex, type Hex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { SchemaFile } from '../maml/schema.ts'
import type { Judgement } from '../receipt/judge.ts'
import { knownPolicy, type LeafPolicy } from '../receipt/policy.ts'
import { tell } from './changes.ts'
import type { Sql } from './connect.ts'
import { planOnce, sendTogether } from './insert.ts'
import { putPayloads, releasePayloads } from './payloads.ts'
import { areCopied, holdReadingTable, insertReadings, type SubmissionReadings } from './readings.ts'
import { OUTCOMES, type StoredJudgement } from './schema.ts'

/** A key that a contributor registered. Its bytes are found under its id, which is their SHA-256. */
export interface RegisteredKey {
  keyIndex: number
  keyId: Hex
  possessionValid: boolean
}

/** A settled submission that has no verdict yet, with all that the chain says of it and that judging needs. */
export interface Unjudged {
  /** Internal id. */
  id: number
  index: number
  submission: Hex
  contributorId: number
  contributor: Hex
  sensor: string
  dataset: string
  schemaSha256: Hex
  payload: { sha256: Hex; bytes: number }
  uri: Uint8Array
  keyId: Hex
  /** The contributor's keys that were registered before the submission, in order. */
  keys: readonly RegisteredKey[]
  submittedTime: number
  outcome: (typeof OUTCOMES)[number]
  settledBlock: number
  settledHash: Hex
  settledTime: number
  /** The leaf policy in force at its index. */
  policy: LeafPolicy
  /** Whether bytes with its payload's hash are stored here. */
  isStored: boolean
  /** The entry that the log has had for it, where a restore brought that back. */
  restored: Uint8Array | null
}

/**
 * The first `limit` settled submissions without a verdict whose index is at least `from`, by index, without those whose internal ids are in
 * `skip`. One statement sees one state of the chain: keys and policy belong to the same one as the submission, and as nothing before
 * its settling block can change without that block's hash, they stay true for as long as the hash does. Throws `LEAF_POLICY_UNKNOWN`
 * where this version cannot execute a policy.
 */
export async function readUnjudged(
  sql: Sql,
  limit: number,
  skip: readonly number[],
  from = 0,
): Promise<Unjudged[]> {
  const rows = await sql`
    select u.id, u.index, u.submission_id, u.contributor, c.account, s.name as sensor_name, d.name as dataset_name, u.schema_sha256,
           u.payload_sha256, u.payload_bytes, u.uri, u.key_id, u.submitted_time, u.outcome, u.settled_block, u.settled_hash, u.settled_time,
           (select p.hash from leaf_policy p where p.first_index <= u.index order by p.first_index desc limit 1) as policy,
           (select string_agg(k.key_index || ' 0x' || encode(k.key_id, 'hex') || ' ' || k.possession_valid, ',' order by k.key_index)
            from contributor_key k
            where k.contributor = u.contributor and (k.block, k.log_index) < (u.submitted_block, u.submitted_log)) as keys,
           coalesce(p.stored, false) as stored,
           r.entry as restored
    from (
      -- Walks the index, whatever the planner knows of a table that grows so fast.
      select * from submission u where u.verdict is null and u.index is not null and u.index >= ${from}
        and (${skip.length === 0} or not exists (select from unnest(${skip as number[]}::bigint[]) as s(id) where s.id = u.id))
      order by u.index limit ${limit}) u
    join contributor c on c.id = u.contributor join sensor s on s.id = u.sensor join dataset d on d.id = u.dataset
    left join restored_leaf r on r.index = u.index
    -- A look into an index for each row, never at all payloads.
    left join lateral (select true as stored from payload where sha256 = u.payload_sha256 limit 1) p on true
    order by u.index`
  const out: Unjudged[] = []
  for (const row of rows) {
    // Settled before any policy was told of: nothing can be said of it, as no leaf could be made.
    if (row['policy'] === null) continue
    out.push({
      id: row['id'],
      index: row['index'],
      submission: toHex(row['submission_id']),
      contributorId: row['contributor'],
      contributor: toHex(row['account']),
      sensor: row['sensor_name'],
      dataset: row['dataset_name'],
      schemaSha256: toHex(row['schema_sha256']),
      payload: { sha256: toHex(row['payload_sha256']), bytes: row['payload_bytes'] },
      uri: new Uint8Array(row['uri']),
      keyId: toHex(row['key_id']),
      keys: readKeyList(row['keys']),
      submittedTime: row['submitted_time'],
      outcome: OUTCOMES[row['outcome'] - 1] as (typeof OUTCOMES)[number],
      settledBlock: row['settled_block'],
      settledHash: toHex(row['settled_hash']),
      settledTime: row['settled_time'],
      policy: requirePolicy(toHex(row['policy']), row['index']),
      isStored: row['stored'],
      restored: row['restored'] && new Uint8Array(row['restored']),
    })
  }
  return out
}

function readKeyList(text: string | null): RegisteredKey[] {
  if (text === null) return []
  return text.split(',').map((item) => {
    const [index, keyId, valid] = item.split(' ')
    return { keyIndex: Number(index), keyId: keyId as Hex, possessionValid: valid === 'true' }
  })
}

/** The public keys with these ids that anybody has registered. Throws `GRAPH_INCONSISTENT` where one is nowhere. */
export async function readPublicKeys(sql: Sql, ids: readonly Hex[]): Promise<Map<Hex, Uint8Array>> {
  if (ids.length === 0) return new Map()
  const rows = await sql`
    select k.id, (select public_key from contributor_key c where c.key_id = decode(k.id, 'hex') limit 1) as bytes
    from unnest(${ids.map((id) => id.slice(2))}::text[]) as k(id)`
  return new Map(
    rows.map((row) => {
      if (row['bytes'] === null) throw missing(`no registered key has the id 0x${row['id']}`)
      return [`0x${row['id']}`, new Uint8Array(row['bytes'])]
    }),
  )
}

const missing = (what: string): DunesError =>
  new DunesError('GRAPH_INCONSISTENT', what, {
    hint: 'the chain source skipped an event; run `dunes doctor`',
    // A reorganisation may just have taken the submission away that asks for it.
    retryable: true,
    exitCode: 3,
  })

/** The bytes registered on-chain under this SHA-256. */
export async function readSchemaBytes(sql: Sql, sha256: Hex): Promise<Uint8Array> {
  const [row] = await sql`select schema from dataset_version where schema_sha256 = ${fromHex(sha256)} limit 1`
  if (row) return new Uint8Array(row['schema'])
  throw missing(`no dataset version has the schema ${sha256}`)
}

function requirePolicy(hash: Hex, index: number): LeafPolicy {
  const policy = knownPolicy(hash)
  if (policy) return policy
  throw new DunesError(
    'LEAF_POLICY_UNKNOWN',
    `the leaf policy ${hash}, in force at index ${index}, is not known here`,
    {
      hint: 'install the version of Dunes that the log operator names',
      exitCode: 3,
    },
  )
}

/** What happened while a submission's bytes were sought; `what` null means that they were obtained. */
export interface Retrieval {
  attempts: number
  what: string | null
  detail: string | null
}

/** A verdict to write, and what goes with it. */
export interface Judged {
  submission: Unjudged
  judgement: Judgement
  /** Whether it is what a restored entry says, and not what the payload does. */
  restored: boolean
  /** The schema file in force at the submission; null where the registered bytes are none. */
  schema: SchemaFile | null
  /** Null where nobody was asked. */
  retrieval: Retrieval | null
  /** The payload's bytes, checked against their hash, where they are not stored yet. */
  bytes: Uint8Array | null
}

/**
 * Writes verdicts, readings, and payloads with what happened to them, in one transaction: a verdict that speaks of a payload is never
 * committed without it. A submission that was unsettled, settled anew or judged meanwhile is left alone, but for its payload: a hash
 * stays true. Answers the internal ids that were written.
 */
export async function writeJudgements(sql: Sql, judged: readonly Judged[]): Promise<Set<number>> {
  return sql.begin(async (tx) => {
    const stored = judged.map(({ judgement: { read, detail }, restored }): StoredJudgement => {
      if (!read) return { read: null, detail: printable(detail), ...(restored && { restored }) }
      const { payload: _, ...facts } = read
      return { read: facts, detail: printable(detail) }
    })
    const planning = planOnce(tx)
    const storing = putPayloads(
      tx,
      judged.flatMap(({ submission, bytes }) =>
        bytes ? [{ sha256: submission.payload.sha256, bytes }] : [],
      ),
    )
    const updating = tx`
      update submission u set verdict = j.verdict, reason = j.reason, observed = j.observed::boolean, judgement = j.judgement::jsonb,
        signed_sha256 = decode(j.signed, 'hex')
      from unnest(
        ${judged.map((j) => j.submission.id)}::bigint[], ${judged.map((j) => j.submission.settledHash.slice(2))}::text[],
        ${judged.map((j) => j.judgement.verdict)}::text[], ${judged.map((j) => j.judgement.reason)}::text[],
        ${judged.map((j) => String(j.judgement.observed))}::text[], ${stored.map((s) => JSON.stringify(s))}::text[],
        ${stored.map((s) => s.read?.signedBytesSha256.slice(2) ?? null)}::text[]
      ) as j(id, hash, verdict, reason, observed, judgement, signed)
      where u.id = j.id and u.settled_hash = decode(j.hash, 'hex') and u.verdict is null
      returning u.id`
    const datasets = [...new Set(judged.map(({ submission }) => submission.dataset))].sort()
    // Sent together: they wait for one answer.
    const [, , rows, ...tables] = await Promise.all([
      planning,
      storing,
      updating,
      ...datasets.map((dataset) => holdReadingTable(tx, dataset)),
    ])
    const ids = new Set(rows.map((row) => row['id'] as number))
    const written = judged.filter(({ submission }) => ids.has(submission.id))
    const byDataset = new Map<string, SubmissionReadings[]>()
    for (const { submission, judgement, schema } of written) {
      // Without a valid schema file there are no columns, and its payloads stay bytes.
      if (!judgement.read || !schema) continue
      const items = byDataset.get(submission.dataset) ?? []
      items.push({ submission: submission.id, file: schema, readings: judgement.read.payload.readings })
      byDataset.set(submission.dataset, items)
    }
    const retrievals = written.flatMap(({ submission, retrieval }) =>
      retrieval ? [{ id: submission.id, ...retrieval }] : [],
    )
    const changes = written.map(
      ({ submission: { submission, contributor, sensor, dataset, index }, judgement }) =>
        ({
          kind: 'judged',
          submission,
          contributor,
          sensor,
          dataset,
          index,
          verdict: judgement.verdict,
          reason: judgement.reason,
        }) as const,
    )
    // What is told comes last, as it is held until the commit.
    await sendTogether([...byDataset.values()].some(areCopied), [
      ...datasets.map(
        (dataset, i) => () => insertReadings(tx, dataset, tables[i] ?? null, byDataset.get(dataset) ?? []),
      ),
      () => writeRetrievals(tx, retrievals),
      () =>
        releasePayloads(
          tx,
          written.map(({ submission }) => submission.payload.sha256),
        ),
      () => tell(tx, changes),
    ])
    return ids
  })
}

/** Postgres text and jsonb hold no NUL. */
const printable = (detail: string | null): string | null => detail?.replaceAll('\u0000', '\ufffd') ?? null

async function writeRetrievals(
  tx: TransactionSql,
  items: readonly (Retrieval & { id: number })[],
): Promise<void> {
  if (items.length === 0) return
  await tx`
    insert into retrieval (submission, attempts, what, detail)
    select * from unnest(${items.map((i) => i.id)}::bigint[], ${items.map((i) => i.attempts)}::int[],
                         ${items.map((i) => i.what)}::text[], ${items.map((i) => printable(i.detail))}::text[])
    on conflict (submission) do update set attempts = excluded.attempts, what = excluded.what, detail = excluded.detail,
      updated_at = now()`
}
