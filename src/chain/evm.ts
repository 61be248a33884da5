import { type Clock, systemClock } from '../core/clock.ts'
import { type EvmBlock, getBlock, getBlocks, inconsistent } from './blocks.ts'
import type { Contracts } from './decode.ts'
import { type Final, Finality, type FinalityRule } from './finality.ts'
import { Health } from './health.ts'
import { readAhead } from './history.ts'
import { evmChain } from './ids.ts'
import { KnownBlocks } from './known.ts'
import { RANGE_LIMITS, type RangeLimits, RangeWidth } from './range.ts'
import { type ReadContext, readRecent } from './read.ts'
import type { PinnedRpc, RpcPool } from './rpc.ts'
import {
  BEFORE_GENESIS,
  type BlockRef,
  ChainError,
  type ChainIdentity,
  type ChainSource,
  type ChainStep,
  type Cursor,
  type SourceStatus,
} from './source.ts'

export interface EvmSourceSettings extends Contracts {
  /** The first block of interest: the one that deployed the earlier of the two contracts. */
  readonly startBlock: number
  /** The chain's own `finalized` tag (the default), or how many blocks must stand on top of a final one. */
  readonly finality?: FinalityRule
  /** Milliseconds between looks at the head, 250 unless told. `wake` looks at once. */
  readonly pollMs?: number
  /**
   * Milliseconds for which the chain must have been shorter than what was appended before that is rolled back, 5,000 unless told. A node
   * that lags looks the same for a moment.
   */
  readonly shorterMs?: number
  /** Recompute block hashes from header fields. On unless told; off for chains whose headers are not Ethereum's. */
  readonly checkHashes?: boolean
  /** Hold logs against the header's bloom. On unless told; off for chains that leave blooms empty. */
  readonly checkBlooms?: boolean
  readonly ranges?: RangeLimits
  /** Answers of final history read ahead of the consumer, 2 unless told. */
  readonly readAhead?: number
}

/** What an operator may want to know, for logs and metrics. */
export type SourceReport =
  | { readonly kind: 'retry'; readonly error: ChainError; readonly failures: number; readonly waitMs: number }
  | { readonly kind: 'recovered'; readonly failures: number }
  | { readonly kind: 'split'; readonly from: number; readonly to: number; readonly error: ChainError }
  | { readonly kind: 'reorg'; readonly from: BlockRef; readonly to: BlockRef }

export interface EvmSourceDeps {
  readonly rpc: RpcPool
  readonly clock?: Clock
  readonly random?: () => number
  readonly report?: (report: SourceReport) => void
}

/** Blocks that are walked one by one are asked for in groups of this many. */
const WALK_BLOCKS = 64
/** A longer way to the last final block is read by ranges. */
const RANGE_WORTH_BLOCKS = 32
/** While history is read the head is looked at this often, in milliseconds. */
const HEAD_EVERY_MS = 5_000
/** This ends a walk, as do endpoints that all serve another chain; everything else is retried for ever. */
const FATAL: ReadonlySet<string> = new Set(['REORG_BEYOND_FINALITY'])

/**
 * A {@link ChainSource} over an EVM chain's JSON-RPC. Final history is read by block ranges, the rest block by block along parent
 * hashes; both are the same walk, which knows every block from the last final one to its tip, so that there is no seam to
 * miss anything at. Throws nothing; see {@link ChainSource} for what its methods throw.
 */
export function createEvmSource(settings: EvmSourceSettings, deps: EvmSourceDeps): ChainSource {
  return new EvmSource(settings, deps)
}

const refOf = ({ number, hash, time }: BlockRef): BlockRef => ({ number, hash, time })

