import { type Hex, isHex } from '../core/bytes.ts'
import type { Json } from '../core/json.ts'
import type { SchemaFile } from '../maml/schema.ts'
import type { EntryFacts } from './entry.ts'
import type { Findings } from './findings.ts'
import { contractHash, sha256Hex, ZERO } from './hash.ts'
import { isBefore } from './registrations.ts'
import { bytesOf, hexOf, numberOf, type Row, textOf } from './rows.ts'
import type { Subject } from './subject.ts'
import { type AuditKey, OUTCOMES, type Outcome } from './verdict.ts'

/** A submission's row with the rows that it refers to. */
export interface Joined {
  readonly u: Row
  /** Columns of its sensor: name, contributor, dataset. */
  readonly sensor: Row
  readonly dataset: string
  readonly account: Hex
  /** `acc` of the same contributor's submission with the number before, null where there is none. */
  readonly before: Hex | null
  /** SHA-256 of the dataset's schema in force at the submission by the versions' places, null where there is none. */
  readonly schemaInForce: Hex | null
  readonly attestations: readonly Row[]
  /** Keys registered before it, oldest first, with what their possession verified as here. */
  readonly keys: readonly (AuditKey & { readonly row: Row })[]
}

/** Answers null instead of throwing: what a changed row makes impossible to compute is a difference, not a failure. */
export function attempt<T>(compute: () => T): T | null {
  try {
    return compute()
  } catch {
    return null
  }
}

/** Columns that a submission has from when it is settled on, and no earlier. */
const SETTLED = [
  'seq',
  'outcome',
  'record',
  'acc',
  'settled_block',
  'settled_hash',
  'settled_log',
  'settled_tx',
  'settled_time',
] as const

/** What every submission must satisfy, settled or not. */
export function checkSubmitted(joined: Joined, subject: Subject, findings: Findings): void {
  const { u, sensor } = joined
  const row = hexOf(u['submission_id'])
  const same = (field: string, expected: unknown, found: unknown) =>
    findings.same('submission', row, field, expected, found)
  same('contributor', sensor['contributor'], u['contributor'])
  same('dataset', sensor['dataset'], u['dataset'])
  const id = attempt(() =>
    contractHash('submission', [
      subject.chainId,
      subject.registry,
      joined.account,
      numberOf(u['nonce']),
      { name: textOf(sensor['name']) },
      word(u['payload_sha256']),
      numberOf(u['payload_bytes']),
      sha256Hex(bytesOf(u['uri'])),
    ]),
  )
  same('submission_id', id, row)
  same('schema_sha256', joined.schemaInForce, hexOf(u['schema_sha256']))
  const key = joined.keys.at(-1)
  same('key_id', key ? sha256Hex(key.publicKey) : 'a key', hexOf(u['key_id']))
  const revoked = key?.row['revoked_block'] ?? null
  if (revoked !== null && numberOf(revoked) < numberOf(u['submitted_block']))
    findings.add(
      'contributor_key',
      `${joined.account} key ${numberOf(key?.row['key_index'])}`,
      'revoked_block',
      `from ${numberOf(u['submitted_block'])}`,
      revoked,
    )
  checkAttestations(joined, findings)
  if (u['index'] !== null) return
  for (const field of [...SETTLED, 'verdict', 'reason', 'judgement', 'signed_sha256'])
    same(field, null, u[field])
  same('observed', false, u['observed'])
}

/** 32 bytes of a row; throws where they are not. */
function word(value: Json | undefined): Hex {
  const hex = hexOf(value)
  if (isHex(hex, 32)) return hex
  throw new RangeError('not 32 bytes')
}

