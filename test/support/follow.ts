import { expect } from 'vitest'
import { decodeLog } from '../../src/chain/decode.ts'
import { createEvmSource, type EvmSourceSettings, type SourceReport } from '../../src/chain/evm.ts'
import { createRpc, type RpcSettings } from '../../src/chain/rpc.ts'
import {
  BEFORE_GENESIS,
  type BlockRef,
  type ChainBlock,
  type ChainEvent,
  type ChainSource,
  type ChainStep,
  type Cursor,
} from '../../src/chain/source.ts'
import type { Hex } from '../../src/core/bytes.ts'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import type { TrafficChain } from './traffic.ts'

/** A source over `chain`, quick to poll, and everything that it reported. */
export function sourceOf(
  chain: TrafficChain,
  settings: Partial<EvmSourceSettings> = {},
  rpcSettings: Partial<RpcSettings> = {},
  clock: Clock = systemClock,
): { source: ChainSource; reports: SourceReport[] } {
  const reports: SourceReport[] = []
  const rpc = createRpc({ urls: [chain.anvil.url], chainId: 31337, ...rpcSettings }, { clock })
  const { registry, anchor, block } = chain
  const source = createEvmSource(
    { registry, anchor, startBlock: block, pollMs: 5, ...settings },
    { rpc, clock, report: (report) => reports.push(report) },
  )
  return { source, reports }
}

/** A consumer that holds each step against the port's promises and keeps what a database would keep. */
export class Replay {
  readonly steps: ChainStep[] = []
  blocks: ChainBlock[] = []
  final: BlockRef | null = null
  #start: BlockRef | null = null

  get tip(): BlockRef | null {
    const last = this.blocks.at(-1)
    return last ? refOf(last) : this.#start
  }

  apply(step: ChainStep): void {
    this.steps.push(step)
    if (step.kind === 'append') {
      const tip = this.tip
      if (tip) expect(step.blocks[0].parentHash, 'a run continues the tip').toBe(tip.hash)
      for (const block of step.blocks) {
        const before = this.tip
        if (before) expect(block.number).toBeGreaterThan(before.number)
        if (before?.number === block.number - 1) expect(block.parentHash).toBe(before.hash)
        this.blocks.push(block)
      }
      expect(step.tip).toEqual(refOf(this.blocks.at(-1) as ChainBlock))
    } else if (step.kind === 'rollback') {
      const { to } = step
      if (this.final) expect(to.number).toBeGreaterThanOrEqual(this.final.number)
      const known = this.blocks.find(({ number }) => number === to.number)
      if (known) expect(refOf(known)).toEqual(to)
      else if (this.blocks[0])
        expect(to.number, 'only the start lies before what was given').toBeLessThan(this.blocks[0].number)
      this.blocks = this.blocks.filter(({ number }) => number <= to.number)
      if (!known) this.#start = to
    } else if (step.kind === 'final') {
      const { upTo } = step
      if (this.final) expect(upTo.number, 'finality only rises').toBeGreaterThan(this.final.number)
      expect(this.blocks.map(refOf)).toContainEqual(upTo)
      this.final = upTo
    }
  }

  /** What a database would go on from. */
  cursor(): Cursor {
    const above = this.blocks.filter(({ number }) => number > (this.final?.number ?? -1)).map(refOf)
    return [...above.reverse(), this.final ?? BEFORE_GENESIS] as unknown as Cursor
  }

  events(): ChainEvent[] {
    return this.blocks.flatMap((block) => block.events)
  }

  of<K extends ChainStep['kind']>(kind: K): Extract<ChainStep, { kind: K }>[] {
    return this.steps.filter((step): step is Extract<ChainStep, { kind: K }> => step.kind === kind)
  }
}

const refOf = ({ number, hash, time }: BlockRef): BlockRef => ({ number, hash, time })

/** Follows into `replay` until `done` holds after some step; throws what the source throws. */
export async function follow(
  source: ChainSource,
  replay: Replay,
  done: () => boolean | Promise<boolean>,
  from: Cursor | null = replay.tip ? replay.cursor() : null,
): Promise<Replay> {
  const stop = new AbortController()
  for await (const step of source.follow(from, stop.signal)) {
    replay.apply(step)
    if (await done()) stop.abort()
  }
  return replay
}

/** A source that is followed in the background. */
export interface Follower {
  readonly replay: Replay
  /** Waits until `condition` holds; throws what the source throws. */
  until(condition: () => boolean | Promise<boolean>): Promise<void>
  /** Waits until the replay is at the chain's newest block and the source is waiting for the next. */
  caughtUp(chain: TrafficChain): Promise<void>
  /** Ends it; throws what the source throws. */
  stop(): Promise<void>
}

export function followLive(source: ChainSource, replay = new Replay()): Follower {
  const from = replay.tip ? replay.cursor() : null
  const end = new AbortController()
  let failure: { error: unknown } | undefined
  const following = (async () => {
    for await (const step of source.follow(from, end.signal)) replay.apply(step)
  })().catch((error: unknown) => {
    failure = { error }
  })
  const until: Follower['until'] = async (condition) => {
    while (!(await condition())) {
      if (failure) throw failure.error
      await new Promise((done) => setTimeout(done, 2))
    }
  }
  return {
    replay,
    until,
    caughtUp: (chain) => until(() => atHead(chain, replay)),
    async stop() {
      end.abort()
      await following
      if (failure) throw failure.error
    },
  }
}

/** Whether `replay` has come to the chain's newest block. */
export async function atHead(chain: TrafficChain, replay: Replay): Promise<boolean> {
  const head = (await chain.rpc('eth_getBlockByNumber', ['latest', false])) as { hash: Hex }
  return replay.tip?.hash === head.hash
}

/** All events on the chain now, straight from one `eth_getLogs`. */
export async function truth(chain: TrafficChain): Promise<ChainEvent[]> {
  const { registry, anchor } = chain
  const logs = (await chain.rpc('eth_getLogs', [
    { address: [registry, anchor], fromBlock: '0x0', toBlock: 'latest' },
  ])) as Parameters<typeof decodeLog>[0][]
  return logs.map((log) => decodeLog(log, { registry, anchor })).filter((event) => event !== null)
}