class EvmSource implements ChainSource {
  readonly chain: string
  readonly #settings: EvmSourceSettings
  readonly #checks: Omit<ReadContext, 'rpc'>
  readonly #rpc: RpcPool
  /** Where this look's answers come from: one place, so that they belong together. */
  #now: PinnedRpc
  /** Where the last step came from. */
  #from: PinnedRpc
  readonly #clock: Clock
  readonly #health: Health
  readonly #finality: Finality
  readonly #report: (report: SourceReport) => void
  /** How much each endpoint answers at once. */
  readonly #widths = new Map<string, RangeWidth>()
  #comparedAt = 0
  #wake = new AbortController()
  #phase: SourceStatus['phase'] = 'idle'
  #head: BlockRef | null = null
  #known: KnownBlocks | null = null
  /** Since when the chain looks shorter than the tip. */
  #shorterSince: number | null = null

  constructor(settings: EvmSourceSettings, deps: EvmSourceDeps) {
    this.#settings = settings
    this.#rpc = deps.rpc
    this.#now = this.#from = deps.rpc.pin()
    this.#clock = deps.clock ?? systemClock
    this.#health = new Health(this.#clock, deps.random ?? Math.random)
    this.#report = deps.report ?? (() => {})
    this.chain = evmChain(deps.rpc.chainId)
    this.#checks = {
      contracts: { registry: settings.registry, anchor: settings.anchor },
      checkHashes: settings.checkHashes ?? true,
      checkBlooms: settings.checkBlooms ?? true,
    }
    this.#finality = new Finality({
      rpc: deps.rpc,
      clock: this.#clock,
      rule: settings.finality ?? 'finalized',
      checkHash: this.#checks.checkHashes,
    })
  }

  status(): SourceStatus {
    const { lastSuccess, lastError, failures } = this.#health
    const known = this.#known
    return {
      phase: this.#phase,
      head: this.#head,
      tip: known?.tip ?? null,
      final: known?.final ?? null,
      lastSuccess,
      lastError,
      failures,
      endpoints: this.#rpc.endpoints().map((endpoint) => ({
        ...endpoint,
        rangeBlocks: this.#widths.get(endpoint.endpoint)?.blocks ?? null,
      })),
    }
  }

  get #context(): ReadContext {
    return { ...this.#checks, rpc: this.#now }
  }

  #widthOf(endpoint: string): RangeWidth {
    const known = this.#widths.get(endpoint) ?? new RangeWidth(this.#settings.ranges ?? RANGE_LIMITS)
    this.#widths.set(endpoint, known)
    return known
  }

  distrust(why: string): void {
    this.#from.blame(inconsistent(why))
  }

  wake(): void {
    this.#wake.abort()
  }

  async identity(signal?: AbortSignal): Promise<ChainIdentity> {
    const genesis = await this.blockAt(0, signal)
    if (!genesis) throw inconsistent('the endpoint does not have block 0')
    return { chain: this.chain, genesisHash: genesis.hash }
  }

  async blockAt(number: number, signal?: AbortSignal): Promise<BlockRef | null> {
    const checkHash = this.#checks.checkHashes
    const block = await getBlock(this.#rpc, number, { checkHash, ...(signal && { signal }) })
    return block && refOf(block)
  }

  async *follow(from: Cursor | null, signal: AbortSignal): AsyncGenerator<ChainStep, void, undefined> {
    if (this.#phase === 'backfill' || this.#phase === 'live')
      throw new Error('this source is being followed already')
    this.#phase = 'live'
    // Ends what is in flight when the consumer leaves its loop without aborting.
    const inner = new AbortController()
    const both = AbortSignal.any([signal, inner.signal])
    const wake = () => this.wake()
    signal.addEventListener('abort', wake)
    try {
      this.#known = this.#head = this.#shorterSince = null
      this.#finality.reset()
      while (!signal.aborted) {
        try {
          this.#now = this.#rpc.pin()
          this.#known ??= await this.#begin(from, both)
          yield* this.#advance(this.#known, both)
        } catch (error) {
          if (signal.aborted) return
          if (!(error instanceof ChainError) || this.#isFatal(error)) throw error
          await this.#failed(error, signal)
        }
      }
    } finally {
      signal.removeEventListener('abort', wake)
      inner.abort()
      this.#phase = 'stopped'
    }
  }

  async #failed(error: ChainError, signal: AbortSignal): Promise<void> {
    // What did not answer has been counted already; answers that contradict each other are found only here.
    this.#now.blame(error)
    // What was wrong may have been this.
    this.#finality.failed()
    // What one endpoint asked for need not be waited for where there is another.
    const waitMs = this.#health.failed(error, this.#rpc.ready())
    this.#report({ kind: 'retry', error, failures: this.#health.failures, waitMs })
    await this.#clock.sleep(waitMs, signal)
  }

  #isFatal(error: ChainError): boolean {
    // One endpoint of another chain is left like any other that is wrong.
    return error.code === 'CHAIN_MISMATCH' ? this.#rpc.foreign() : FATAL.has(error.code)
  }

  /** Looks now and then whether this endpoint is as far as the others. */
  #compareHeads(signal: AbortSignal): void {
    const now = this.#clock.now()
    if (now - this.#comparedAt < HEAD_EVERY_MS || this.#rpc.endpoints().length < 2) return
    this.#comparedAt = now
    void this.#rpc.compareHeads({ signal, checkHash: this.#checks.checkHashes })
  }

  #succeeded(): void {
    const failures = this.#health.succeeded()
    if (failures > 0) this.#report({ kind: 'recovered', failures })
  }

  async #begin(from: Cursor | null, signal: AbortSignal): Promise<KnownBlocks> {
    const [floor = BEFORE_GENESIS, ...above] = [...(from ?? [])].reverse()
    if (floor.number >= 0) return new KnownBlocks([floor, ...above], true)
    return new KnownBlocks([await this.#base(signal), ...above], false)
  }

  /** The block before the first one of interest. */
  async #base(signal: AbortSignal): Promise<BlockRef> {
    const number = this.#settings.startBlock - 1
    if (number < 0) return BEFORE_GENESIS
    const block = await this.#block(number, signal)
    if (!block) throw inconsistent(`the endpoint has no block ${number}, where the contracts' history begins`)
    return refOf(block)
  }

  #block(id: number | 'latest', signal: AbortSignal): Promise<EvmBlock | null> {
    return getBlock(this.#now, id, { signal, tries: 1, checkHash: this.#checks.checkHashes })
  }

  /** Looks at the chain, yields what has become of it, and waits for the next look when there is nothing left to do. */
  async *#advance(known: KnownBlocks, signal: AbortSignal): AsyncGenerator<ChainStep, void, undefined> {
    // Renewed before the look: a wake-up during it must not be lost.
    if (this.#wake.signal.aborted) this.#wake = new AbortController()
    const wake = this.#wake.signal
    const began = this.#clock.now()
    this.#compareHeads(signal)
    const head = yield* this.#look(signal)
    // Asked for beside the walk, not before it: an event need not wait for the answer.
    const finality = this.#finality.said(this.#now, head, signal)
    finality.catch(() => {})

    if (head.number - known.tip.number > RANGE_WORTH_BLOCKS) {
      const { number } = await finality
      const worth = (to: number) => to - known.tip.number > RANGE_WORTH_BLOCKS
      if (worth(number)) {
        const { upTo, alone } = await this.#finality.ofHistory(this.#now, number, signal)
        if (worth(upTo)) {
          this.#phase = 'backfill'
          yield* this.#backfill(known, upTo, alone, signal)
          return
        }
      }
    }
    this.#phase = 'live'
    if (await this.#onChain(known, head, signal)) {
      for (let last: BlockRef | null = null; last !== known.tip && known.tip.number < head.number; ) {
        last = known.tip
        yield* this.#walk(known, head, signal)
      }
    } else yield* this.#fork(known, signal)
    yield* this.#finalise(known, await finality, signal)
    this.#succeeded()
    if (known.tip.number < head.number || signal.aborted) return
    // From look to look, not from the end of one to the next: what this look took is not waited for again, but for a rest after a slow one.
    const pollMs = this.#settings.pollMs ?? 250
    const rest = began + pollMs - this.#clock.now()
    await this.#clock.sleep(Math.min(Math.max(rest, pollMs / 4), pollMs), wake)
  }

  async *#look(signal: AbortSignal): AsyncGenerator<ChainStep, EvmBlock, undefined> {
    const head = await this.#block('latest', signal)
    if (!head) throw inconsistent('the endpoint has no latest block')
    if (head.hash !== this.#head?.hash) {
      this.#head = refOf(head)
      yield { kind: 'head', head: this.#head }
    }
    return head
  }

  /** Reads final history up to `to` by ranges, from the endpoint in use alone if told so. */
  async *#backfill(
    known: KnownBlocks,
    to: number,
    alone: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<ChainStep, void, undefined> {
    let looked = this.#clock.now()
    const from = this.#now
    const read = () => {
      const rpc = alone ? from : this.#rpc.pin({ spread: true })
      return { context: { ...this.#checks, rpc }, width: this.#widthOf(rpc.endpoint()) }
    }
    const runs = readAhead(read, known.tip.number + 1, to, {
      ahead: this.#settings.readAhead ?? 2,
      signal,
      split: (range) => this.#report({ kind: 'split', ...range }),
    })
    for await (const run of runs) {
      if (run.blocks[0].parentHash !== known.tip.hash && known.tip.number >= 0) {
        yield* this.#fork(known, signal)
        return
      }
      this.#succeeded()
      const tip = refOf(run.tip)
      known.append(tip)
      this.#from = run.rpc
      yield { kind: 'append', blocks: run.blocks, tip }
      known.settle(tip)
      yield { kind: 'final', upTo: tip }
      if (this.#clock.now() - looked > HEAD_EVERY_MS) {
        yield* this.#look(signal)
        looked = this.#clock.now()
      }
    }
  }

  /** Whether what is known at or below `head` is still on its chain, as far as one look shows. */
  async #onChain(known: KnownBlocks, head: EvmBlock, signal: AbortSignal): Promise<boolean> {
    const { tip } = known
    if (head.number > tip.number) {
      this.#shorterSince = null
      return true
    }
    const same = known.at(head.number)
    if (same && same.hash !== head.hash) return false
    if (head.number === tip.number) {
      this.#shorterSince = null
      return true
    }
    // Shorter than what we have: a node that lags, or a chain that was taken back without a new branch so far.
    if (this.#shorterSince === null) {
      this.#shorterSince = this.#clock.now()
      // Another endpoint, if there is one, may know better.
      this.#now.blame(inconsistent(`its newest block is ${head.number}, after it was ${tip.number}`))
    }
    if (this.#clock.now() - this.#shorterSince < (this.#settings.shorterMs ?? 5_000)) return true
    const ours = await getBlock(this.#now, tip.hash, { signal, tries: 1, checkHash: false })
    return ours !== null
  }

  /** Appends the next blocks after the tip towards `head`, or finds that the tip is off the chain. */
  async *#walk(
    known: KnownBlocks,
    head: EvmBlock,
    signal: AbortSignal,
  ): AsyncGenerator<ChainStep, void, undefined> {
    const first = known.tip.number + 1
    const last = Math.min(head.number, first + WALK_BLOCKS - 1)
    const numbers = Array.from({ length: last - first + 1 }, (_, i) => first + i)
    if (last === head.number) numbers.pop()
    const checkHash = this.#checks.checkHashes
    const blocks: EvmBlock[] = []
    const found =
      numbers.length > 0 ? await getBlocks(this.#now, numbers, { signal, tries: 1, checkHash }) : []
    for (const block of last === head.number ? [...found, head] : found) {
      if (!block) throw inconsistent(`the endpoint has block ${head.number} but none of the blocks before it`)
      const before: BlockRef = blocks.at(-1) ?? known.tip
      if (before.number >= 0 && block.parentHash !== before.hash) {
        if (before === known.tip) {
          yield* this.#fork(known, signal)
          return
        }
        throw inconsistent(`the chain changed while blocks ${first} to ${last} were read`)
      }
      blocks.push(block)
    }
    const read = await readRecent(this.#context, blocks, signal)
    const [start, ...rest] = read
    if (!start) return
    const tip = refOf(rest.at(-1) ?? start)
    for (const block of read) known.append(refOf(block))
    this.#from = this.#now
    yield { kind: 'append', blocks: [start, ...rest], tip }
  }

  /** Falls back to the newest known block that is still on the chain. */
  async *#fork(known: KnownBlocks, signal: AbortSignal): AsyncGenerator<ChainStep, void, undefined> {
    const from = known.tip
    let to: BlockRef | undefined
    let seen: BlockRef | null = null
    for (const block of known.newestFirst()) {
      seen = block.number < 0 ? block : await this.#block(block.number, signal)
      if (seen?.hash !== block.hash) continue
      to = block
      break
    }
    if (to === from)
      throw inconsistent(`the endpoint contradicts itself about what follows block ${from.number}`)
    if (to) known.cutAbove(to)
    else {
      to = await this.#newFloor(known, seen, signal)
      known.restart(to)
    }
    this.#shorterSince = null
    this.#finality.forked()
    this.#report({ kind: 'reorg', from, to })
    yield { kind: 'rollback', to }
  }

  /** Where to begin again when not even the floor is on the chain, which has `seen` at its height. */
  async #newFloor(known: KnownBlocks, seen: BlockRef | null, signal: AbortSignal): Promise<BlockRef> {
    const { floor, final } = known
    if (!seen)
      throw inconsistent(
        `the endpoint does not have block ${floor.number} yet, which was indexed; it is behind`,
      )
    if (!final) return refOf(seen)
    // One alone cannot say so, as long as another still has what was final, or may have it: one that goes on not answering is left out.
    const others = this.#rpc.usable().filter((rpc) => rpc.endpoint() !== this.#now.endpoint())
    const options = { signal, tries: 1, checkHash: false }
    const had = await Promise.allSettled(others.map((rpc) => getBlock(rpc, final.number, options)))
    signal.throwIfAborted()
    if (had.some((one) => one.status === 'rejected' || one.value?.hash === final.hash))
      throw inconsistent(`final block ${final.number} is another one here, which no other endpoint confirms`)
    throw new ChainError(
      'REORG_BEYOND_FINALITY',
      `block ${final.number} was final as ${final.hash} and is ${seen.hash} now`,
      {
        hint: 'the chain broke its finality, or is not the chain that was indexed: on a devnet begin again with --fresh; elsewhere check the endpoint, then index anew into an empty database',
        details: { number: final.number, was: final.hash, is: seen.hash },
      },
    )
  }

  /** Moves finality up to where the chain says, as far as the tip. */
  async *#finalise(
    known: KnownBlocks,
    final: Final,
    signal: AbortSignal,
  ): AsyncGenerator<ChainStep, void, undefined> {
    const same = known.at(final.number)
    if (same && final.hash !== null && same.hash !== final.hash) {
      yield* this.#fork(known, signal)
      return
    }
    // Above the tip the chain's final block says nothing of ours, until the walk has connected them.
    const upTo = final.number > known.tip.number ? undefined : known.newestUpTo(final.number)
    // Confirmations stand on a head that connects; a tag is only a word.
    const backed =
      upTo && final.hash !== null
        ? known.newestUpTo(this.#finality.ofTip(this.#now, final.number, known, signal))
        : upTo
    if (!backed) return
    known.settle(backed)
    yield { kind: 'final', upTo: backed }
  }
}
