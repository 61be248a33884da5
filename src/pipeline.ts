import type { AnchorPort } from './anchor/port.ts'
import { type AnchorSettings, AnchorWriter, requireOpen } from './anchor/writer.ts'
import { evmChainId } from './chain/ids.ts'
import type { ChainSource } from './chain/source.ts'
import type { Clock } from './core/clock.ts'
import type { Logger } from './core/logger.ts'
import type { Metrics } from './core/metrics.ts'
import type { MlDsa } from './core/ml-dsa.ts'
import { Wake } from './core/wake.ts'
import { forgetChanges } from './graph/changes.ts'
import type { Sql } from './graph/connect.ts'
import { claimDatabase, type Deployment } from './graph/cursor.ts'
import { FetchAhead } from './ingest/ahead.ts'
import { JudgeStage } from './ingest/judge.ts'
import { withLease } from './ingest/lease.ts'
import type { RecheckStage } from './ingest/recheck.ts'
import { SequenceStage } from './ingest/sequence.ts'
import { canRetry, runStage } from './ingest/stage.ts'
import { syncChain } from './ingest/sync.ts'
import type { CheckpointSigner } from './log/checkpoint.ts'
import type { PayloadFetcher } from './payload/fetch.ts'

/** The chain counts as stalled when it has not answered usefully for so long, in milliseconds. */
const STALLED_MS = 15_000
/** The index counts as behind when it is more than so many blocks below the chain's head. */
const BEHIND_BLOCKS = 20
/** Anchoring counts as stalled when leaves wait for so long beyond what the settings say, in milliseconds. */
const UNANCHORED_MS = 120_000
/** The log counts as stalled when final submissions wait for their leaves for so long, in milliseconds. */
const UNLOGGED_MS = 60_000

/** Payloads being sought, and bytes of those that were found and wait for their verdict. */
export interface Queues {
  searches: number
  held_bytes: number
}

type Turn = (progressed: () => void) => Promise<void>

export interface PipelineDeps {
  deployment: Deployment
  source: ChainSource
  fetcher: PayloadFetcher
  sql: Sql
  mlDsa: MlDsa
  /** Asked for each signature: keys are replaced while it runs. */
  signers: () => readonly CheckpointSigner[]
  /** Reads final ranges again; null where nobody does. */
  recheck?: RecheckStage | null
  /** Newest changes to keep for those who come back; none is forgotten unless told. */
  changesKept?: number
  /** Null in a process that indexes but does not anchor. */
  anchor: { port: AnchorPort; settings: AnchorSettings } | null
  clock: Clock
  logger: Logger
  metrics: Metrics
}

export interface Pipeline {
  /** Indexes until `signal` aborts. Throws what no retry can help. */
  run(signal: AbortSignal): Promise<void>
  /** Why indexing is not keeping up, one sentence each; empty while it is. */
  readiness(): string[]
  /** Payloads being sought. */
  depth(): number
  /** What waits in this process. */
  queues(): Queues
  /** Told that a payload was stored by somebody else, so that it is found at once. */
  payloadStored(): void
}

/**
 * How a reading travels from a sensor to a proof. Each stage is a loop over what is committed; they share nothing but the
 * database and wake-ups, so any of them may die at any instant and go on from there.
 */
