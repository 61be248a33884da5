import { fromHex, type Hex } from '../core/bytes.ts'
import { verifyPossession } from '../maml/possession.ts'
import { type AbiResult, type AuditEvent, hexOfBytes, textOfBytes } from './abi.ts'
import { type ChainWork, type Settled, unsteady } from './chain-audit.ts'
import type { EntryFacts } from './entry.ts'
import { contractHash, possessionDigest, sha256Hex, ZERO } from './hash.ts'
import { attempt } from './submission.ts'
import { OUTCOMES, type Outcome } from './verdict.ts'

const number = (value: AbiResult | undefined): number => (typeof value === 'number' ? value : Number.NaN)
const hex = (value: AbiResult | undefined): Hex => (typeof value === 'string' ? value : '0x')

/** The first stage: folds the contracts' events as the contracts themselves do, and finds where an event contradicts that. */
export class EventFold {
  readonly #work: ChainWork

  constructor(work: ChainWork) {
    this.#work = work
  }

  #count(table: string): void {
    this.#work.counts.events++
    this.#work.tables[table] = (this.#work.tables[table] ?? 0) + 1
  }

  /** Takes an event of ReceiptAnchor. */
  async anchor(event: AuditEvent): Promise<void> {
    const { subject, store } = this.#work.audit
    if (event.name === 'LeafPolicyAdded') {
      const first = event.values[0]
      // No leaf ever has an index beyond what a number can hold.
      if (typeof first !== 'number') return
      store.addPolicy(first, hex(event.values[1]))
      this.#count('leaf_policy')
      return
    }
    if (event.name !== 'Anchored') return
    this.#count('anchor')
    this.#work.counts.anchors++
    const [seq, size, root, previousSize, , chain] = event.values
    const before = JSON.parse(store.meta('anchor') ?? JSON.stringify([0, 0, ZERO])) as [number, number, Hex]
    const time = await this.#work.timeOf(event.block)
    const row = `anchor ${number(seq)}`
    this.#work.findings.same('chain', row, 'seq', before[0] + 1, seq)
    this.#work.findings.same('chain', row, 'previousSize', before[1], previousSize)
    const values = [before[2], number(seq), number(size), hex(root), event.block, time]
    const next = attempt(() => contractHash('anchors', [subject.chainId, subject.anchor, ...values]))
    this.#work.findings.same('chain', row, 'chain', next, hex(chain))
    store.setMeta('anchor', JSON.stringify([number(seq), number(size), hex(chain)]))
    store.addAnchor(number(size), number(seq), hex(root))
  }

  /** Takes an event of the registry; answers the submission that it settles, null where it settles none. */
  async registry(event: AuditEvent): Promise<Settled | null> {
    const { subject, store, mlDsa } = this.#work.audit
    const { values } = event
    const same = (row: string, field: string, expected: unknown, found: unknown) =>
      this.#work.findings.same('chain', row, field, expected, found)
    switch (event.name) {
      case 'KeyRegistered': {
        const [account, index] = [hex(values[0]), number(values[1])]
        const publicKey = values[3] as Uint8Array
        same(`${account} key ${index}`, 'keyIndex', store.keyCount(account), index)
        same(`${account} key ${index}`, 'keyId', sha256Hex(publicKey), hex(values[2]))
        const digest = possessionDigest(subject.chainId, subject.registry, account, index)
        const proved = verifyPossession(publicKey, digest, values[4] as Uint8Array, mlDsa)
        store.addKey(account, index, { publicKey, proved })
        this.#count('contributor_key')
        return null
      }
      case 'KeyRevoked':
        store.revokeKey(hex(values[0]), number(values[1]), event.block)
        return null
      case 'DatasetUpdated': {
        const bytes = values[3] as Uint8Array
        same(textOfBytes(values[0]), 'schemaSha256', sha256Hex(bytes), hex(values[2]))
        store.addSchema(textOfBytes(values[0]), number(values[1]), sha256Hex(bytes), bytes)
        this.#count('dataset_version')
        return null
      }
      case 'SensorRegistered':
        store.addSensor(textOfBytes(values[1]), hex(values[0]), textOfBytes(values[2]))
        this.#count('sensor')
        return null
      case 'Attested':
        this.#count('attestation')
        return null
      case 'Submitted':
        this.#submitted(event)
        return null
      case 'SubmissionSettled':
        return this.#settle(event)
    }
    return null
  }

  #submitted(event: AuditEvent): void {
    const { subject, store } = this.#work.audit
    const [id, contributor, nonce, sensorName, dataset, schema, payload, bytes, uri, keyId] = event.values
    const [row, account] = [hex(id), hex(contributor)]
    const same = (field: string, expected: unknown, found: unknown) =>
      this.#work.findings.same('chain', row, field, expected, found)
    const sensor = store.sensor(textOfBytes(sensorName))
    const head = store.head(account) ?? { submitted: 0, seq: 0, acc: ZERO }
    const keys = store.keyCount(account)
    const key = store.keys(account, keys).at(-1)
    same('nonce', head.submitted, nonce)
    same('contributor', sensor?.account, account)
    same('dataset', sensor?.dataset, textOfBytes(dataset))
    same('schemaSha256', store.schemaOf(textOfBytes(dataset)), hex(schema))
    same('keyId', key && sha256Hex(key.publicKey), hex(keyId))
    const uriSha256 = sha256Hex(uri as Uint8Array)
    const computed = attempt(() =>
      contractHash('submission', [
        subject.chainId,
        subject.registry,
        account,
        number(nonce),
        { name: textOfBytes(sensorName) },
        hex(payload),
        number(bytes),
        uriSha256,
      ]),
    )
    same('id', computed, row)
    store.setHead(account, { ...head, submitted: head.submitted + 1 })
    store.addSubmission({
      id: row,
      contributor: account,
      sensor: textOfBytes(sensorName),
      dataset: textOfBytes(dataset),
      schemaSha256: hex(schema),
      payload: { sha256: hex(payload), bytes: number(bytes) },
      uri: hexOfBytes(uri),
      keyId: hex(keyId),
      block: event.block,
      logIndex: event.logIndex,
      keys,
    })
    this.#count('submission')
  }

  async #settle(event: AuditEvent): Promise<Settled | null> {
    const { subject, store } = this.#work.audit
    const [id, , index, seq, outcomeNumber, record, acc] = event.values
    const row = hex(id)
    const same = (field: string, expected: unknown, found: unknown) =>
      this.#work.findings.same('chain', row, field, expected, found)
    const submission = store.takeSubmission(row)
    const outcome: Outcome | undefined = OUTCOMES[number(outcomeNumber) - 1]
    if (!submission || !outcome) {
      same('submission', 'a submission that is pending, and an outcome', outcome ?? 'none')
      return null
    }
    this.#count('settled')
    const head = store.head(submission.contributor) ?? { submitted: 0, seq: 0, acc: ZERO }
    const uriSha256 = sha256Hex(fromHex(submission.uri))
    same('index', (this.#work.tables['settled'] ?? 0) - 1, index)
    same('seq', head.seq, seq)
    const computed = contractHash('record', [
      subject.chainId,
      subject.registry,
      row,
      submission.contributor,
      { name: submission.sensor },
      { name: submission.dataset },
      submission.schemaSha256,
      submission.payload.sha256,
      submission.payload.bytes,
      uriSha256,
      submission.keyId,
      submission.block,
      number(seq),
      number(index),
      number(outcomeNumber),
    ])
    same('record', computed, hex(record))
    const folded = contractHash('acc', [head.acc, computed])
    same('acc', folded, hex(acc))
    store.setHead(submission.contributor, { ...head, seq: head.seq + 1, acc: folded })
    const block = await this.#work.block(event.block)
    if (block.hash !== event.blockHash) throw unsteady(`block ${event.block} has two hashes`)
    const facts: EntryFacts = {
      origin: subject.origin,
      chain: subject.chain,
      registry: subject.registry,
      index: number(index),
      submission: row,
      contributor: submission.contributor,
      seq: number(seq),
      acc: folded,
      sensor: submission.sensor,
      dataset: submission.dataset,
      schemaSha256: submission.schemaSha256,
      uriSha256,
      payload: submission.payload,
      keyId: submission.keyId,
      submitted: { block: submission.block, logIndex: submission.logIndex },
      settled: {
        tx: event.tx,
        block: event.block,
        blockHash: event.blockHash,
        logIndex: event.logIndex,
        time: block.time,
      },
      outcome,
    }
    return { facts, submission }
  }
}
