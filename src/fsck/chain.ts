import { fromHex, type Hex, toHex, u64be } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { DunesError } from '../core/error.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { verifyPossession } from '../maml/possession.ts'
import { type AbiResult, type AuditEvent, hexOfBytes, selector, textOfBytes } from './abi.ts'
import { type EntryFacts, entryDifferences, readEntry, writeEntry } from './entry.ts'
import { Findings, type FindingsState } from './findings.ts'
import { contractHash, possessionDigest, sha256Hex, ZERO } from './hash.ts'
import { policyAt } from './policy.ts'
import type { Published } from './published.ts'
import type { AuditBlock, ChainReader } from './rpc.ts'
import type { Store, StoredSubmission } from './store.ts'
import type { Progress, Subject } from './subject.ts'
import { attempt } from './submission.ts'
import { hashLeaf, Tree, type TreeState } from './tree.ts'
import { OUTCOMES, type Outcome, reasonOnChain, schemaOf, type VerdictFacts, verdictOf } from './verdict.ts'

/** One attempt to obtain a payload: bytes with exactly this hash and length, or why there are none. */
export type FetchPayload = (request: {
  uri: string
  sha256: Uint8Array
  bytes: number
  signal?: AbortSignal
}) => Promise<
  { kind: 'bytes'; bytes: Uint8Array } | { kind: 'unavailable'; what: string; retryable: boolean }
>

/** Holds stored rows against events, where there is a database. */
export interface RowCheck {
  /** Events of one contract's range, with the time of each block that they are in. */
  events(events: readonly AuditEvent[], timeOf: (block: number) => Promise<number>): Promise<void>
  /** After the last event: what stands in the database beyond what the chain has said. */
  finish(counts: Readonly<Record<string, number>>, revokedAt: Store['revokedAt']): Promise<void>
}

export interface ChainAudit {
  readonly subject: Subject
  readonly chain: ChainReader
  /** The last block to read; everything up to it is taken as final. */
  readonly upTo: number
  readonly fetchPayload: FetchPayload
  readonly published: Published
  readonly store: Store
  readonly rows: RowCheck | null
  readonly mlDsa: MlDsa
  readonly clock: Clock
  readonly progress?: (progress: Progress) => void
  readonly signal?: AbortSignal
}

/** Leaves by what became of them, and what else was counted. */
export interface ChainCounts {
  reproduced: number
  differs: number
  /** The payload is gone; everything that the chain says of the leaf agrees. */
  notCheckable: number
  /** Settled, and not in the log yet. */
  notLogged: number
  /** Reproduced on the strength of an observed statement. */
  observed: number
  /** Of these, payloads that can be had now. */
  obtainable: number
  anchors: number
  events: number
}

export interface ChainReport {
  readonly subject: Subject
  readonly counts: ChainCounts & { pending: number }
  readonly upTo: AuditBlock
  /** Root of the published entries. */
  readonly size: number
  readonly root: Hex
  /** What the anchor contract holds at `upTo`. */
  readonly onChain: { readonly size: number; readonly root: Hex; readonly settled: number }
  readonly resumedFrom: number | null
  readonly findings: FindingsState
}

/** Settled submissions whose payloads are fetched together, and bytes of them, at most. */
const BATCH = 256
const HELD_BYTES = 32 << 20
/** Further attempts at a payload that made room for others, or whose host may only have been slow. */
const AGAIN = { busy: 20, other: 1 } as const
const AGAIN_MS = 300

/** What a payload alone can say of an entry. */
const PAYLOAD_FIELDS = new Set([
  'verdict',
  'reason',
  'observed',
  'readings',
  'payloadSig.alg',
  'payloadSig.sha256',
  'mirrorSha256',
  'line 5',
  'line 6',
  'line 7',
])

interface Settled {
  readonly facts: EntryFacts
  readonly submission: StoredSubmission
}

const number = (value: AbiResult | undefined): number => (typeof value === 'number' ? value : Number.NaN)
const hex = (value: AbiResult | undefined): Hex => (typeof value === 'string' ? value : '0x')

/**
 * Rebuilds the log from the chain and the payloads' URIs and compares it with what the log has published, of which it takes nothing but
 * its observed statements: see docs/fsck.md. State is in `store` and committed range by range. Throws `FSCK_CHAIN_UNREACHABLE`
 * and what `published` throws (exit code 3), `FSCK_POLICY_UNKNOWN`, and the signal's reason.
 */
export class ChainAuditor {
  readonly #audit: ChainAudit
  readonly #findings: Findings
  readonly #counts: ChainCounts
  readonly #tables: Record<string, number>
  readonly #tree: Tree
  readonly #times = new Map<number, AuditBlock>()
  #next: number
  #settled: Settled[] = []

