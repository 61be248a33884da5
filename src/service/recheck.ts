import type { Row } from 'postgres'
import { readRange } from '../chain/history.ts'
import type { PinnedRpc } from '../chain/rpc.ts'
import { registrySlots } from '../chain/slots.ts'
import { fromHex, type Hex, sha256, toHex } from '../core/bytes.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import type { Sql } from '../graph/connect.ts'
import type { Deployment } from '../graph/cursor.ts'
import { factsOf } from '../graph/facts.ts'
import { readSchemaBytes } from '../graph/judgements.ts'
import { getPayload } from '../graph/payloads.ts'
import { readRepeated } from '../graph/repeats.ts'
import { OUTCOMES, type StoredJudgement } from '../graph/schema.ts'
import { compareStatements, readStatements, statementsOf } from '../graph/statements.ts'
import type { PayloadFetcher } from '../payload/fetch.ts'
import { judgeUri, uriText } from '../payload/uri.ts'
import type { Outcome } from '../receipt/entry.ts'
import { type Judgement, judge, judgeDuplicate } from '../receipt/judge.ts'
import { makeReceiptEntry } from '../receipt/make.ts'
import { knownPolicy } from '../receipt/policy.ts'
import { notFound } from './error.ts'
import { readSubmissionId } from './submissions.ts'

export interface RecheckDeps {
  sql: Sql
  /** The endpoint to read from. */
  rpc: PinnedRpc
  deployment: Deployment
  fetcher: PayloadFetcher
  mlDsa: MlDsa
}

/** One thing that was read again, and what is stored of it. Null stands for nothing. */
export interface RecheckedField {
  field: string
  /** As chain, payload or checks say now. */
  now: string | null
  stored: string | null
  same: boolean
}

export interface Recheck {
  submission: Hex
  endpoint: string
  /** Whether everything that could be looked at is as it is stored. */
  same: boolean
  /** Whether everything could be looked at. */
  whole: boolean
  fields: RecheckedField[]
  /** What could not be looked at, and why. */
  notes: string[]
}

/** Blocks between submission and settlement that are read for attestations; of a longer time only both ends are. */
const BETWEEN = 10_000

/**
 * Reads one submission's events and its payload again, judges it again, makes its receipt again, and holds all of it against what is stored.
 * Throws `BAD_ID`, `NOT_FOUND`, and what endpoint and database throw.
 */
export async function recheckSubmission(
  deps: RecheckDeps,
  text: string,
  signal: AbortSignal,
): Promise<Recheck> {
  const { sql, rpc } = deps
  const id = readSubmissionId(text)
  const [row] = await sql`
    select u.*, c.account, s.name as sensor_name, d.name as dataset_name, l.entry
    from submission u
    join contributor c on c.id = u.contributor join sensor s on s.id = u.sensor join dataset d on d.id = u.dataset
    left join leaf l on l.index = u.index
    where u.submission_id = ${fromHex(id)}`
  if (!row) throw notFound('submission', id)
  const out = new Report(id, rpc.endpoint())
  await compareChain(deps, row as Row, id, out, signal)
  if (row['index'] !== null) {
    const record = await rpc.call(
      'eth_getStorageAt',
      [deps.deployment.registry, registrySlots.record(id), 'latest'],
      { signal },
    )
    out.add('record in the contract', String(record), toHex(row['record']))
    await compareVerdict(deps, row as Row, out, signal)
  } else out.note('it is not settled: there is no verdict to compare')
  return out.result()
}

class Report {
  readonly #id: Hex
  readonly #endpoint: string
  readonly #fields: RecheckedField[] = []
  readonly #notes: string[] = []

  constructor(id: Hex, endpoint: string) {
    this.#id = id
    this.#endpoint = endpoint
  }
  add(field: string, now: string | null, stored: string | null): void {
    this.#fields.push({ field, now, stored, same: now === stored })
  }
  note(text: string): void {
    this.#notes.push(text)
  }
  /** Something that could not be looked at: the answer is not whole. */
  missing(text: string): void {
    this.#notes.push(text)
    this.#whole = false
  }
  #whole = true
  result(): Recheck {
    return {
      submission: this.#id,
      endpoint: this.#endpoint,
      same: this.#fields.every(({ same }) => same),
      whole: this.#whole,
      fields: this.#fields,
      notes: this.#notes,
    }
  }
}

/** Its events, from the blocks in which they are said to be. */
async function compareChain(
  { sql, rpc, deployment }: RecheckDeps,
  row: Row,
  id: Hex,
  out: Report,
  signal: AbortSignal,
): Promise<void> {
  const { registry, anchor } = deployment
  const context = { rpc, contracts: { registry, anchor }, checkHashes: true, checkBlooms: true }
  const from = row['submitted_block'] as number
  const settled = row['settled_block'] as number | null
  const [head] = await sql`select head_number from cursor`
  const to = settled ?? (head?.['head_number'] as number)
  const near = to - from <= BETWEEN
  if (!near) out.note(`attestations between blocks ${from} and ${to} were not read again: too many blocks`)
  const pieces: [number, number][] = near
    ? [[from, to]]
    : [
        [from, from],
        [to, to],
      ]
  for (const [first, last] of pieces) {
    const mine = ({ name }: { name: string }) => name.includes(id)
    const chain = statementsOf(await readRange(context, first, last, signal)).filter(mine)
    const stored = (await readStatements(sql, first, last)).filter(mine)
    const different = compareStatements(chain, stored)
    for (const { name, values } of chain)
      for (const [field, value] of Object.entries(values)) {
        const found = different.find((d) => d.name === name && (d.field === field || d.field === 'it'))
        out.add(`${name.replace(` ${id}`, '')}, ${field}`, value, found ? found.stored : value)
      }
    for (const { name } of different.filter(({ chain: there }) => there === null))
      out.add(name.replace(` ${id}`, ''), null, 'there')
  }
}

