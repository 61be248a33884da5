import type { Json, JsonObject } from '../core/json.ts'
import type { Reason } from '../core/reason.ts'
import type { SchemaFile } from '../maml/schema.ts'
import { type EntryFacts, entryDifferences, readEntry, writeEntry } from './entry.ts'
import { sha256Hex } from './hash.ts'
import { type Leaf, type LeafContext, REMEMBERED } from './leaf-context.ts'
import { type AuditPolicy, policyAt } from './policy.ts'
import { type Columns, checkReadings, type ExpectedReadings, readColumns, sameValue } from './readings.ts'
import { bytesOf, hexOf, numberOf } from './rows.ts'
import { attempt, checkSettled, checkSubmitted, type Joined } from './submission.ts'
import { type AuditVerdict, reasonOnChain, schemaOf, type VerdictFacts, verdictOf } from './verdict.ts'

interface Judged {
  readonly joined: Joined
  readonly facts: EntryFacts | null
  readonly verdict: AuditVerdict | null
  readonly schema: SchemaFile | null
}

/** Judges settled submissions anew from their stored payloads, and holds row, readings and entry against that. */
export class Rejudge {
  readonly #context: LeafContext
  readonly #schemas = new Map<string, SchemaFile | null | undefined>()
  readonly #columns = new Map<string, Columns | null>()

  constructor(context: LeafContext) {
    this.#context = context
  }