  constructor(audit: ChainAudit) {
    this.#audit = audit
    const state = readState(audit.store)
    this.#next = state?.next ?? audit.subject.startBlock
    this.#findings = new Findings(state?.findings)
    this.#tree = new Tree(state?.tree)
    this.#tables = state?.tables ?? {}
    this.#counts = state?.counts ?? {
      reproduced: 0,
      differs: 0,
      notCheckable: 0,
      notLogged: 0,
      observed: 0,
      obtainable: 0,
      anchors: 0,
      events: 0,
    }
  }

  async run(): Promise<ChainReport> {
    const { subject, chain, upTo, store, rows, signal } = this.#audit
    const resumedFrom = store.meta('state') === null ? null : this.#next
    const progress = (step: string, done: number) =>
      this.#audit.progress?.({ step, done: done - subject.startBlock, total: upTo + 1 - subject.startBlock })
    // Anchors and leaf policies first: an anchor is about leaves that were settled before it.
    let at = Number(store.meta('anchors') ?? subject.startBlock)
    while (at <= upTo) {
      signal?.throwIfAborted()
      progress('anchors', at)
      const { events, upTo: done } = await chain.events([subject.anchor], at, upTo)
      store.begin()
      for (const event of events) await this.#anchorEvent(event)
      await rows?.events(events, (block) => this.#timeOf(block))
      at = done + 1
      store.setMeta('anchors', String(at))
      this.#save()
      store.commit()
    }
    while (this.#next <= upTo) {
      signal?.throwIfAborted()
      progress('submissions and leaves', this.#next)
      const { events, upTo: done } = await chain.events([subject.registry], this.#next, upTo)
      store.begin()
      for (const event of events) {
        await this.#registryEvent(event)
        if (this.#settled.length >= BATCH || this.#heldBytes() >= HELD_BYTES) await this.#flush()
      }
      await this.#flush()
      await rows?.events(events, (block) => this.#timeOf(block))
      this.#next = done + 1
      this.#save()
      store.commit()
      this.#times.clear()
    }
    progress('submissions and leaves', upTo + 1)
    await rows?.finish(this.#tables, (account, index) => store.revokedAt(account, index))
    return this.#report(resumedFrom)
  }

  #save(): void {
    this.#audit.store.setMeta(
      'state',
      JSON.stringify({
        next: this.#next,
        tree: this.#tree.state(),
        counts: this.#counts,
        tables: this.#tables,
        findings: this.#findings.state(),
      }),
    )
  }

  get findings(): Findings {
    return this.#findings
  }

  #heldBytes = (): number => this.#settled.reduce((sum, { facts }) => sum + facts.payload.bytes, 0)

  async #block(number: number): Promise<AuditBlock> {
    const known = this.#times.get(number)
    if (known) return known
    const block = await this.#audit.chain.block(number)
    if (!block) throw unsteady(`it has no block ${number}`)
    this.#times.set(number, block)
    return block
  }

  async #timeOf(number: number): Promise<number> {
    return (await this.#block(number)).time
  }

  #count(table: string): void {
    this.#counts.events++
    this.#tables[table] = (this.#tables[table] ?? 0) + 1
  }

  async #anchorEvent(event: AuditEvent): Promise<void> {
    const { subject, store } = this.#audit
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
    this.#counts.anchors++
    const [seq, size, root, previousSize, , chain] = event.values
    const before = JSON.parse(store.meta('anchor') ?? JSON.stringify([0, 0, ZERO])) as [number, number, Hex]
    const time = await this.#timeOf(event.block)
    const row = `anchor ${number(seq)}`
    this.#findings.same('chain', row, 'seq', before[0] + 1, seq)
    this.#findings.same('chain', row, 'previousSize', before[1], previousSize)
    const values = [before[2], number(seq), number(size), hex(root), event.block, time]
    const next = attempt(() => contractHash('anchors', [subject.chainId, subject.anchor, ...values]))
    this.#findings.same('chain', row, 'chain', next, hex(chain))
    store.setMeta('anchor', JSON.stringify([number(seq), number(size), hex(chain)]))
    store.addAnchor(number(size), number(seq), hex(root))
  }

  async #registryEvent(event: AuditEvent): Promise<void> {
    const { subject, store, mlDsa } = this.#audit
    const { values } = event
    const same = (row: string, field: string, expected: unknown, found: unknown) =>
      this.#findings.same('chain', row, field, expected, found)
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
        return
      }
      case 'KeyRevoked':
        store.revokeKey(hex(values[0]), number(values[1]), event.block)
        return
      case 'DatasetUpdated': {
        const bytes = values[3] as Uint8Array
        same(textOfBytes(values[0]), 'schemaSha256', sha256Hex(bytes), hex(values[2]))
        store.addSchema(textOfBytes(values[0]), number(values[1]), sha256Hex(bytes), bytes)
        this.#count('dataset_version')
        return
      }
      case 'SensorRegistered':
        store.addSensor(textOfBytes(values[1]), hex(values[0]), textOfBytes(values[2]))
        this.#count('sensor')
        return
      case 'Attested':
        this.#count('attestation')
        return
      case 'Submitted':
        this.#submitted(event)
        return
      case 'SubmissionSettled':
        await this.#settle(event)
    }
  }

  #submitted(event: AuditEvent): void {
    const { subject, store } = this.#audit
    const [id, contributor, nonce, sensorName, dataset, schema, payload, bytes, uri, keyId] = event.values
    const [row, account] = [hex(id), hex(contributor)]
    const same = (field: string, expected: unknown, found: unknown) =>
      this.#findings.same('chain', row, field, expected, found)
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

  async #settle(event: AuditEvent): Promise<void> {
    const { subject, store } = this.#audit
    const [id, , index, seq, outcomeNumber, record, acc] = event.values
    const row = hex(id)
    const same = (field: string, expected: unknown, found: unknown) =>
      this.#findings.same('chain', row, field, expected, found)
    const submission = store.takeSubmission(row)
    const outcome: Outcome | undefined = OUTCOMES[number(outcomeNumber) - 1]
    if (!submission || !outcome) {
      same('submission', 'a submission that is pending, and an outcome', outcome ?? 'none')
      return
    }
    this.#count('settled')
    const head = store.head(submission.contributor) ?? { submitted: 0, seq: 0, acc: ZERO }
    const uriSha256 = sha256Hex(fromHex(submission.uri))
    same('index', (this.#tables['settled'] ?? 0) - 1, index)
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
    const block = await this.#block(event.block)
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
    this.#settled.push({ facts, submission })
  }

  /** Rebuilds the leaves of what was settled, in order, with their payloads fetched side by side. */
  async #flush(): Promise<void> {
    const { published } = this.#audit
    const items = this.#settled.splice(0)
    const first = items[0]?.facts.index
    const last = items.at(-1)?.facts.index
    if (first === undefined || last === undefined) return
    const logged = await published.entries(
      Math.min(first, published.size),
      Math.min(last + 1, published.size),
    )
    const entries = new Map(
      logged.flatMap((entry, i): [number, Uint8Array][] => (entry ? [[first + i, entry]] : [])),
    )
    const prepared = await Promise.all(
      items.map(async (item) => {
        const facts = await this.#verdictFacts(item)
        return {
          facts,
          bytes: reasonOnChain(facts) ? null : await this.#fetch(item, entries.get(item.facts.index)),
        }
      }),
    )
    for (const [i, { facts: chain }] of items.entries()) {
      const { facts, bytes } = prepared[i] as (typeof prepared)[number]
      this.#leaf(chain, facts, bytes, entries.get(chain.index))
    }
  }

  async #verdictFacts({ facts, submission }: Settled): Promise<VerdictFacts> {
    const { store } = this.#audit
    const policy = policyAt(store.policies(), facts.index)
    if (!policy)
      throw new DunesError(
        'FSCK_POLICY_UNKNOWN',
        `no leaf policy that is known here holds at index ${facts.index}`,
        {
          hint: 'install the version of Dunes that the log operator names',
          exitCode: 3,
        },
      )
    const schema = store.schemaBytes(facts.schemaSha256)
    return {
      ...facts,
      uri: fromHex(submission.uri),
      keys: store.keys(facts.contributor, submission.keys),
      schema: schema && schemaOf(schema, policy),
      // Only age limits ask for the time.
      submittedTime: Object.hasOwn(policy.ages, facts.dataset) ? await this.#timeOf(submission.block) : 0,
      policy,
    }
  }

  async #fetch({ facts, submission }: Settled, entry: Uint8Array | undefined): Promise<Uint8Array | null> {
    const { fetchPayload, clock, signal } = this.#audit
    const request = {
      uri: Buffer.from(fromHex(submission.uri)).toString('latin1'),
      sha256: fromHex(facts.payload.sha256),
      bytes: facts.payload.bytes,
      ...(signal && { signal }),
    }
    const isStated = entry !== undefined && readEntry(entry)?.object['observed'] === true
    for (let [busy, other] = [0, 0]; ; ) {
      const outcome = await fetchPayload(request)
      signal?.throwIfAborted()
      if (outcome.kind === 'bytes') return outcome.bytes
      if (outcome.what === 'busy' ? busy++ >= AGAIN.busy : other++ >= AGAIN.other || isStated) return null
      if (!outcome.retryable) return null
      await clock.sleep(AGAIN_MS, signal)
    }
  }

  #leaf(
    chain: EntryFacts,
    facts: VerdictFacts,
    bytes: Uint8Array | null,
    entry: Uint8Array | undefined,
  ): void {
    const { store, mlDsa } = this.#audit
    const found = entry && readEntry(entry)?.object
    const isStated = found?.['observed'] === true && reasonOnChain(facts) === null
    const verdict = verdictOf(facts, isStated ? null : bytes, mlDsa)
    const signed = verdict.read?.signedBytesSha256
    const isRepeat =
      verdict.reason === null && signed !== undefined && store.isAccepted(chain.contributor, signed)
    const reason = isRepeat ? 'DUPLICATE' : verdict.reason
    if (reason === null && signed) store.addAccepted(chain.contributor, signed)
    const isGone = reason === 'PAYLOAD_UNAVAILABLE' && !isStated
    if (isGone) store.addGone(chain.contributor)
    if (!entry) {
      this.#counts.notLogged++
      return
    }
    const isUnsure =
      isGone || (reason === null && found?.['reason'] === 'DUPLICATE' && store.isGone(chain.contributor))
    const differences = entryDifferences(writeEntry(chain, reason, verdict.read), entry).filter(
      ({ field }) => !(isUnsure && PAYLOAD_FIELDS.has(field)),
    )
    for (const { field, ...values } of differences)
      this.#findings.add('leaf', chain.submission, field, values.expected, values.found)
    if (differences.length > 0) this.#counts.differs++
    else if (isUnsure) this.#counts.notCheckable++
    else this.#counts.reproduced++
    if (isStated) {
      this.#counts.observed++
      if (bytes) {
        this.#counts.obtainable++
        this.#findings.warn(
          `${chain.submission}: its payload is stated to be unavailable, but can be had now`,
        )
      }
    }
    if (chain.index === this.#tree.size) this.#tree.push(hashLeaf(entry))
    this.#tree.takeFull()
    const anchor = store.anchorAt(this.#tree.size)
    if (anchor)
      this.#findings.same('anchor', `anchor ${anchor.seq}`, 'root', toHex(this.#tree.root()), anchor.root)
  }

  async #report(resumedFrom: number | null): Promise<ChainReport> {
    const { subject, chain, upTo, store, published } = this.#audit
    const block = await this.#block(upTo)
    const settled = Number(await chain.view(subject.registry, selector('settledCount()'), upTo))
    const onChain = { ...(await chain.anchored(subject.anchor, upTo)), settled }
    const same = (field: string, expected: unknown, found: unknown) =>
      this.#findings.same('chain', `block ${upTo}`, field, expected, found)
    same('settledCount', this.#tables['settled'] ?? 0, settled)
    const last = JSON.parse(store.meta('anchor') ?? '[0,0]') as [number, number]
    same('anchored size', last[1], onChain.size)
    const anchor = store.anchorAt(onChain.size)
    if (anchor) same('anchored root', anchor.root, onChain.root)
    if (this.#tree.size < onChain.size && published.size < onChain.size)
      this.#findings.add('log', published.from, 'size', `at least ${onChain.size}`, published.size)
    if (this.#tree.size === published.size && published.root !== null)
      this.#findings.same('log', published.from, 'root', toHex(this.#tree.root()), published.root)
    return {
      subject,
      counts: { ...this.#counts, pending: store.pending() },
      upTo: block,
      size: this.#tree.size,
      root: toHex(this.#tree.root()),
      onChain,
      resumedFrom,
      findings: this.#findings.state(),
    }
  }
}

interface ChainState {
  readonly next: number
  readonly tree: TreeState
  readonly counts: ChainCounts
  readonly tables: Record<string, number>
  readonly findings: FindingsState
}

/** Where an interrupted run was. One that had come to the log's end is begun anew, as the log may have grown since. */
function readState(store: Store): ChainState | null {
  const saved = store.meta('state')
  const state = saved === null ? null : (JSON.parse(saved) as ChainState)
  if (state === null || state.counts.notLogged === 0) return state
  store.clear()
  return null
}

const unsteady = (what: string): DunesError =>
  new DunesError('FSCK_CHAIN_UNREACHABLE', `the chain's endpoint contradicts itself: ${what}`, {
    hint: 'try again, or another endpoint',
    retryable: true,
    exitCode: 3,
  })

/** The log's name as its contract holds it. Throws `FSCK_CHAIN_UNREACHABLE`. */
export async function readOrigin(chain: ChainReader, anchor: Hex, block: number): Promise<string> {
  const answer = (await chain.view(anchor, selector('origin()'), block)).slice(2)
  const length = Number(`0x${answer.slice(64, 128) || '0'}`)
  return Buffer.from(answer.slice(128, 128 + 2 * length), 'hex').toString('latin1')
}

/** A subject in one line, to tell by whether a saved state is of the same audit. */
export const subjectName = ({ chain, registry, anchor, origin, startBlock }: Subject): string =>
  [chain, registry, anchor, origin, toHex(u64be(startBlock))].join(' ')
