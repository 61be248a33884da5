import { decodeLog } from '../../src/chain/decode.ts'
import type { Hex } from '../../src/core/bytes.ts'
import { formatSeconds } from '../../src/maml/time.ts'
import { logsOf, type SimBlock, type SimChain } from './chain.ts'
import { loadUpTo } from './check.ts'
import { ANCHOR, REGISTRY } from './contracts.ts'
import type { Verdict } from './loader.ts'
import { CHAIN, type Script } from './script.ts'

/** What the API may say, block by block: the submissions as they stood after each block that the chain ever had. */

/** One submission as of a block, in the API's own words; `key` is all of it in one string. */
export interface Fact {
  key: string
  id: Hex
  index: number | null
  contributor: string
  settledBlock: number | null
}

interface Place {
  block: number
  tx: Hex
  log_index: number
  time: string
}
interface Item {
  id: Hex
  contributor: string
  sensor: string
  dataset: string
  payload: { sha256: Hex; bytes: number }
  key_id: Hex
  submitted: Place
  settled: Place | null
  index: number | null
  seq: number | null
  outcome: string | null
}

/** The part of an answer about a submission that only the chain decides. */
export const chainPart = (item: Item): string => {
  const { id, contributor, sensor, dataset, payload, key_id, submitted, settled, index, seq, outcome } = item
  const at = (place: Place | null) => place && [place.block, place.tx, place.log_index, place.time]
  return JSON.stringify([
    ...[id, contributor, sensor, dataset, payload.sha256, payload.bytes, key_id],
    ...[at(submitted), at(settled), index, seq, outcome],
  ])
}

export class Truth {
  readonly #chain: SimChain
  readonly #script: Script
  readonly #facts = new Map<SimBlock, ReadonlyMap<Hex, Fact & { item: Item }>>()
  readonly #verdicts = new Map<SimBlock, Map<Hex, Verdict>>()
  #lists: Map<string, SimBlock[]> | null = null
  #items: Map<string, SimBlock[]> | null = null

  constructor(chain: SimChain, script: Script) {
    this.#chain = chain
    this.#script = script
  }

  /** Submissions after `block` in the order of the chain. */
  facts(block: SimBlock): ReadonlyMap<Hex, Fact & { item: Item }> {
    const known = this.#facts.get(block)
    if (known) return known
    const before = block.parent ? this.facts(block.parent) : new Map<Hex, Fact & { item: Item }>()
    let after = before as Map<Hex, Fact & { item: Item }>
    const put = (item: Item) => {
      if (after === before) after = new Map(before)
      const { id, index, contributor, settled } = item
      after.set(id, {
        key: chainPart(item),
        id,
        index,
        contributor,
        settledBlock: settled?.block ?? null,
        item,
      })
    }
    for (const log of logsOf(block)) {
      const event = decodeLog(log, { registry: REGISTRY, anchor: ANCHOR })
      const place = {
        block: block.number,
        tx: log.transactionHash,
        log_index: 0,
        time: formatSeconds(block.time),
      }
      if (event?.type === 'submitted')
        put({
          id: event.id,
          contributor: `${CHAIN}:${event.contributor}`,
          sensor: event.sensor,
          dataset: event.dataset,
          payload: { sha256: event.payloadHash, bytes: event.payloadBytes },
          key_id: event.keyId,
          submitted: { ...place, log_index: event.logIndex },
          settled: null,
          index: null,
          seq: null,
          outcome: null,
        })
      if (event?.type === 'settled') {
        const { item } = after.get(event.id) as { item: Item }
        const { index, seq, outcome } = event
        put({ ...item, settled: { ...place, log_index: event.logIndex }, index, seq, outcome })
      }
    }
    this.#facts.set(block, after)
    return after
  }

  /** What a list of the newest `limit` submissions says after `block`. */
  listKey(facts: ReadonlyMap<Hex, Fact>, limit: number): string {
    return [...facts.values()]
      .reverse()
      .slice(0, limit)
      .map(({ key }) => key)
      .join('\n')
  }

  /** Blocks after which the whole list was this. */
  blocksOfList(key: string, limit: number): SimBlock[] {
    if (!this.#lists) {
      this.#lists = new Map()
      for (const block of this.#chain.history) {
        const own = this.listKey(this.facts(block), limit)
        const blocks = this.#lists.get(own)
        if (blocks) blocks.push(block)
        else this.#lists.set(own, [block])
      }
    }
    return this.#lists.get(key) ?? []
  }

  /** Blocks after which this was said of a submission. */
  blocksOfItem(key: string): SimBlock[] {
    if (!this.#items) {
      this.#items = new Map()
      for (const block of this.#chain.history)
        for (const fact of this.facts(block).values()) {
          const blocks = this.#items.get(fact.key)
          if (blocks) blocks.push(block)
          else this.#items.set(fact.key, [block])
        }
    }
    return this.#items.get(key) ?? []
  }

  /** The verdicts that follow from the chain up to `block`. */
  verdicts(block: SimBlock): Map<Hex, Verdict> {
    // Blocks without settlements leave them as they are.
    let last = block
    while (last.parent && last.parent.state.settled === last.state.settled) last = last.parent
    const known = this.#verdicts.get(last)
    if (known) return known
    const { verdicts } = loadUpTo(last, -1, this.#script)
    this.#verdicts.set(last, verdicts)
    return verdicts
  }
}
