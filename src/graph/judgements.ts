import { fromHex, type Hex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { JsonObject } from '../core/json.ts'
import type { Judgement } from '../receipt/judge.ts'
import { knownPolicy, type LeafPolicy } from '../receipt/policy.ts'
import type { Sql } from './connect.ts'
import { insertReadings, readingTable, readingTables } from './readings.ts'
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
}

/** The first `limit` settled submissions without a verdict, by index, without those whose internal ids are in `skip`. */
export async function readUnjudged(sql: Sql, limit: number, skip: readonly number[]): Promise<Unjudged[]> {
  const rows = await sql`
    select u.*, c.account, s.name as sensor_name, d.name as dataset_name
    from submission u
    join contributor c on c.id = u.contributor join sensor s on s.id = u.sensor join dataset d on d.id = u.dataset
    where u.verdict is null and u.index is not null and u.id <> all(${skip as number[]}::bigint[])
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
  }))
}

export interface RegisteredKey {
  keyIndex: number
  keyId: Hex
  publicKey: Uint8Array
  possessionValid: boolean
}

/** The keys of contributors (internal ids), each list in key order. */
export async function readKeys(
  sql: Sql,
  contributors: readonly number[],
): Promise<Map<number, RegisteredKey[]>> {
  const rows = await sql`
    select contributor, key_index, key_id, public_key, possession_valid from contributor_key
    where contributor = any(${contributors as number[]}::bigint[]) order by contributor, key_index`
  const out = new Map<number, RegisteredKey[]>()
  for (const row of rows) {
    const keys = out.get(row['contributor']) ?? []
    keys.push({
      keyIndex: row['key_index'],
      keyId: toHex(row['key_id']),
      publicKey: new Uint8Array(row['public_key']),
      possessionValid: row['possession_valid'],
    })
    out.set(row['contributor'], keys)
  }
  return out
}

/** The bytes registered on-chain under this SHA-256. */
export async function readSchemaBytes(sql: Sql, sha256: Hex): Promise<Uint8Array> {
  const [row] = await sql`select schema from dataset_version where schema_sha256 = ${fromHex(sha256)} limit 1`
  if (row) return new Uint8Array(row['schema'])
  throw new DunesError('GRAPH_INCONSISTENT', `no dataset version has the schema ${sha256}`, {
    hint: 'the chain source skipped an event; run `dunes doctor`',
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

/** A verdict to write, and the readings that go with it. */
export interface Judged {
  submission: Unjudged
  judgement: Judgement
}

/**
 * Writes verdicts and readings in one transaction. A submission that was unsettled, settled anew or judged meanwhile is left
 * alone. Answers the internal ids that were written.
 */
export async function writeJudgements(sql: Sql, judged: readonly Judged[]): Promise<Set<number>> {
  return sql.begin(async (tx) => {
    const stored = judged.map(({ judgement: { read, detail } }): StoredJudgement => {
      if (!read) return { read: null, detail: printable(detail) }
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
    const written = new Set(rows.map((row) => row['id'] as number))
    // A dataset that never had a valid schema file has no table, and its payloads stay bytes.
    const tables = new Set(await readingTables(tx))
    const byDataset = new Map<string, { submission: number; readings: readonly JsonObject[] }[]>()
    for (const { submission, judgement } of judged) {
      if (!judgement.read || !written.has(submission.id) || !tables.has(readingTable(submission.dataset)))
        continue
      const items = byDataset.get(submission.dataset) ?? []
      items.push({ submission: submission.id, readings: judgement.read.payload.readings })
      byDataset.set(submission.dataset, items)
    }
    for (const [dataset, items] of byDataset) await insertReadings(tx, dataset, items)
    return written
  })
}

/** Postgres text and jsonb hold no NUL. */
const printable = (detail: string | null): string | null => detail?.replaceAll('\u0000', '\ufffd') ?? null

/** Notes what happened while a submission's bytes were sought; `what` null means that they were obtained. */
export async function writeRetrievals(
  sql: Sql,
  items: readonly { submission: number; attempts: number; what: string | null; detail: string | null }[],
): Promise<void> {
  if (items.length === 0) return
  await sql`
    insert into retrieval (submission, attempts, what, detail)
    select r.submission, r.attempts, r.what, r.detail
    from unnest(${items.map((i) => i.submission)}::bigint[], ${items.map((i) => i.attempts)}::int[],
                ${items.map((i) => i.what)}::text[], ${items.map((i) => printable(i.detail))}::text[])
         as r(submission, attempts, what, detail)
    join submission s on s.id = r.submission for key share of s
    on conflict (submission) do update set attempts = excluded.attempts, what = excluded.what, detail = excluded.detail,
      updated_at = now()`
}
