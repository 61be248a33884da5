import { equalBytes, fromHex, type Hex, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { DunesError } from '../core/error.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Wake } from '../core/wake.ts'
import type { Sql } from '../graph/connect.ts'
import { readPosition } from '../graph/cursor.ts'
import {
  type LogHead,
  readLatestCheckpoint,
  readLogHead,
  requirePrefix,
  tileReader,
} from '../graph/log-store.ts'
import { consistencyProof } from '../log/proof.ts'
import type { AnchorPort, AnchorState, Fees } from './port.ts'

export interface AnchorSettings {
  /** Anchor as soon as so many leaves wait. */
  everyLeaves: number
  /** Anchor as soon as a leaf has waited for so many seconds. */
  everySeconds: number
  /** Replace a transaction that is not mined after so many seconds. */
  stuckSeconds: number
}

/** For a public chain, where each anchor costs; a devnet anchors every few seconds. */
export const DEFAULT_ANCHOR_SETTINGS: AnchorSettings = {
  everyLeaves: 10_000,
  everySeconds: 60,
  stuckSeconds: 60,
}

/**
 * A replacement offers at most so many times what the market asks: on a chain that makes no blocks every price would go up for
 * ever, and be paid when it goes on.
 */
const MOST_FEES = 8n
/** How often this stage looks again while it waits for the chain, in milliseconds. */
const POLL_MS = 1_000

export interface AnchorDeps {
  port: AnchorPort
  sql: Sql
  settings: AnchorSettings
  clock: Clock
  logger: Logger
  metrics: Metrics
  /** Woken when a checkpoint was published. */
  logged: Wake
}

interface SentAnchor {
  hash: Hex
  nonce: number
  fees: Fees
  sentAt: number
}

/**
 * The last stage: brings the signed log on-chain. It decides from the on-chain head and never from the fate of its own
 * transactions: whatever was mined, replaced, lost or reorganised away, the next turn sees what the contract holds and what is
 * missing. Only sizes with a published checkpoint are anchored, so every anchored leaf is final, durable and signed.
 */
export class AnchorWriter {
  readonly #deps: AnchorDeps
  /** The on-chain head that was last held against our log. */
  #known: LogHead | null = null
  /** Local milliseconds since when leaves beyond that head wait; null while none do. */
  #waitingSince: number | null = null
  /** The fees that the node last found too low, and for which nonce. */
  #tooLow: { nonce: number; fees: Fees } | null = null

  constructor(deps: AnchorDeps) {
    this.#deps = deps
  }

  async turn(signal: AbortSignal): Promise<void> {
    const { sql, port, clock, settings, logged } = this.#deps
    const checkpoint = await readLatestCheckpoint(sql)
    const onChain = await port.state()
    requireOpen(onChain)
    if (!checkpoint) return logged.wait(POLL_MS, signal)
    await this.#compare(onChain)
    await this.#forgetFinal()
    const waiting = checkpoint.size - onChain.size
    if (waiting <= 0) {
      this.#waitingSince = null
      return logged.wait(POLL_MS, signal)
    }
    this.#waitingSince ??= clock.now()
    const waitedMs = clock.now() - this.#waitingSince
    if (waiting >= settings.everyLeaves || waitedMs >= settings.everySeconds * 1000) {
      await this.#anchor(onChain, checkpoint)
    }
    const dueIn = settings.everySeconds * 1000 - waitedMs
    await logged.wait(dueIn > 0 ? Math.min(POLL_MS, dueIn) : POLL_MS, signal)
  }

  /** Holds a head that the contract did not have before against our log; throws `LOG_DIVERGED` when they contradict each other. */
  async #compare(onChain: LogHead): Promise<void> {
    if (onChain.size === this.#known?.size && equalBytes(onChain.root, this.#known.root)) return
    const head = await readLogHead(this.#deps.sql)
    // A log that is still being rebuilt has nothing to compare yet.
    if (onChain.size > head.size) return
    await requirePrefix(this.#deps.sql, head, onChain)
    this.#known = onChain
    // What waits now was not in that anchor, and waits from now on.
    this.#waitingSince = null
  }

  /** Sends an anchor of a signed checkpoint, or replaces one that is stuck. */
  async #anchor(onChain: AnchorState, checkpoint: LogHead): Promise<void> {
    const { sql, port, clock, settings, logger, metrics } = this.#deps
    const { size, root } = checkpoint
    const { nonce } = onChain
    const waiting = (await this.#sent()).find((sent) => sent.nonce === nonce)
    const market = await port.fees()
    let fees = market
    // A node replaces a waiting transaction, ours or a stranger's, only for at least a tenth more on both fees.
    if (this.#tooLow?.nonce === nonce) fees = atLeast(fees, raised(this.#tooLow.fees))
    if (waiting) {
      const lost = !(await port.knows(waiting.hash))
      if (!lost && clock.now() - waiting.sentAt < settings.stuckSeconds * 1000) return
      fees = atLeast(fees, lost ? waiting.fees : raised(waiting.fees))
      if (isAbove(fees, market)) {
        logger.warn(
          { hash: waiting.hash, nonce },
          'left an anchor transaction waiting at many times the market price',
        )
        if (!lost) return
        fees = market
      }
      logger.warn({ hash: waiting.hash, nonce, lost }, 'replaced an anchor transaction')
      metrics.anchors.inc({ outcome: lost ? 'lost' : 'replaced' })
    } else if (isAbove(fees, market)) fees = market
    const readTile = tileReader(sql)
    const head = await readLogHead(sql)
    await requirePrefix(sql, head, onChain)
    // What was signed must still be what is here.
    await requirePrefix(sql, head, checkpoint)
    await this.#requireChain()
    const proof = onChain.size === 0 ? [] : await consistencyProof(onChain.size, size, readTile)
    const { hash, send } = await port.prepare({ size, root, proof }, nonce, fees)
    // Written down before it is sent: whatever happens next, a restart knows which nonce is taken and at what price.
    await sql`
      insert into anchor_tx (hash, nonce, size, root, max_fee_per_gas, max_priority_fee_per_gas, sent_at)
      values (${fromHex(hash)}, ${nonce}, ${size}, ${root}, ${fees.maxFeePerGas.toString()},
              ${fees.maxPriorityFeePerGas.toString()}, ${new Date(clock.now())})
      on conflict (hash) do update set sent_at = excluded.sent_at`
    try {
      await send()
    } catch (error) {
      if (error instanceof DunesError && error.code === 'ANCHOR_UNDERPRICED') this.#tooLow = { nonce, fees }
      throw error
    }
    metrics.anchors.inc({ outcome: 'sent' })
    logger.info({ hash, nonce, size, root: toHex(root), from: onChain.size }, 'sent an anchor transaction')
  }

  /**
   * The leaves speak of blocks up to the last final one here; a chain without that block is another or an older one, and must not
   * be told of them. Throws `CHAIN_OLDER`.
   */
  async #requireChain(): Promise<void> {
    const position = await readPosition(this.#deps.sql)
    if (!position || (await this.#deps.port.hasBlock(position.final.number, position.final.hash))) return
    throw new DunesError(
      'CHAIN_OLDER',
      `the chain does not have block ${position.final.number}, which is final here`,
      {
        hint: 'wait until the node has caught up; if it never does, it serves another chain, or the chain lost blocks',
        retryable: true,
        exitCode: 3,
      },
    )
  }

  /** Transactions that are not final, newest first. */
  async #sent(): Promise<SentAnchor[]> {
    const rows = await this.#deps.sql`select * from anchor_tx order by sent_at desc`
    return rows.map((row) => ({
      hash: toHex(row['hash']),
      nonce: row['nonce'],
      fees: {
        maxFeePerGas: BigInt(row['max_fee_per_gas']),
        maxPriorityFeePerGas: BigInt(row['max_priority_fee_per_gas']),
      },
      sentAt: (row['sent_at'] as Date).getTime(),
    }))
  }

  /** Forgets transactions whose nonce is used up in a final block: that one, or one that replaced it, can no longer go away. */
  async #forgetFinal(): Promise<void> {
    const { sql, port, metrics } = this.#deps
    const [row] = await sql`select count(*)::int as n from anchor_tx`
    if (row?.['n'] === 0) return
    const done = await sql`delete from anchor_tx where nonce < ${await port.finalNonce()}`
    if (done.count > 0) metrics.anchors.inc({ outcome: 'final' }, done.count)
  }
}

/** Throws `LOG_CLOSED` where the log has ended for good: nothing of it is to be signed or anchored any more. */
export function requireOpen({ closure }: AnchorState): void {
  if (!closure) return
  const { lastGoodSize, successor } = closure
  throw new DunesError(
    'LOG_CLOSED',
    `the log was closed on-chain for good at size ${lastGoodSize}; ${successor ? `its successor is ${successor}` : 'it has no successor'}`,
    {
      hint:
        '`dunes serve` goes on answering for this log; to index its successor, start with --anchor of the successor and a database of ' +
        'its own: docs/operating.md, "Closing a log"',
      details: { lastGoodSize, successor },
    },
  )
}

const raised = ({ maxFeePerGas, maxPriorityFeePerGas }: Fees): Fees => ({
  maxFeePerGas: (maxFeePerGas * 9n) / 8n + 1n,
  maxPriorityFeePerGas: (maxPriorityFeePerGas * 9n) / 8n + 1n,
})

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b)

const atLeast = (a: Fees, b: Fees): Fees => ({
  maxFeePerGas: max(a.maxFeePerGas, b.maxFeePerGas),
  maxPriorityFeePerGas: max(a.maxPriorityFeePerGas, b.maxPriorityFeePerGas),
})

const isAbove = (fees: Fees, market: Fees): boolean => fees.maxFeePerGas > market.maxFeePerGas * MOST_FEES
