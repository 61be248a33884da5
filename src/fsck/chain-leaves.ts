import { fromHex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { ChainWork, Settled } from './chain-audit.ts'
import { type EntryFacts, entryDifferences, readEntry, writeEntry } from './entry.ts'
import { policyAt } from './policy.ts'
import { hashLeaf } from './tree.ts'
import { reasonOnChain, schemaOf, type VerdictFacts, verdictOf } from './verdict.ts'

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

/** The second stage: makes the leaf of each settled submission anew, its payload fetched from its URI, and compares. */
export class LeafRebuild {
  readonly #work: ChainWork
  #settled: Settled[] = []

  constructor(work: ChainWork) {
    this.#work = work
  }

  /** Takes a settled submission, in the order of their indices. */
  async add(settled: Settled): Promise<void> {
    this.#settled.push(settled)
    const held = this.#settled.reduce((sum, { facts }) => sum + facts.payload.bytes, 0)
    if (this.#settled.length >= BATCH || held >= HELD_BYTES) await this.flush()
  }

  /** Rebuilds the leaves of what was settled, in order, with their payloads fetched side by side. */
  async flush(): Promise<void> {
    const { published } = this.#work.audit
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
    const { store } = this.#work.audit
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
      submittedTime: Object.hasOwn(policy.ages, facts.dataset)
        ? await this.#work.timeOf(submission.block)
        : 0,
      policy,
    }
  }

  async #fetch({ facts, submission }: Settled, entry: Uint8Array | undefined): Promise<Uint8Array | null> {
    const { fetchPayload, clock, signal } = this.#work.audit
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
    const { store, mlDsa } = this.#work.audit
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
      this.#work.counts.notLogged++
      return
    }
    const isUnsure =
      isGone || (reason === null && found?.['reason'] === 'DUPLICATE' && store.isGone(chain.contributor))
    const differences = entryDifferences(writeEntry(chain, reason, verdict.read), entry).filter(
      ({ field }) => !(isUnsure && PAYLOAD_FIELDS.has(field)),
    )
    for (const { field, ...values } of differences)
      this.#work.findings.add('leaf', chain.submission, field, values.expected, values.found)
    if (differences.length > 0) this.#work.counts.differs++
    else if (isUnsure) this.#work.counts.notCheckable++
    else this.#work.counts.reproduced++
    if (isStated) {
      this.#work.counts.observed++
      if (bytes) {
        this.#work.counts.obtainable++
        this.#work.findings.warn(
          `${chain.submission}: its payload is stated to be unavailable, but can be had now`,
        )
      }
    }
    if (chain.index === this.#work.tree.size) this.#work.tree.push(hashLeaf(entry))
    this.#work.tree.takeFull()
    const anchor = store.anchorAt(this.#work.tree.size)
    if (anchor)
      this.#work.findings.same(
        'anchor',
        `anchor ${anchor.seq}`,
        'root',
        toHex(this.#work.tree.root()),
        anchor.root,
      )
  }
}
