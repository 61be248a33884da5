import { getBlock } from '../chain/blocks.ts'
import type { Contracts } from '../chain/decode.ts'
import { readRange } from '../chain/history.ts'
import { provenLogs, withEvents } from '../chain/read.ts'
import type { PinnedRpc, RpcPool } from '../chain/rpc.ts'
import { type ChainBlock, ChainError } from '../chain/source.ts'
import type { Clock } from '../core/clock.ts'
import { DunesError, describeError } from '../core/error.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Sql } from '../graph/connect.ts'
import { readPosition } from '../graph/cursor.ts'
import {
  compareStatements,
  type RecheckStatus,
  readStatements,
  type StatementDifference,
  statementsOf,
} from '../graph/statements.ts'

/** Blocks of one sample. */
const BLOCKS = 64
/** Blocks of a sample that differ and are looked into: the first says enough. */
const DISPUTED = 3

export interface RecheckDeps {
  rpc: RpcPool
  contracts: Contracts
  startBlock: number
  checkHashes: boolean
  checkBlooms: boolean
  sql: Sql
  clock: Clock
  logger: Logger
  metrics: Metrics
  /** Seconds between two samples. */
  everySeconds: number
  /** Numbers in [0, 1). */
  random?: () => number
}

/**
 * Reads final ranges again, at random and from another endpoint where there is one, and holds them against what is stored. Where they differ
 * the block's receipts decide, as its header commits to them: an endpoint that is wrong is left, and stored rows that are wrong end the
 * indexer, since nothing that is built on them may be signed.
 */
export class RecheckStage {
  readonly #deps: RecheckDeps
  readonly status: RecheckStatus = { ranges: 0, same: 0, refuted: 0, unresolved: 0, failed: 0, last: null }
  #turn = 0

  constructor(deps: RecheckDeps) {
    this.#deps = deps
  }

  /** Waits, then reads one range again. Throws `RECHECK_FAILED` where stored rows are wrong, and what the database throws. */
  async turn(signal: AbortSignal): Promise<void> {
    const { clock, everySeconds } = this.#deps
    await clock.sleep(everySeconds * 1000, signal)
    if (!signal.aborted) await this.sample(signal)
  }

  /** Reads one range again. Throws as {@link RecheckStage.turn}. */
  async sample(signal: AbortSignal): Promise<void> {
    const { sql, startBlock, random = Math.random } = this.#deps
    const final = (await readPosition(sql))?.final.number ?? -1
    if (final < startBlock) return
    const from = startBlock + Math.floor(random() * (final - startBlock + 1))
    const to = Math.min(final, from + BLOCKS - 1)
    const rpc = this.#choose()
    this.status.ranges++
    try {
      const result = await this.#compare(rpc, from, to, signal)
      this.#note(rpc, from, to, result)
    } catch (error) {
      if (signal.aborted || !(error instanceof ChainError)) throw error
      // Not having been able to look says nothing; the endpoint's own record has it.
      this.status.failed++
      this.#note(rpc, from, to, 'failed')
      this.#deps.logger.debug({ from, to, error: describeError(error) }, 'could not re-check a range')
    }
  }

  /** The endpoints in turn, the one in use only where it is alone. */
  #choose(): PinnedRpc {
    const { rpc } = this.#deps
    const states = rpc.endpoints()
    const now = rpc.pin()
    const others = rpc
      .all()
      .filter((one, i) => states[i]?.state === 'closed' && one.endpoint() !== now.endpoint())
    return others[this.#turn++ % Math.max(1, others.length)] ?? now
  }

  #note(rpc: PinnedRpc, from: number, to: number, result: string): void {
    const { clock, metrics } = this.#deps
    metrics.rechecks.inc({ outcome: result })
    this.status.last = { from, to, endpoint: rpc.endpoint(), at: clock.now(), result }
  }

  async #compare(rpc: PinnedRpc, from: number, to: number, signal: AbortSignal): Promise<string> {
    const { sql, contracts, checkHashes, checkBlooms, logger } = this.#deps
    const blocks = await readRange({ rpc, contracts, checkHashes, checkBlooms }, from, to, signal)
    const stored = await readStatements(sql, from, to)
    const differences = compareStatements(statementsOf(blocks), stored)
    if (differences.length === 0) {
      this.status.same++
      return 'same'
    }
    const endpoint = rpc.endpoint()
    logger.error(
      { from, to, endpoint, differences: differences.slice(0, 5) },
      'a re-check found a difference',
    )
    const disputed = [...new Set(differences.map(({ block }) => block))].slice(0, DISPUTED)
    let refuted = true
    for (const number of disputed) {
      const proved = await this.#prove(rpc, number, signal)
      if (proved === null) refuted = false
      else this.#requireStored(proved, await readStatements(sql, number, number))
    }
    if (!refuted) {
      this.status.unresolved++
      return 'unresolved'
    }
    this.status.refuted++
    rpc.blame(
      new ChainError(
        'RPC_INCONSISTENT',
        `${endpoint} has other events in blocks ${from} to ${to} than their headers`,
        {
          hint: 'the receipts of these blocks, under their hashes, are those that are stored here',
          retryable: true,
        },
      ),
    )
    return 'refuted'
  }

  /** The block as its receipts prove it, under a hash that two endpoints agree about; null where that cannot be had. */
  async #prove(rpc: PinnedRpc, number: number, signal: AbortSignal): Promise<ChainBlock | null> {
    const { contracts, checkHashes, checkBlooms } = this.#deps
    const all = this.#deps.rpc.all()
    const headers = await Promise.all(
      all.map((one) => getBlock(one, number, { signal, tries: 1, checkHash: checkHashes }).catch(() => null)),
    )
    const found = headers.filter((header) => header !== null)
    const [header] = found
    if (!header || found.some(({ hash }) => hash !== header.hash)) return null
    try {
      const logs = await provenLogs([rpc, ...all], header, signal)
      const ours = logs.filter(
        ({ address }) => address === contracts.registry || address === contracts.anchor,
      )
      return withEvents({ rpc, contracts, checkHashes, checkBlooms }, header, ours)
    } catch (error) {
      if (error instanceof ChainError) return null
      throw error
    }
  }

  #requireStored(proved: ChainBlock, stored: Awaited<ReturnType<typeof readStatements>>): void {
    const [first] = compareStatements(statementsOf([proved]), stored)
    if (first) throw wrongRows(first, proved.hash)
  }
}

const wrongRows = ({ name, block, field, chain, stored }: StatementDifference, hash: string): DunesError =>
  new DunesError(
    'RECHECK_FAILED',
    `block ${block} says of ${name} that its ${field} is ${chain ?? 'not there'}, and ${stored ?? 'not there'} is stored here`,
    {
      hint: `the receipts under ${hash} prove it: run \`dunes fsck --from-chain\`, then restore a backup from before, or index again into an empty database`,
      exitCode: 3,
      details: { block, hash, name, field, chain, stored },
    },
  )
