import type { TransactionSql } from 'postgres'
import { fromHex, type Hex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { SchemaFile } from '../maml/schema.ts'
import type { Judgement } from '../receipt/judge.ts'
import { knownPolicy, type LeafPolicy } from '../receipt/policy.ts'
import { tell } from './changes.ts'
import type { Sql } from './connect.ts'
import { insertReadings, type SubmissionReadings } from './readings.ts'
import { OUTCOMES, type StoredJudgement } from './schema.ts'

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
  submittedTime: number
  outcome: (typeof OUTCOMES)[number]
  settledBlock: number
  settledHash: Hex
  settledTime: number
  /** The entry that the log has had for it, where a restore brought that back. */
  restored: Uint8Array | null
}

/** The first `limit` settled submissions without a verdict, by index, without those whose internal ids are in `skip`. */
export async function readUnjudged(sql: Sql, limit: number, skip: readonly number[]): Promise<Unjudged[]> {
  const rows = await sql`
    select u.*, c.account, s.name as sensor_name, d.name as dataset_name, r.entry as restored
    from submission u
    join contributor c on c.id = u.contributor join sensor s on s.id = u.sensor join dataset d on d.id = u.dataset
    left join restored_leaf r on r.index = u.index
    where u.verdict is null and u.index is not null
      and not exists (select from unnest(${skip as number[]}::bigint[]) as s(id) where s.id = u.id)
    order by u.index limit ${limit}`
  return rows.map((row) => ({
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
    submittedTime: row['submitted_time'],
    outcome: OUTCOMES[row['outcome'] - 1] as (typeof OUTCOMES)[number],
    settledBlock: row['settled_block'],
    settledHash: toHex(row['settled_hash']),
    settledTime: row['settled_time'],
    restored: row['restored'] && new Uint8Array(row['restored']),
  }))
}

export interface RegisteredKey {
  keyIndex: number
  keyId: Hex
  publicKey: Uint8Array
  possessionValid: boolean
}

/**
 * The keys that contributors had registered before their submissions, in key order, by the submission's internal id. A
 * submission that was unsettled or settled anew since it was read is left out: one statement sees one state of the chain, and these
 * keys must belong to the same one as the submission.
 */
export async function readKeys(
  sql: Sql,
  submissions: readonly Unjudged[],
): Promise<Map<number, RegisteredKey[]>> {
  const rows = await sql`
    select u.id, k.key_index, k.key_id, k.public_key, k.possession_valid
    from unnest(${submissions.map((s) => s.id)}::bigint[], ${submissions.map((s) => s.settledHash.slice(2))}::text[]) as j(id, hash)
    join submission u on u.id = j.id and u.settled_hash = decode(j.hash, 'hex')
    left join contributor_key k on k.contributor = u.contributor
      and (k.block, k.log_index) < (u.submitted_block, u.submitted_log)
    order by u.id, k.key_index`
  const out = new Map<number, RegisteredKey[]>()
  for (const row of rows) {
    const keys = out.get(row['id']) ?? []
    out.set(row['id'], keys)
    if (row['key_index'] === null) continue
    keys.push({
      keyIndex: row['key_index'],
      keyId: toHex(row['key_id']),
      publicKey: new Uint8Array(row['public_key']),
      possessionValid: row['possession_valid'],
    })
  }
  return out
}

/** The bytes registered on-chain under this SHA-256. */
export async function readSchemaBytes(sql: Sql, sha256: Hex): Promise<Uint8Array> {
  const [row] = await sql`select schema from dataset_version where schema_sha256 = ${fromHex(sha256)} limit 1`
  if (row) return new Uint8Array(row['schema'])
  throw new DunesError('GRAPH_INCONSISTENT', `no dataset version has the schema ${sha256}`, {
    hint: 'the chain source skipped an event; run `dunes doctor`',
    // A reorganisation may just have taken the submission away that asks for it.
    retryable: true,
    exitCode: 3,
  })
}

/** Leaf policies by first index, newest first. Throws `LEAF_POLICY_UNKNOWN` where this version cannot execute one. */
export async function readLeafPolicies(sql: Sql): Promise<{ firstIndex: number; policy: LeafPolicy }[]> {
  const rows = await sql`select first_index, hash from leaf_policy order by first_index desc`
  return rows.map((row) => {
    const hash = toHex(row['hash'])
    const policy = knownPolicy(hash)
    if (policy) return { firstIndex: row['first_index'], policy }
    throw new DunesError(
      'LEAF_POLICY_UNKNOWN',
      `the leaf policy ${hash}, in force from index ${row['first_index']}, is not known here`,
      {
        hint: 'install the version of Dunes that the log operator names',
        exitCode: 3,
      },
    )
  })
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
}

/**
 * Writes verdicts, readings and what happened to payloads in one transaction. A submission that was unsettled, settled anew or
 * judged meanwhile is left alone. Answers the internal ids that were written.
 */
export async function writeJudgements(sql: Sql, judged: readonly Judged[]): Promise<Set<number>> {
  return sql.begin(async (tx) => {
    const stored = judged.map(({ judgement: { read, detail }, restored }): StoredJudgement => {
      if (!read) return { read: null, detail: printable(detail), ...(restored && { restored }) }
      const { payload: _, ...facts } = read
      return { read: facts, detail: printable(detail) }
    })
    const rows = await tx`
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
    for (const [dataset, items] of byDataset) await insertReadings(tx, dataset, items)
    await writeRetrievals(
      tx,
      written.flatMap(({ submission, retrieval }) =>
        retrieval ? [{ id: submission.id, ...retrieval }] : [],
      ),
    )
    await tell(
      tx,
      written.map(({ submission: { submission, contributor, sensor, dataset, index }, judgement }) => ({
        kind: 'judged',
        submission,
        contributor,
        sensor,
        dataset,
        index,
        verdict: judgement.verdict,
        reason: judgement.reason,
      })),
    )
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