/** Its payload, the verdict on it and its receipt. */
async function compareVerdict(deps: RecheckDeps, row: Row, out: Report, signal: AbortSignal): Promise<void> {
  const { sql, mlDsa, deployment } = deps
  if (row['verdict'] === null) {
    out.note('it is not judged yet')
    return
  }
  const outcome = OUTCOMES[row['outcome'] - 1] as Outcome
  const uri = uriText(row['uri'])
  const asked = outcome === 'validated' && judgeUri(uri) === null
  const bytes = asked ? await readPayload(deps, row, uri, out, signal) : null
  const observed = row['observed'] as boolean
  if (asked && !bytes && !observed) {
    out.missing('its payload cannot be had now, so that it was not judged again')
    return
  }
  if (observed && bytes)
    out.note('its payload can be had now; the verdict says that it could not be had in time, and stands')
  const [inForce] = await sql`
    select hash from leaf_policy where first_index <= ${row['index']} order by first_index desc limit 1`
  const policy = inForce && knownPolicy(toHex(inForce['hash']))
  if (!policy) {
    out.missing('this version does not know the leaf policy in force at its index')
    return
  }
  const keys = await sql`
    select key_id, public_key, possession_valid from contributor_key
    where contributor = ${row['contributor']} and (block, log_index) < (${row['submitted_block']}, ${row['submitted_log']})
    order by key_index`
  const at = keys.findLastIndex((key) => toHex(key['key_id']) === toHex(row['key_id']))
  const key = keys[at]
  const schemaSha256 = toHex(row['schema_sha256'])
  const payload = { sha256: toHex(row['payload_sha256']), bytes: row['payload_bytes'] as number }
  const first = judge(
    {
      outcome,
      chain: deployment.chain,
      contributor: toHex(row['account']),
      sensor: row['sensor_name'],
      dataset: row['dataset_name'],
      payload,
      uriRefused: outcome === 'validated' && judgeUri(uri) !== null,
      bytes: observed ? null : bytes,
      key: key
        ? { publicKey: new Uint8Array(key['public_key']), possessionValid: key['possession_valid'] }
        : null,
      earlierKeys: keys.slice(0, Math.max(0, at)).map((other) => new Uint8Array(other['public_key'])),
      schema: await readSchemaBytes(sql, schemaSha256),
      submittedTime: row['submitted_time'],
      policy,
    },
    { mlDsa },
  )
  const judgement = judgeDuplicate(first, await repeats(sql, row, first))
  compareJudgement(judgement, row, out)
  if (!row['entry']) {
    out.note('it is not logged yet: there is no receipt to compare')
    return
  }
  const entry = makeReceiptEntry(
    {
      origin: deployment.origin,
      chain: deployment.chain,
      registry: deployment.registry,
      ...factsOf(row),
    },
    judgement,
  )
  out.add('receipt, SHA-256 of its entry', toHex(sha256(entry)), toHex(sha256(row['entry'])))
}

function compareJudgement({ verdict, reason, observed, read }: Judgement, row: Row, out: Report): void {
  const stored = (row['judgement'] as StoredJudgement | null)?.read ?? null
  out.add('verdict', verdict, row['verdict'])
  out.add('reason', reason, row['reason'])
  out.add('observed', String(observed), String(row['observed']))
  for (const field of [
    'readings',
    'names',
    'firstTimestamp',
    'signatureSha256',
    'signedBytesSha256',
    'mirrorSha256',
  ] as const) {
    const text = (value: unknown): string | null =>
      value === null || value === undefined ? null : String(value)
    if (read || stored) out.add(`payload, ${field}`, text(read?.[field]), text(stored?.[field]))
  }
}

/** The bytes, from the host and from here; both are held against the hash on the chain. */
async function readPayload(
  { sql, fetcher }: RecheckDeps,
  row: Row,
  uri: string,
  out: Report,
  signal: AbortSignal,
): Promise<Uint8Array | null> {
  const hash = new Uint8Array(row['payload_sha256'])
  const stored = await getPayload(sql, hash)
  if (stored) out.add('stored payload, SHA-256', toHex(hash), toHex(sha256(stored)))
  const outcome = await fetcher.fetch({ uri, sha256: hash, bytes: row['payload_bytes'], signal })
  // The fetcher gives nothing that has another hash.
  if (outcome.kind === 'bytes') return outcome.bytes
  out.note(`the host does not deliver the payload now: ${outcome.detail}`)
  return stored && stored.length === row['payload_bytes'] ? stored : null
}

/** Whether an earlier accepted submission has the same signed bytes. */
async function repeats(sql: Sql, row: Row, { verdict, read }: Judgement): Promise<boolean> {
  if (verdict !== 'accepted' || !read) return false
  const { firstTimestamp, signedBytesSha256 } = read
  const signedSha256 = signedBytesSha256.slice(2)
  const signed = { id: row['id'], sensor: row['sensor'], firstTimestamp, signedSha256 }
  return (await readRepeated(sql, [signed], row['index'])).size > 0
}
