import { type Hex, toHex, u64be } from '../core/bytes.ts'
import { selector } from './abi.ts'
import {
  type ChainAudit,
  type ChainCounts,
  type ChainReport,
  type ChainWork,
  unsteady,
} from './chain-audit.ts'
import { EventFold } from './chain-events.ts'
import { LeafRebuild } from './chain-leaves.ts'
import { Findings, type FindingsState } from './findings.ts'
import type { AuditBlock, ChainReader } from './rpc.ts'
import type { Store } from './store.ts'
import type { Subject } from './subject.ts'
import { Tree, type TreeState } from './tree.ts'

const noCounts = (): ChainCounts => ({
  reproduced: 0,
  differs: 0,
  notCheckable: 0,
  notLogged: 0,
  observed: 0,
  obtainable: 0,
  anchors: 0,
  events: 0,
})

/**
 * Rebuilds the log from the chain and the payloads' URIs and compares it with what the log has published, of which it takes nothing but
 * its observed statements: see docs/fsck.md. State is in `store` and committed range by range. Throws `FSCK_CHAIN_UNREACHABLE`
 * and what `published` throws (exit code 3), `FSCK_POLICY_UNKNOWN`, and the signal's reason.
 */
export class ChainAuditor {
  readonly #work: ChainWork
  readonly #events: EventFold
  readonly #leaves: LeafRebuild
  readonly #times = new Map<number, AuditBlock>()
  #next: number

  constructor(audit: ChainAudit) {
    const state = readState(audit.store)
    this.#next = state?.next ?? audit.subject.startBlock
    const block = async (number: number): Promise<AuditBlock> => {
      const known = this.#times.get(number)
      if (known) return known
      const found = await audit.chain.block(number)
      if (!found) throw unsteady(`it has no block ${number}`)
      this.#times.set(number, found)
      return found
    }
    this.#work = {
      audit,
      findings: new Findings(state?.findings),
      counts: state?.counts ?? noCounts(),
      tables: state?.tables ?? {},
      tree: new Tree(state?.tree),
      block,
      timeOf: async (number) => (await block(number)).time,
    }
    this.#events = new EventFold(this.#work)
    this.#leaves = new LeafRebuild(this.#work)
  }

  async run(): Promise<ChainReport> {
    const { subject, chain, upTo, store, rows, signal } = this.#work.audit
    const resumedFrom = store.meta('state') === null ? null : this.#next
    const progress = (step: string, done: number) =>
      this.#work.audit.progress?.({
        step,
        done: done - subject.startBlock,
        total: upTo + 1 - subject.startBlock,
      })
    // Anchors and leaf policies first: an anchor is about leaves that were settled before it.
    let at = Number(store.meta('anchors') ?? subject.startBlock)
    while (at <= upTo) {
      signal?.throwIfAborted()
      progress('anchors', at)
      const { events, upTo: done } = await chain.events([subject.anchor], at, upTo)
      store.begin()
      for (const event of events) await this.#events.anchor(event)
      await rows?.events(events, (block) => this.#work.timeOf(block))
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
        const settled = await this.#events.registry(event)
        if (settled) await this.#leaves.add(settled)
      }
      await this.#leaves.flush()
      await rows?.events(events, (block) => this.#work.timeOf(block))
      this.#next = done + 1
      this.#save()
      store.commit()
      this.#times.clear()
    }
    progress('submissions and leaves', upTo + 1)
    await rows?.finish(this.#work.tables, (account, index) => store.revokedAt(account, index))
    return this.#report(resumedFrom)
  }

  #save(): void {
    this.#work.audit.store.setMeta(
      'state',
      JSON.stringify({
        next: this.#next,
        tree: this.#work.tree.state(),
        counts: this.#work.counts,
        tables: this.#work.tables,
        findings: this.#work.findings.state(),
      }),
    )
  }

  get findings(): Findings {
    return this.#work.findings
  }

  async #report(resumedFrom: number | null): Promise<ChainReport> {
    const { subject, chain, upTo, store, published } = this.#work.audit
    const block = await this.#work.block(upTo)
    const settled = Number(await chain.view(subject.registry, selector('settledCount()'), upTo))
    const onChain = { ...(await chain.anchored(subject.anchor, upTo)), settled }
    const same = (field: string, expected: unknown, found: unknown) =>
      this.#work.findings.same('chain', `block ${upTo}`, field, expected, found)
    same('settledCount', this.#work.tables['settled'] ?? 0, settled)
    const last = JSON.parse(store.meta('anchor') ?? '[0,0]') as [number, number]
    same('anchored size', last[1], onChain.size)
    const anchor = store.anchorAt(onChain.size)
    if (anchor) same('anchored root', anchor.root, onChain.root)
    if (this.#work.tree.size < onChain.size && published.size < onChain.size)
      this.#work.findings.add('log', published.from, 'size', `at least ${onChain.size}`, published.size)
    if (this.#work.tree.size === published.size && published.root !== null)
      this.#work.findings.same('log', published.from, 'root', toHex(this.#work.tree.root()), published.root)
    return {
      subject,
      counts: { ...this.#work.counts, pending: store.pending() },
      upTo: block,
      size: this.#work.tree.size,
      root: toHex(this.#work.tree.root()),
      onChain,
      resumedFrom,
      findings: this.#work.findings.state(),
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

/** The log's name as its contract holds it. Throws `FSCK_CHAIN_UNREACHABLE`. */
export async function readOrigin(chain: ChainReader, anchor: Hex, block: number): Promise<string> {
  const answer = (await chain.view(anchor, selector('origin()'), block)).slice(2)
  const length = Number(`0x${answer.slice(64, 128) || '0'}`)
  return Buffer.from(answer.slice(128, 128 + 2 * length), 'hex').toString('latin1')
}

/** A subject in one line, to tell by whether a saved state is of the same audit. */
export const subjectName = ({ chain, registry, anchor, origin, startBlock }: Subject): string =>
  [chain, registry, anchor, origin, toHex(u64be(startBlock))].join(' ')
