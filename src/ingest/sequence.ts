import type { Row } from 'postgres'
import { equalBytes, type Hex, toHex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import { DunesError } from '../core/error.ts'
import type { Logger } from '../core/logger.ts'
import type { Metrics } from '../core/metrics.ts'
import type { Reason } from '../core/reason.ts'
import type { Wake } from '../core/wake.ts'
import { insertEdges } from '../graph/apply.ts'
import { tell, tellProgress } from '../graph/changes.ts'
import type { Sql } from '../graph/connect.ts'
import type { Db } from '../graph/cursor.ts'
import { factsOf, type SubmissionFacts } from '../graph/facts.ts'
import {
  type LogHead,
  loadLogState,
  readCheckpoint,
  readLogHead,
  renewCheckpoint,
  requirePrefix,
  writeCheckpoint,
  writeLeaves,
} from '../graph/log-store.ts'
import { readRepeated } from '../graph/repeats.ts'
import { lastRestored, readRestored, takeRestored } from '../graph/restored.ts'
import { EDGE, type StoredJudgement } from '../graph/schema.ts'
import type { LogState } from '../log/append.ts'
import { type CheckpointSigner, isSignedBy, signCheckpoint } from '../log/checkpoint.ts'
import { type ParsedEntry, parseEntry } from '../receipt/entry.ts'
import { makeReceiptEntry, type ReceiptJudgement } from '../receipt/make.ts'

/** Leaves added in one transaction. */
const BATCH = 512
/** How often this stage looks for work that nobody woke it for, in milliseconds. */
const POLL_MS = 1_000
/** How long a run of full batches may go on without a checkpoint, in milliseconds. */
const PUBLISH_MS = 1_000

export interface SequenceDeps {
  chain: string
  registry: Hex
  origin: string
  sql: Sql
  signers: () => readonly CheckpointSigner[]
  /** What the contract holds in the newest block; null in a process that cannot ask. */
  anchored: (() => Promise<LogHead>) | null
  clock: Clock
  logger: Logger
  metrics: Metrics
  /** Woken when finality moved, or when verdicts were written. */
  ready: Wake
  /** Woken when a checkpoint was published. */
  logged: Wake
}

/**
 * The third stage: turns judged submissions into leaves, in index order and only below finality, and signs a checkpoint
 * after each commit. Leaf i is the submission with on-chain index i, so the stage stops at the first one without a verdict.
 */
export class SequenceStage {
  readonly #deps: SequenceDeps
  #state: LogState | null = null
  /** The largest index whose entry a restore brought back and that is not logged, -1 for none. */
  #restoredUpTo = -1
  #publishedAt = 0

  constructor(deps: SequenceDeps) {
    this.#deps = deps
  }

  async turn(signal: AbortSignal): Promise<void> {
    const { ready } = this.#deps
    let added: number
    try {
      added = await this.#append()
    } catch (error) {
      // Whatever failed, what is committed is what counts.
      this.#state = null
      throw error
    }
    const { clock } = this.#deps
    if (added < BATCH || clock.now() - this.#publishedAt >= PUBLISH_MS) {
      await this.#publish()
      this.#publishedAt = clock.now()
    }
    if (added === 0) await ready.wait(POLL_MS, signal)
  }

  /** Appends one batch; answers how many leaves. */
  async #append(): Promise<number> {
    const { sql, clock, logger, metrics } = this.#deps
    const started = clock.now()
    if (this.#state === null) {
      this.#state = await loadLogState(sql)
      this.#restoredUpTo = await lastRestored(sql)
    }
    const before = this.#state
    const rows = await this.#judgedFrom(before.size)
    if (rows.length === 0) return 0
    const grown = await sql.begin(async (tx) => {
      const duplicates = await this.#findDuplicates(tx, rows)
      const restored =
        before.size <= this.#restoredUpTo
          ? await readRestored(tx, before.size, before.size + rows.length)
          : null
      const leaves = rows.map((row) => {
        const duplicate = duplicates.has(row.id)
        const kept = restored?.get(row.index)
        return {
          submission: row.id,
          entry: kept ? this.#restoredEntry(row, duplicate, kept) : this.#entry(row, duplicate),
        }
      })
      const written = await writeLeaves(tx, before, leaves)
      if (restored) await takeRestored(tx, before.size + rows.length)
      const repeated = rows.filter((row) => duplicates.has(row.id))
      if (repeated.length > 0) {
        await tx`
          update submission set verdict = 'rejected', reason = 'DUPLICATE'
          where id = any(${repeated.map((row) => row.id)}::bigint[])`
        await insertEdges(
          tx,
          repeated.map((row) => ({
            src: row.id,
            kind: EDGE.duplicates,
            dst: duplicates.get(row.id) as number,
            block: row.settledBlock,
          })),
        )
        await tell(tx, repeated.map(toldDuplicate))
      }
      await tellProgress(tx)
      return written
    })
    this.#state = grown.state
    metrics.leaves.inc(rows.length)
    metrics.logSize.set({ stage: 'logged' }, grown.head.size)
    logger.info(
      {
        leaves: rows.length,
        size: grown.head.size,
        root: toHex(grown.head.root),
        duration: clock.now() - started,
      },
      'logged receipts',
    )
    return rows.length
  }

  /** Final, judged submissions that continue the log without a gap. */
  async #judgedFrom(size: number): Promise<JudgedRow[]> {
    const rows = await this.#deps.sql`
      select u.id, u.index, u.submission_id, u.sensor, u.seq, u.acc, u.schema_sha256, u.payload_sha256, u.payload_bytes, u.uri, u.key_id,
             u.submitted_block, u.submitted_log, u.outcome, u.settled_tx, u.settled_block, u.settled_hash, u.settled_log, u.settled_time,
             u.verdict, u.reason, u.observed, u.judgement, c.account, s.name as sensor_name, d.name as dataset_name
      from (
        -- Few rows first, whatever the planner knows of a table that grows so fast.
        select * from submission u
        where u.index >= ${size} and u.index < ${size + BATCH} and u.settled_block <= (select final_number from cursor)
          and u.verdict is not null
        order by u.index limit ${BATCH}) u
      join contributor c on c.id = u.contributor join sensor s on s.id = u.sensor join dataset d on d.id = u.dataset
      order by u.index`
    const out: JudgedRow[] = []
    for (const row of rows) {
      if (row['index'] !== size + out.length) break
      out.push(judgedRow(row))
    }
    return out
  }

  /** Internal ids of accepted rows that repeat an earlier accepted submission of their contributor, with that one's id. */
  async #findDuplicates(tx: Db, rows: readonly JudgedRow[]): Promise<Map<number, number>> {
    const accepted = rows.flatMap(({ id, sensorId: sensor, verdict, judgement: { read } }) =>
      verdict === 'accepted' && read
        ? [{ id, sensor, firstTimestamp: read.firstTimestamp, signedSha256: read.signedBytesSha256.slice(2) }]
        : [],
    )
    const out = await readRepeated(tx, accepted, rows[0]?.index ?? 0)
    const seen = new Map<string, number>()
    for (const row of accepted) {
      if (out.has(row.id)) continue
      const key = `${row.sensor}/${row.signedSha256}`
      const earlier = seen.get(key)
      if (earlier === undefined) seen.set(key, row.id)
      else out.set(row.id, earlier)
    }
    return out
  }

  /** The entry that a restore brought back, which must be the one that is made now. Throws `LEAF_DIFFERS`. */
  #restoredEntry(row: JudgedRow, duplicate: boolean, kept: Uint8Array): Uint8Array {
    const { origin, chain, registry } = this.#deps
    const facts = { origin, chain, registry, ...row.facts }
    // Without its payload an entry can be held against the chain alone.
    const made = row.judgement.restored
      ? makeReceiptEntry(facts, receiptJudgement(parseEntry(kept)))
      : this.#entry(row, duplicate)
    if (equalBytes(made, kept)) return kept
    const field = differingField(parseEntry(made), parseEntry(kept))
    throw new DunesError(
      'LEAF_DIFFERS',
      `leaf ${row.index} (${row.facts.submission}) is made with another ${field} than the restored entry has`,
      {
        hint: 'nothing is logged or signed; run `dunes doctor`, which names the ways out',
        exitCode: 3,
        details: { index: row.index, field },
      },
    )
  }

  #entry(row: JudgedRow, duplicate: boolean): Uint8Array {
    const { origin, chain, registry } = this.#deps
    return makeReceiptEntry(
      { origin, chain, registry, ...row.facts },
      {
        verdict: duplicate ? 'rejected' : row.verdict,
        reason: duplicate ? 'DUPLICATE' : row.reason,
        observed: row.observed,
        read: row.judgement.read,
      },
    )
  }

  /** Signs the committed head, unless that was done, and publishes it. Never signs what the chain contradicts. */
  async #publish(): Promise<void> {
    const { sql, anchored } = this.#deps
    const head = await readLogHead(sql)
    if (head.size === 0) return
    const signers = this.#deps.signers()
    const signed = await readCheckpoint(sql, head.size)
    if (signed !== null && isSignedBy(signed, signers)) return
    try {
      // Both: the index may not have come as far as the chain, and an endpoint may be behind the index.
      const [anchor] = await sql`select size, root from anchor order by seq desc limit 1`
      if (anchor) await requirePrefix(sql, head, { size: anchor['size'], root: anchor['root'] })
      if (anchored) await requirePrefix(sql, head, await anchored())
    } catch (error) {
      // A log that is still being rebuilt signs nothing, and goes on rebuilding.
      if (!(error instanceof DunesError && error.code === 'LOG_BEHIND')) throw error
      this.#deps.logger.debug(
        { size: head.size },
        'left a checkpoint unsigned: the anchored size is not reached yet',
      )
      return
    }
    const note = signCheckpoint(
      {
        origin: this.#deps.origin,
        size: head.size,
        root: head.root,
        timestamp: Math.floor(this.#deps.clock.now() / 1000),
      },
      signers,
    )
    // After a rotation the newest checkpoint is signed again, so that who knows the new keys need not wait for a leaf.
    await (signed === null ? writeCheckpoint : renewCheckpoint)(sql, head.size, head.root, note)
    this.#deps.logged.wake()
  }
}

const toldDuplicate = ({ index, facts: { submission, contributor, sensor, dataset } }: JudgedRow) =>
  ({
    kind: 'judged',
    submission,
    contributor,
    sensor,
    dataset,
    index,
    verdict: 'rejected',
    reason: 'DUPLICATE',
  }) as const

/** What an entry says of the payload, as if it had been judged just now. */
function receiptJudgement({ entry, original, timestamp }: ParsedEntry): ReceiptJudgement {
  const { verdict, reason, observed, readings, payloadSig, mirrorSha256 } = entry
  return {
    verdict,
    reason,
    observed,
    read:
      mirrorSha256 === null
        ? null
        : {
            readings: readings ?? 0,
            // The line's names are joined by what they may hold themselves; only their text is asked for.
            names: [original.slice(0, -'_data'.length)],
            firstTimestamp: timestamp,
            signatureSha256: payloadSig.sha256,
            signedBytesSha256: mirrorSha256,
            mirrorSha256,
          },
  }
}

/** Name of the first field, or line, that two entries do not share. */
function differingField(a: ParsedEntry, b: ParsedEntry): string {
  const fields = Object.keys(a.entry) as (keyof ParsedEntry['entry'])[]
  const field = fields.find((name) => JSON.stringify(a.entry[name]) !== JSON.stringify(b.entry[name]))
  return field ?? (a.original === b.original ? 'timestamp' : 'list of value names')
}

interface JudgedRow {
  id: number
  index: number
  sensorId: number
  settledBlock: number
  verdict: 'accepted' | 'rejected'
  reason: Reason | null
  observed: boolean
  judgement: StoredJudgement
  facts: SubmissionFacts
}

function judgedRow(row: Row): JudgedRow {
  return {
    id: row['id'],
    index: row['index'],
    sensorId: row['sensor'],
    settledBlock: row['settled_block'],
    verdict: row['verdict'],
    reason: row['reason'],
    observed: row['observed'],
    judgement: row['judgement'],
    facts: factsOf(row),
  }
}
