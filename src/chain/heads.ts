import { type BlockOptions, getBlock, inconsistent } from './blocks.ts'
import type { EndpointHealth } from './endpoint.ts'
import type { PinnedRpc } from './rpc.ts'
import { isUntrue } from './source.ts'

/** Blocks by which an endpoint may be behind the others, twice in a row, before it is left. */
const LAG_BLOCKS = 5
/** Who says that its head is so many blocks above what it shows lies. */
const BOAST_BLOCKS = 64

/** One endpoint whose head is compared. */
export interface HeadParty {
  readonly rpc: PinnedRpc
  readonly health: EndpointHealth
  /** Asks for the number of its newest block. */
  newest(signal?: AbortSignal): Promise<number>
}

/** What an endpoint says of its newest block. */
interface Claim {
  readonly party: HeadParty
  /** -1 where it did not answer. */
  readonly said: number
  /** Up to where it has what it says: -1 where it said nothing or lied, null where it did not come to show it. */
  shown: number | null
}

export interface CompareOptions {
  readonly signal?: AbortSignal
  /** Recompute the hash of what is shown from its header. On unless told. */
  readonly checkHash?: boolean
}

/**
 * Finds endpoints that lag. A height is only a number: who is far ahead of another has to show its block, or is left; and whoever was
 * found late beside one that turns out to lie is pardoned.
 */
export class Heads {
  /** Those beside which an endpoint looks late. */
  readonly #ahead = new Map<EndpointHealth, Set<EndpointHealth>>()
  /** So many have to be ahead of one that is late: of three and more, one alone cannot make all others look so. */
  readonly #backers: number

  constructor(endpoints: number) {
    this.#backers = endpoints > 2 ? 2 : 1
  }

  /** Asks all of these at once. Never throws. */
  async compare(
    parties: readonly HeadParty[],
    { signal, checkHash = true }: CompareOptions = {},
  ): Promise<void> {
    const claims: Claim[] = await Promise.all(
      parties.map(async (party) => ({
        party,
        said: await party.newest(signal).catch(() => -1),
        shown: null,
      })),
    )
    const lowest = Math.min(...claims.map(({ said }) => (said < 0 ? Number.POSITIVE_INFINITY : said)))
    const options = { ...(signal && { signal }), checkHash, tries: 1 }
    await Promise.all(
      claims.map(async (claim) => {
        const ahead = claim.said > lowest + LAG_BLOCKS
        claim.shown = ahead ? await show(claim, options) : claim.said
      }),
    )
    const heads = claims.map(({ shown }) => shown ?? -1).filter((head) => head >= 0)
    const best = heads.sort((a, b) => b - a)[heads.length > 2 ? 1 : 0] ?? -1
    for (const { party, shown } of claims) {
      if (shown === null || shown < 0) continue
      const isAhead = (head: number) => head > shown + LAG_BLOCKS
      const late = isAhead(best)
      // Whoever did not come to show its block may be ahead or not.
      if (!late && claims.some((other) => other.shown === null && isAhead(other.said))) continue
      const ahead = late ? claims.filter((other) => isAhead(other.shown ?? -1)) : []
      this.#ahead.set(party.health, new Set(ahead.map((other) => other.party.health)))
      party.health.compared(late)
    }
  }

  /** Whoever looked late beside this one, which lied, is as well as before. */
  pardon(liar: EndpointHealth): void {
    for (const [health, ahead] of this.#ahead)
      if (ahead.delete(liar) && ahead.size < this.#backers) health.compared(false)
  }
}

/** Has an endpoint show its newest block: {@link Claim.shown}. */
async function show({ party: { rpc }, said }: Claim, options: BlockOptions): Promise<number | null> {
  try {
    const newest = (await getBlock(rpc, 'latest', options))?.number ?? -1
    // Behind a balancer the one that answers need not be the one that said so: what is shown counts.
    if (newest >= said - BOAST_BLOCKS) return Math.min(newest, said)
    throw inconsistent(`${rpc.endpoint()} says that its newest block is ${said}, and has ${newest}`)
  } catch (error) {
    if (!isUntrue(error)) return null
    rpc.blame(error)
    return -1
  }
}