export function createPipeline(deps: PipelineDeps): Pipeline {
  const { sql, clock, metrics, source } = deps
  const applied = new Wake() // chain -> judge: something settled
  const ready = new Wake() // chain, judge -> sequence: something became final or got its verdict
  const logged = new Wake() // sequence -> anchor: a checkpoint was published
  const troubles = new Map<string, string>()
  let standby = false
  const waiting = new Map<'leaf' | 'anchor', { size: number; since: number }>()
  let rebuilding: string | null = null
  let depth = () => 0
  let held = () => 0
  let stored = () => {}

  const stage = (name: string, turn: Turn, signal: AbortSignal): Promise<void> =>
    runStage(
      {
        name,
        clock,
        logger: deps.logger,
        trouble: (why) => (why === null ? troubles.delete(name) : troubles.set(name, why)),
      },
      turn,
      signal,
    )

  const index = async (signal: AbortSignal): Promise<void> => {
    standby = false
    troubles.clear()
    waiting.clear()
    const { chain, registry, origin } = deps.deployment
    await claimDatabase(sql, deps.deployment)
    // Of a closed log nothing is begun. A chain that is away is waited for by the stages.
    if (deps.anchor)
      await deps.anchor.port.state().then(requireOpen, (error) => {
        if (!canRetry(error)) throw error
      })
    const context = { chainId: BigInt(evmChainId(chain)), registry, mlDsa: deps.mlDsa }
    // The first stage that fails for good takes the others with it.
    const failed = new AbortController()
    const all = AbortSignal.any([signal, failed.signal])
    const ahead = new FetchAhead(deps)
    // 1. chain: events become rows, and reorganisations undo them.
    const follow: Turn = (progressed) =>
      syncChain({ ...deps, context, ahead, applied, finalised: ready, progressed }, all)
    // 2. payload, maml: bytes are obtained and judged.
    const judge = new JudgeStage({ ...deps, fetcher: ahead, chain, applied, judged: ready })
    // 3. receipt, log: verdicts become leaves in index order, and a checkpoint is signed.
    const port = deps.anchor?.port ?? null
    const anchored =
      port &&
      (async () => {
        const state = await port.state()
        requireOpen(state)
        return state
      })
    const sequence = new SequenceStage({ ...deps, chain, registry, origin, anchored, ready, logged })
    // 4. anchor: the signed log goes on-chain.
    const anchor = deps.anchor && new AnchorWriter({ ...deps, ...deps.anchor, logged })
    depth = () => judge.depth
    held = () => judge.held
    stored = () => judge.payloadStored()

    const guard = (running: Promise<void>) =>
      running.catch((error) => {
        failed.abort()
        throw error
      })
    const results = await Promise.allSettled([
      guard(stage('chain', follow, all)),
      guard(stage('judge', () => judge.turn(all), all)),
      guard(stage('log', () => sequence.turn(all), all)),
      ...(anchor ? [guard(stage('anchor', () => anchor.turn(all), all))] : []),
      guard(stage('progress', () => measure(all), all)),
      ...(deps.recheck ? [guard(stage('recheck', () => (deps.recheck as RecheckStage).turn(all), all))] : []),
    ])
    await judge.stop()
    ahead.stop()
    const failure = results.find((result) => result.status === 'rejected')
    if (failure) throw failure.reason
  }

  /** Notes since when the next one after `size` has been due. */
  const note = (what: 'leaf' | 'anchor', size: number, due: boolean): void => {
    if (!due) waiting.delete(what)
    else if (waiting.get(what)?.size !== size) waiting.set(what, { size, since: clock.now() })
  }

  /** Keeps the gauges true and notices a log that stands still. */
  const measure = async (signal: AbortSignal): Promise<void> => {
    // What is final was told when it became so: counting it would take a look at every submission.
    const [row] = await sql`
      select (select coalesce(max(index) + 1, 0) from submission)::bigint as settled,
             coalesce((select final from feed), 0)::bigint as final,
             coalesce((select size from log_head), 0)::bigint as logged,
             (select coalesce(max(size), 0) from anchor)::bigint as anchored`
    metrics.queues.set({ queue: 'searches' }, depth())
    metrics.queues.set({ queue: 'held_bytes' }, held())
    for (const name of ['settled', 'final', 'logged', 'anchored'])
      metrics.logSize.set({ stage: name }, row?.[name])
    const {
      final,
      logged: size,
      anchored,
    } = row as unknown as Record<'final' | 'logged' | 'anchored', number>
    note('leaf', size, final > size)
    if (deps.anchor) note('anchor', anchored, size > anchored)
    rebuilding =
      anchored > size ? `behind: ${anchored} leaves are anchored and ${size} are logged here` : null
    if (deps.changesKept !== undefined) await forgetChanges(sql, deps.changesKept)
    await clock.sleep(2_000, signal)
  }

  return {
    run: (signal) =>
      withLease(
        {
          sql,
          clock,
          name: `dunes/${deps.deployment.chain}`,
          standby: () => {
            if (!standby)
              deps.logger.info({ chain: deps.deployment.chain }, 'stood by: another indexer holds this chain')
            standby = true
            troubles.clear()
          },
          lost: (why) => troubles.set('lock', `lock: ${why}`),
        },
        index,
        signal,
      ),
    readiness() {
      if (standby) return ['another indexer holds this chain; this one stands by']
      const reasons = [...troubles.values()]
      const status = source.status()
      const why = status.lastError ? `: ${status.lastError.message}` : ''
      if (status.lastSuccess === null) return [...reasons, `starting: the chain has not answered yet${why}`]
      const silent = clock.now() - status.lastSuccess
      if (silent > STALLED_MS) {
        reasons.push(`stalled: the chain has not answered for ${Math.round(silent / 1000)} s${why}`)
      }
      const behind = (status.head?.number ?? 0) - (status.tip?.number ?? 0)
      if (status.phase !== 'live' || behind > BEHIND_BLOCKS) {
        reasons.push(
          status.tip ? `behind: ${behind} blocks are not indexed yet` : 'behind: no block is indexed yet',
        )
      }
      if (rebuilding) reasons.push(rebuilding)
      const leaf = waiting.get('leaf')
      if (leaf && clock.now() - leaf.since > UNLOGGED_MS)
        reasons.push(`stalled: final submissions wait for leaf ${leaf.size}`)
      const anchor = waiting.get('anchor')
      const { everySeconds = 0, stuckSeconds = 0 } = deps.anchor?.settings ?? {}
      if (anchor && clock.now() - anchor.since > UNANCHORED_MS + (everySeconds + stuckSeconds) * 1000)
        reasons.push(`stalled: leaves above ${anchor.size} wait for an anchor`)
      return reasons
    },
    depth: () => depth(),
    queues: () => ({ searches: depth(), held_bytes: held() }),
    payloadStored: () => stored(),
  }
}