function checkAttestations({ u, attestations }: Joined, findings: Findings): void {
  const row = hexOf(u['submission_id'])
  const quorum = numberOf(u['quorum'])
  const counts = { yes: 0, no: 0 }
  const submitted = [numberOf(u['submitted_block']), numberOf(u['submitted_log'])] as const
  const settled = [numberOf(u['settled_block']), numberOf(u['settled_log'])] as const
  for (const item of attestations) {
    counts[item['valid'] === true ? 'yes' : 'no']++
    const place = [numberOf(item['block']), numberOf(item['log_index'])] as const
    const inTime = isBefore(submitted, place) && (u['index'] === null || isBefore(place, settled))
    if (!inTime)
      findings.add(
        'attestation',
        row,
        'block',
        'after the submission and before its settlement',
        place.join(', log '),
      )
    if (item['validator'] === u['contributor'])
      findings.add('attestation', row, 'validator', 'another account than the contributor', item['validator'])
  }
  const outcome = u['index'] === null ? undefined : OUTCOMES[numberOf(u['outcome']) - 1]
  const wins = outcome === 'validated' ? 'yes' : outcome === 'rejected' ? 'no' : null
  for (const side of ['yes', 'no'] as const) {
    if (side === wins) findings.same('submission', row, 'quorum', counts[side], u['quorum'])
    else if (!(counts[side] < quorum))
      findings.add('submission', row, 'quorum', `more than ${counts[side]}`, u['quorum'])
  }
  if (!wins) return
  // The attestation that reaches the quorum settles in the same transaction, and its event stands right before.
  const last = attestations.findLast((item) => (item['valid'] === true) === (wins === 'yes'))
  if (!last) return
  findings.same('attestation', row, 'block', settled[0], last['block'])
  findings.same('attestation', row, 'log_index', settled[1] - 1, last['log_index'])
  findings.same('attestation', row, 'tx', hexOf(u['settled_tx']), hexOf(last['tx']))
}

/** What a settled submission must satisfy; gives what its entry says of the chain, or null where the row cannot be one. */
export function checkSettled(
  joined: Joined,
  index: number,
  subject: Subject,
  findings: Findings,
): EntryFacts | null {
  const { u, sensor, account, dataset } = joined
  const row = hexOf(u['submission_id'])
  const same = (field: string, expected: unknown, found: unknown) =>
    findings.same('submission', row, field, expected, found)
  const outcome: Outcome | undefined = OUTCOMES[numberOf(u['outcome']) - 1]
  const seq = numberOf(u['seq'])
  if (seq !== 0 && joined.before === null)
    findings.add('submission', row, 'seq', 'the number after an earlier one', u['seq'])
  const uriSha256 = sha256Hex(bytesOf(u['uri']))
  const record = attempt(() =>
    contractHash('record', [
      subject.chainId,
      subject.registry,
      word(u['submission_id']),
      account,
      { name: textOf(sensor['name']) },
      { name: dataset },
      word(u['schema_sha256']),
      word(u['payload_sha256']),
      numberOf(u['payload_bytes']),
      uriSha256,
      word(u['key_id']),
      numberOf(u['submitted_block']),
      seq,
      index,
      numberOf(u['outcome']),
    ]),
  )
  same('record', record, hexOf(u['record']))
  const before = seq === 0 ? ZERO : (joined.before ?? ZERO)
  const acc = attempt(() => contractHash('acc', [before, word(u['record'])]))
  same('acc', acc, hexOf(u['acc']))
  if (
    !isBefore(
      [numberOf(u['submitted_block']), numberOf(u['submitted_log'])],
      [numberOf(u['settled_block']), numberOf(u['settled_log'])],
    )
  )
    findings.add('submission', row, 'settled_block', 'after the submission', u['settled_block'])
  if (!outcome) {
    findings.add('submission', row, 'outcome', '1, 2 or 3', u['outcome'])
    return null
  }
  return {
    origin: subject.origin,
    chain: subject.chain,
    registry: subject.registry,
    index,
    submission: row,
    contributor: account,
    seq,
    acc: hexOf(u['acc']),
    sensor: textOf(sensor['name']),
    dataset,
    schemaSha256: hexOf(u['schema_sha256']),
    uriSha256,
    payload: { sha256: hexOf(u['payload_sha256']), bytes: numberOf(u['payload_bytes']) },
    keyId: hexOf(u['key_id']),
    submitted: { block: numberOf(u['submitted_block']), logIndex: numberOf(u['submitted_log']) },
    settled: {
      tx: hexOf(u['settled_tx']),
      block: numberOf(u['settled_block']),
      blockHash: hexOf(u['settled_hash']),
      logIndex: numberOf(u['settled_log']),
      time: numberOf(u['settled_time']),
    },
    outcome,
  }
}

/** A schema file by its bytes' hash, as {@link SchemaFile} or null; undefined where no such bytes are registered. */
export type SchemaLookup = (sha256: Hex) => Promise<SchemaFile | null | undefined>
