import { equalBytes, type Hex, toHex, utf8 } from '../core/bytes.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import type { Reason } from '../core/reason.ts'
import { verifyPossession } from '../maml/possession.ts'
import type { SchemaFile } from '../maml/schema.ts'
import { type EntryFacts, entryDifferences, readEntry, writeEntry } from './entry.ts'
import type { Findings } from './findings.ts'
import { possessionDigest, sha256, sha256Hex } from './hash.ts'
import { type CheckpointKeySet, noteFaultBySets } from './note.ts'
import { type AuditPolicy, type PolicyList, policyAt } from './policy.ts'
import { type Columns, checkReadings, type ExpectedReadings, readColumns, sameValue } from './readings.ts'
import { isBefore } from './registrations.ts'
import { bytesOf, hexOf, jsonRows, numberOf, type Row, type Snapshot, textOf } from './rows.ts'
import type { Subject } from './subject.ts'
import { attempt, checkSettled, checkSubmitted, type Joined } from './submission.ts'
import { hashLeaf, type Tile, type Tree } from './tree.ts'
import { type AuditVerdict, reasonOnChain, schemaOf, type VerdictFacts, verdictOf } from './verdict.ts'

/** Indices in one batch. */
export const BATCH = 256
/** Payload bytes that are held at once, but for the last payload: what bounds memory. */
const HELD_BYTES = 16 << 20
/** Schema files, and verified proofs of possession, that are remembered. */
const REMEMBERED = 4_096
const RECEIPT_CONTEXT = utf8('dunes.mu/v1')

/** A receipt key and the indices that it holds for, both ends inclusive and null open. */
export interface ReceiptKey {
  readonly publicKey: Uint8Array
  readonly fromIndex: number | null
  readonly toIndex: number | null
}

/** What has been looked at. */
export interface Counts {
  submissions: number
  leaves: number
  accepted: number
  rejected: number
  observed: number
  payloads: number
  readings: number
  tiles: number
  checkpoints: number
  anchoredRoots: number
  receiptSignatures: number
}

export interface LeafContext {
  readonly db: Snapshot
  readonly subject: Subject
  readonly mlDsa: MlDsa
  readonly findings: Findings
  readonly counts: Counts
  readonly policies: PolicyList
  readonly checkpointKeys: readonly CheckpointKeySet[]
  readonly receiptKeys: readonly ReceiptKey[]
  /** Rows of the leaf table. */
  readonly leafCount: number
}

interface Leaf {
  readonly submission: string
  readonly entry: Uint8Array
}

interface Judged {
  readonly joined: Joined
  readonly facts: EntryFacts | null
  readonly verdict: AuditVerdict | null
  readonly schema: SchemaFile | null
}

/**
 * The pass over all settled submissions in index order: each row, its verdict judged anew from the payload, its readings, its
 * entry, and the tree over the entries with the tiles, checkpoints and anchors on the way.
 */
export class LeafPass {
  readonly #context: LeafContext
  readonly #tree: Tree
  readonly #schemas = new Map<string, SchemaFile | null | undefined>()
  readonly #proved = new Map<string, boolean>()
  readonly #columns = new Map<string, Columns | null>()

  constructor(context: LeafContext, tree: Tree) {
    this.#context = context
    this.#tree = tree
  }

