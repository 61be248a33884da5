import type { Clock } from '../core/clock.ts'
import { type EvmBlock, getBlock, getFinalized, inconsistent } from './blocks.ts'
import type { KnownBlocks } from './known.ts'
import type { PinnedRpc, RpcPool } from './rpc.ts'

/** One that has this many blocks less final than another is not synced yet, or lies: it says nothing of finality. */
const UNSYNCED_BLOCKS = 1_024
/** The others are asked again this often while they do not back what the endpoint in use says, in milliseconds. */
const ASK_EVERY_MS = 5_000

/** The chain's own `finalized` tag, or how many blocks must stand on top of a final one. */
export type FinalityRule = 'finalized' | { readonly confirmations: number }

/** The last final block; its hash is null where only its height is known. */
export interface Final {
  readonly number: number
  readonly hash: string | null
}

export interface FinalityDeps {
  readonly rpc: RpcPool
  readonly clock: Clock
  readonly rule: FinalityRule
  readonly checkHash: boolean
}

interface Backing {
  /** Up to where another endpoint has the same blocks as final ones, -1 where none does. */
  readonly upTo: number
  /** How many others have that one, or one not far below it. */
  readonly backers: number
  /** Whether another has another final block, above all that is backed. */
  readonly disputed: boolean
}

/**
 * What is final: what the endpoint in use says, as far as one more endpoint that is well has the same block there and says so too. So one
 * alone cannot make final what may yet be reorganised away. Where nobody else answers, or the others are not even near, its word has to do, unless
 * another has contradicted or two others are equally far.
 */
export class Finality {
  readonly #deps: FinalityDeps
  /** What the endpoint in use said as of a head. */
  #said: { readonly head: string; readonly final: Final } | null = null
  /** Up to where another endpoint was found to agree. */
  #backed = -1
  #asked: { readonly number: number; readonly at: number; done: boolean } | null = null
  /** Where another endpoint had another final block, until two have the same there: none is believed alone meanwhile. */
  #disputed: number | null = null

  constructor(deps: FinalityDeps) {
    this.#deps = deps
  }

  /** Forgets all, as for a walk that begins. */
  reset(): void {
    this.failed()
    this.#disputed = null
  }

  /** Forgets what was said and backed: the last look failed. */
  failed(): void {
    this.#said = null
    this.forked()
  }

  /** Forgets what was backed: the chain in use is another now. */
  forked(): void {
    this.#asked = null
    this.#backed = -1
  }

  /** The last final block as of `head` by the word of `now`. Asked once for each head. Throws as {@link getBlock}. */
  async said(now: PinnedRpc, head: EvmBlock, signal: AbortSignal): Promise<Final> {
    const { rule, checkHash } = this.#deps
    if (rule !== 'finalized') return { number: head.number - rule.confirmations, hash: null }
    if (this.#said?.head === head.hash) return this.#said.final
    const final = (await getFinalized(now, { signal, tries: 1, checkHash })) ?? { number: -1, hash: null }
    this.#said = { head: head.hash, final }
    return final
  }

  /**
   * How far history may be read as final where `now` says `number`; `alone` where nobody backs that: then it is read from `now` alone, as
   * others are not to be blamed for lacking it. Throws `RPC_INCONSISTENT` where another endpoint has another final block, or `now` has none.
   */
  async ofHistory(
    now: PinnedRpc,
    number: number,
    signal: AbortSignal,
  ): Promise<{ upTo: number; alone: boolean }> {
    const backing = await this.#back(now, number, null, signal)
    if (backing.disputed) throw contradicted(number)
    const { upTo } = backing
    if (number - upTo <= UNSYNCED_BLOCKS || this.#disputed !== null) return { upTo, alone: false }
    // So far above all others it had better have it.
    if (!(await getBlock(now, number, this.#options(signal))))
      throw inconsistent(`the endpoint says that block ${number} is final, and has none`)
    return this.#standsAlone(number, backing) ? { upTo: number, alone: true } : { upTo, alone: false }
  }

  /**
   * What is final of `number`, which `now` says is, on the chain `known`. Others are asked beside everything else, so that none can hold it
   * up: the answer is what they have backed by now.
   */
  ofTip(now: PinnedRpc, number: number, known: KnownBlocks, signal: AbortSignal): number {
    const { rpc, clock } = this.#deps
    if (rpc.endpoints().length < 2 || number <= this.#backed) return number
    const last = this.#asked
    if (!last || (last.done && (last.number !== number || clock.now() - last.at > ASK_EVERY_MS))) {
      const asked = { number, at: clock.now(), done: false }
      this.#asked = asked
      void this.#back(now, number, known, signal).then((backing) => {
        asked.done = true
        // What was known when this was asked may be gone.
        if (signal.aborted || this.#asked !== asked) return
        if (backing.disputed) now.blame(contradicted(number))
        this.#backed = Math.max(this.#backed, this.#standsAlone(number, backing) ? number : backing.upTo)
      })
    }
    return Math.min(number, this.#backed)
  }

  /**
   * Whether `number` has to be believed of one endpoint alone, as the others are too far behind to say anything. Not where two of them are equally
   * far: those are rather right than both in the same state of being read.
   */
  #standsAlone(number: number, { upTo, backers }: Backing): boolean {
    return this.#disputed === null && number - upTo > UNSYNCED_BLOCKS && backers < 2
  }

  #options(signal: AbortSignal) {
    return { signal, tries: 1, checkHash: this.#deps.checkHash }
  }

  /** Asks the others; `known` is the chain of `now`, null to ask it. Throws nothing. */
  async #back(
    now: PinnedRpc,
    number: number,
    known: KnownBlocks | null,
    signal: AbortSignal,
  ): Promise<Backing> {
    const options = this.#options(signal)
    const others = this.#deps.rpc.well().filter((rpc) => rpc.endpoint() !== now.endpoint())
    const answers = await Promise.all(
      others.map(async (rpc) => {
        try {
          const final = await this.#finalOf(rpc, signal)
          if (final === null) return null
          const at = Math.min(number, final.number)
          if (at < 0) return null
          const theirs = at === final.block?.number ? final.block : await getBlock(rpc, at, options)
          const ours = known?.at(at) ?? (await getBlock(now, at, options))
          return { at, same: theirs?.hash === ours?.hash }
        } catch {
          return null
        }
      }),
    )
    const said = answers.filter((answer) => answer !== null)
    if (said.length === 0) return { upTo: this.#disputed === null ? number : -1, backers: 0, disputed: false }
    const highest = (same: boolean) =>
      Math.max(-1, ...said.filter((one) => one.same === same).map(({ at }) => at))
    const upTo = highest(true)
    const other = highest(false)
    if (other > upTo) this.#disputed = other
    else if (this.#disputed !== null && upTo >= this.#disputed) this.#disputed = null
    const backers = said.filter(({ at, same }) => same && upTo - at <= UNSYNCED_BLOCKS).length
    return { upTo, backers, disputed: other > upTo }
  }

  /** The last block that `rpc` calls final, which itself is null where only its height is known; null where it calls none so. */
  async #finalOf(
    rpc: PinnedRpc,
    signal: AbortSignal,
  ): Promise<{ number: number; block: EvmBlock | null } | null> {
    const { rule } = this.#deps
    if (rule === 'finalized') {
      const block = await getFinalized(rpc, this.#options(signal))
      return block && { number: block.number, block }
    }
    const head = await getBlock(rpc, 'latest', this.#options(signal))
    return head && { number: head.number - rule.confirmations, block: null }
  }
}

const contradicted = (number: number) =>
  inconsistent(`final block ${number} is another one here than elsewhere`)