  /** Checks submissions whose payloads are held at once. `leaves` are the stored ones by index. */
  async check(rows: readonly Joined[], leaves: ReadonlyMap<number, Leaf>): Promise<void> {
    const { db, subject, findings, counts } = this.#context
    const hashes = [...new Set(rows.map(({ u }) => hexOf(u['payload_sha256']).slice(2)))]
    const payloads = new Map(
      (
        await db`
          select encode(sha256, 'hex') as sha256, bytes from payload
          where sha256 in (select decode(h, 'hex') from unnest(${hashes}::text[]) as h)`
      ).map((row) => [`0x${row['sha256']}`, new Uint8Array(row['bytes'])]),
    )
    counts.payloads += payloads.size
    const judged: Judged[] = []
    for (const joined of rows) {
      const index = numberOf(joined.u['index'])
      checkSubmitted(joined, subject, findings)
      const facts = checkSettled(joined, index, subject, findings)
      const leaf = leaves.get(index)
      const schema = await this.#schema(joined, index)
      const bytes = payloads.get(hexOf(joined.u['payload_sha256'])) ?? null
      const verdict = facts && this.#judge(joined, facts, schema, bytes, leaf)
      judged.push({ joined, facts, verdict, schema })
    }
    const repeats = await this.#repeats(judged)
    const readings: ExpectedReadings[] = []
    for (const item of judged) {
      const index = numberOf(item.joined.u['index'])
      const isLogged = index < this.#context.leafCount
      counts.submissions++
      if (item.joined.u['verdict'] === null && !isLogged) continue
      if (!item.verdict || !item.facts) continue
      const reason = isLogged && repeats.has(index) ? 'DUPLICATE' : item.verdict.reason
      this.#checkVerdict(item.joined, item.verdict, reason)
      const leaf = leaves.get(index)
      if (leaf) this.#checkLeaf(item.joined, item.facts, item.verdict, reason, leaf)
      readings.push({
        submission: numberOf(item.joined.u['id']),
        row: item.facts.submission,
        dataset: item.facts.dataset,
        file: item.schema,
        readings: item.verdict.payload?.readings ?? [],
      })
    }
    counts.readings += await checkReadings(db, readings, (dataset) => this.#columnsOf(dataset), findings)
  }

  async #columnsOf(dataset: string): Promise<Columns | null> {
    const known = this.#columns.get(dataset)
    if (known !== undefined) return known
    if (this.#columns.size >= REMEMBERED) this.#columns.clear()
    const columns = await readColumns(this.#context.db, dataset)
    this.#columns.set(dataset, columns)
    return columns
  }

  async #schema({ u }: Joined, index: number): Promise<SchemaFile | null> {
    const { db, policies, findings } = this.#context
    const policy: AuditPolicy | null = policyAt(policies, index)
    if (!policy) return null
    const sha = hexOf(u['schema_sha256'])
    let file = this.#schemas.get(sha)
    if (file === undefined) {
      const [row] = await db`
        select schema from dataset_version where schema_sha256 = decode(${sha.slice(2)}, 'hex') limit 1`
      if (!row) {
        findings.add('dataset_version', sha, 'schema', 'the schema of a submission', 'nothing')
        return null
      }
      file = schemaOf(new Uint8Array(row['schema']), policy)
      if (this.#schemas.size >= REMEMBERED) this.#schemas.clear()
      this.#schemas.set(sha, file)
    }
    return file
  }

  /** The verdict that the stored payload gives; null where it cannot be had. */
  #judge(
    joined: Joined,
    facts: EntryFacts,
    schema: SchemaFile | null,
    bytes: Uint8Array | null,
    leaf: Leaf | undefined,
  ): AuditVerdict | null {
    const { findings, policies, mlDsa } = this.#context
    const { u } = joined
    const policy = policyAt(policies, facts.index)
    if (!policy) {
      findings.add('leaf_policy', `index ${facts.index}`, 'hash', 'a policy that this version knows', 'none')
      return null
    }
    const verdictFacts: VerdictFacts = {
      ...facts,
      uri: bytesOf(u['uri']),
      keys: joined.keys,
      schema,
      submittedTime: numberOf(u['submitted_time']),
      policy,
    }
    if (reasonOnChain(verdictFacts)) return verdictOf(verdictFacts, null, mlDsa)
    const isRight = bytes !== null && sha256Hex(bytes) === facts.payload.sha256
    if (bytes && !isRight)
      findings.add('payload', facts.payload.sha256, 'bytes', facts.payload.sha256, sha256Hex(bytes))
    // A statement that is in the log is taken as it is; before that, the row makes it.
    const observed = leaf ? readEntry(leaf.entry)?.object['observed'] : u['observed']
    if (observed === true) {
      if (isRight && bytes.length === facts.payload.bytes)
        findings.warn(
          `${facts.submission}: its payload is stated to be unavailable, but is in the payload store`,
        )
      return verdictOf(verdictFacts, null, mlDsa)
    }
    if (!isRight && u['verdict'] !== null) {
      if (!bytes)
        findings.add(
          'payload',
          facts.payload.sha256,
          'bytes',
          `the payload of ${facts.submission}`,
          'nothing',
        )
      return null
    }
    return verdictOf(verdictFacts, bytes, mlDsa)
  }

  /** Indices of accepted submissions that repeat an earlier accepted one of their contributor. */
  async #repeats(judged: readonly Judged[]): Promise<Set<number>> {
    const accepted = judged.filter(({ verdict }) => verdict?.reason === null)
    // Sensor and time say where to look; contributor and hash are what counts.
    const rows = await this.#context.db`
      select e.index::float8 as index from unnest(${accepted.map(({ joined }) => numberOf(joined.u['index']))}::bigint[],
        ${accepted.map(({ joined }) => numberOf(joined.u['contributor']))}::bigint[],
        ${accepted.map(({ joined }) => numberOf(joined.u['sensor']))}::bigint[],
        ${accepted.map(({ verdict }) => verdict?.read?.firstTimestamp ?? '')}::text[],
        ${accepted.map(({ verdict }) => verdict?.read?.signedBytesSha256.slice(2) ?? '')}::text[])
        as e(index, contributor, sensor, first_timestamp, signed)
      where exists (
        select from submission u where u.sensor = e.sensor and (u.judgement -> 'read' ->> 'firstTimestamp') collate "C" = e.first_timestamp
          and u.signed_sha256 = decode(e.signed, 'hex') and u.contributor = e.contributor and u.verdict = 'accepted' and u.index < e.index)`
    return new Set(rows.map((row) => row['index']))
  }

  #checkVerdict({ u }: Joined, { read }: AuditVerdict, reason: Reason | null): void {
    const { findings, counts } = this.#context
    const row = hexOf(u['submission_id'])
    const same = (field: string, expected: unknown, found: unknown) =>
      findings.same('submission', row, field, expected, found)
    same('verdict', reason === null ? 'accepted' : 'rejected', u['verdict'])
    same('reason', reason, u['reason'])
    same('observed', reason === 'PAYLOAD_UNAVAILABLE', u['observed'])
    same(
      'signed_sha256',
      read?.signedBytesSha256 ?? null,
      u['signed_sha256'] === null ? null : hexOf(u['signed_sha256']),
    )
    const stored = (u['judgement'] as JsonObject | null)?.['read']
    if (!sameValue((read ?? null) as Json, stored))
      findings.add('submission', row, 'judgement.read', read, stored)
    counts[reason === null ? 'accepted' : 'rejected']++
    if (reason === 'PAYLOAD_UNAVAILABLE') counts.observed++
  }

  #checkLeaf(
    { u }: Joined,
    facts: EntryFacts,
    { read }: AuditVerdict,
    reason: Reason | null,
    leaf: Leaf,
  ): void {
    const { findings } = this.#context
    findings.same('leaf', `index ${facts.index}`, 'submission', String(u['id']), leaf.submission)
    const expected = attempt(() => writeEntry(facts, reason, read))
    if (expected === null)
      findings.add('leaf', facts.submission, 'entry', 'what its row cannot say', leaf.entry.length)
    else
      for (const { field, ...values } of entryDifferences(expected, leaf.entry))
        findings.add('leaf', facts.submission, field, values.expected, values.found)
  }
}