  /** Checks the indices from `from` up to but without `to`. */
  async batch(from: number, to: number): Promise<void> {
    const { db, findings, counts } = this.#context
    const joined = new Map(
      (await this.joined(db`u.index >= ${from} and u.index < ${to}`)).map((item) => [
        numberOf(item.u['index']),
        item,
      ]),
    )
    const leaves = new Map(
      (
        await db`select index, submission::text, entry from leaf where index >= ${from} and index < ${to}`
      ).map((row): [number, Leaf] => [
        row['index'],
        { submission: row['submission'], entry: new Uint8Array(row['entry']) },
      ]),
    )
    const marks = await this.#marks(from, to)
    const rows = [...joined.values()]
    for (let at = 0; at < rows.length; ) {
      let held = 0
      let end = at
      while (end < rows.length && held < HELD_BYTES)
        held += Math.max(0, numberOf(rows[end++]?.u['payload_bytes']) || 0)
      await this.#chunk(rows.slice(at, end), leaves)
      at = end
    }
    for (let index = from; index < to; index++) {
      const leaf = leaves.get(index)
      if (!joined.has(index)) findings.add('submission', `index ${index}`, 'index', index, 'no submission')
      if (index < this.#context.leafCount && !leaf)
        findings.add('leaf', `index ${index}`, 'index', 'a leaf', 'nothing')
      // The tree stands on the stored entries: a wrong entry is one finding, and a wrong tile another.
      if (leaf && index === this.#tree.size) this.#tree.push(hashLeaf(leaf.entry))
      for (const mark of marks.get(index + 1) ?? []) this.#checkMark(mark, index + 1)
    }
    counts.leaves += leaves.size
    await this.checkTiles(this.#tree.takeFull())
    await this.#checkReceiptSignatures(from, to, leaves)
  }

  /** Submissions that satisfy a condition on `u`, by index, with what they refer to. */
  async joined(condition: ReturnType<Snapshot>): Promise<Joined[]> {
    const { db } = this.#context
    const rows = jsonRows(
      await db`
      select jsonb_build_object('u', to_jsonb(u), 'dataset', d.name, 'account', c.account,
        'sensor', jsonb_build_object('name', s.name, 'contributor', s.contributor, 'dataset', s.dataset),
        'before', p.acc, 'in_force', v.schema_sha256,
        'attestations', (select jsonb_agg(to_jsonb(a) order by a.block, a.log_index) from attestation a where a.submission = u.id)
      ) as row
      from submission u left join sensor s on s.id = u.sensor left join dataset d on d.id = u.dataset
      left join contributor c on c.id = u.contributor
      left join submission p on p.contributor = u.contributor and p.seq = u.seq - 1
      left join lateral (
        select schema_sha256 from dataset_version v
        where v.dataset = u.dataset and (v.block, v.log_index) < (u.submitted_block, u.submitted_log)
        order by v.block desc, v.log_index desc limit 1) v on true
      where ${condition} order by u.index, u.id`,
    )
    const contributors = [...new Set(rows.map((row) => numberOf((row['u'] as Row)['contributor'])))]
    const keys = new Map<number, Row[]>()
    for (const key of jsonRows(
      await db`
        select to_jsonb(k) || jsonb_build_object('account', c.account) as row
        from contributor_key k join contributor c on c.id = k.contributor
        where k.contributor = any(${contributors}::bigint[]) order by k.key_index`,
    )) {
      const owner = numberOf(key['contributor'])
      keys.set(owner, [...(keys.get(owner) ?? []), key])
    }
    return rows.map((row): Joined => {
      const u = row['u'] as Row
      const submitted = [numberOf(u['submitted_block']), numberOf(u['submitted_log'])] as const
      return {
        u,
        sensor: row['sensor'] as Row,
        dataset: textOf(row['dataset']),
        account: hexOf(row['account']),
        before: row['before'] === null ? null : hexOf(row['before']),
        schemaInForce: row['in_force'] === null ? null : hexOf(row['in_force']),
        attestations: (row['attestations'] ?? []) as unknown as Row[],
        keys: (keys.get(numberOf(u['contributor'])) ?? [])
          .filter((key) => isBefore([numberOf(key['block']), numberOf(key['log_index'])], submitted))
          .map((key) => ({ row: key, publicKey: bytesOf(key['public_key']), proved: this.#isProved(key) })),
      }
    })
  }

  #isProved(key: Row): boolean {
    const { subject, mlDsa } = this.#context
    const id = JSON.stringify([key['account'], key['key_index'], key['public_key'], key['possession']])
    const name = sha256Hex(utf8(id))
    const known = this.#proved.get(name)
    if (known !== undefined) return known
    if (this.#proved.size >= REMEMBERED) this.#proved.clear()
    const digest = attempt(() =>
      possessionDigest(subject.chainId, subject.registry, hexOf(key['account']), numberOf(key['key_index'])),
    )
    const proved =
      digest !== null &&
      verifyPossession(bytesOf(key['public_key']), digest, bytesOf(key['possession']), mlDsa)
    this.#proved.set(name, proved)
    return proved
  }

  async #chunk(rows: readonly Joined[], leaves: ReadonlyMap<number, Leaf>): Promise<void> {
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
    const rows = await this.#context.db`
      select e.index::float8 as index from unnest(${accepted.map(({ joined }) => numberOf(joined.u['index']))}::bigint[],
        ${accepted.map(({ joined }) => numberOf(joined.u['contributor']))}::bigint[],
        ${accepted.map(({ verdict }) => verdict?.read?.signedBytesSha256.slice(2) ?? '')}::text[]) as e(index, contributor, signed)
      where exists (
        select from submission u where u.contributor = e.contributor and u.signed_sha256 = decode(e.signed, 'hex')
          and u.verdict = 'accepted' and u.index < e.index)`
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

  /** Stored roots that are claimed for the sizes after each index of a batch. */
  async #marks(from: number, to: number): Promise<Map<number, Row[]>> {
    const { db } = this.#context
    const out = new Map<number, Row[]>()
    for (const row of jsonRows(
      await db`
      select to_jsonb(c) as row from checkpoint c where size > ${from} and size <= ${to}
      union all select to_jsonb(a) from anchor a where size > ${from} and size <= ${to}`,
    )) {
      const size = numberOf(row['size'])
      out.set(size, [...(out.get(size) ?? []), row])
    }
    return out
  }

  #checkMark(mark: Row, size: number): void {
    const { findings, subject, checkpointKeys, mlDsa, counts } = this.#context
    // A root beyond the log is judged elsewhere.
    if (this.#tree.size !== size) return
    const root = this.#tree.root()
    const isCheckpoint = 'note' in mark
    const [table, row] = isCheckpoint
      ? ['checkpoint', `size ${size}`]
      : ['anchor', `anchor ${numberOf(mark['seq'])}`]
    findings.same(table, row, 'root', toHex(root), hexOf(mark['root']))
    if (!isCheckpoint) {
      counts.anchoredRoots++
      return
    }
    counts.checkpoints++
    const fault = noteFaultBySets(
      textOf(mark['note']),
      { origin: subject.origin, size, root },
      checkpointKeys,
      mlDsa,
    )
    if (fault) findings.add('checkpoint', row, `note, ${fault.field}`, fault.expected, fault.found)
  }

  /** Holds stored tiles against those that were built. */
  async checkTiles(tiles: readonly Tile[]): Promise<void> {
    const { db, findings, counts } = this.#context
    if (tiles.length === 0) return
    const rows = await db`
      select level, index::text, hashes from tile where (level, index) in (
        select * from unnest(${tiles.map((t) => t.level)}::smallint[], ${tiles.map((t) => t.index)}::bigint[]))`
    const stored = new Map(
      rows.map((row) => [`${row['level']}/${row['index']}`, new Uint8Array(row['hashes'])]),
    )
    for (const { level, index, hashes } of tiles) {
      counts.tiles++
      const name = `level ${level}, tile ${index}`
      const found = stored.get(`${level}/${index}`)
      if (!found) findings.add('tile', name, 'hashes', `${hashes.length / 32} hashes`, 'nothing')
      else if (found.length !== hashes.length)
        findings.add('tile', name, 'number of bytes', hashes.length, found.length)
      else if (!equalBytes(found, hashes)) {
        const at = 32 * Math.floor(found.findIndex((byte, i) => byte !== hashes[i]) / 32)
        const hash = (bytes: Uint8Array): Hex => toHex(bytes.subarray(at, at + 32))
        findings.add('tile', name, `hash ${at / 32}`, hash(hashes), hash(found))
      }
    }
  }

  async #checkReceiptSignatures(from: number, to: number, leaves: ReadonlyMap<number, Leaf>): Promise<void> {
    const { db, findings, receiptKeys, mlDsa, counts } = this.#context
    const rows = await db`
      select index, key_id, signature from receipt_signature where index >= ${from} and index < ${to} order by index`
    for (const { index, key_id, signature } of rows) {
      counts.receiptSignatures++
      const leaf = leaves.get(index)
      const row = `index ${index}`
      if (!leaf) {
        findings.add('receipt_signature', row, 'index', 'a leaf', 'nothing')
        continue
      }
      if (receiptKeys.length === 0) continue
      const key = receiptKeys.find(({ publicKey }) => equalBytes(sha256(publicKey), key_id))
      const isInForce =
        key && (key.fromIndex ?? 0) <= index && index <= (key.toIndex ?? Number.MAX_SAFE_INTEGER)
      if (!key || !isInForce)
        findings.add('receipt_signature', row, 'key_id', 'a receipt key of the trust policy', toHex(key_id))
      else if (!mlDsa.verify(65, key.publicKey, leaf.entry, signature, RECEIPT_CONTEXT))
        findings.add('receipt_signature', row, 'signature', 'one that verifies', 'one that does not')
    }
  }
}
