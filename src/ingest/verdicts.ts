import { availableParallelism } from 'node:os'
import { setImmediate } from 'node:timers/promises'
import type { Hex } from '../core/bytes.ts'
import type { Clock } from '../core/clock.ts'
import type { Metrics } from '../core/metrics.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import type { Sql } from '../graph/connect.ts'
import { type RegisteredKey, readPublicKeys, readSchemaBytes, type Unjudged } from '../graph/judgements.ts'
import type { SchemaFile } from '../maml/schema.ts'
import { MAML_CONTEXT, verifyMaml } from '../maml/sign.ts'
import type { Entry } from '../receipt/entry.ts'
import { type Judgement, judging, readSchemaFile, type SignatureCheck } from '../receipt/judge.ts'
import type { LeafPolicy } from '../receipt/policy.ts'

/** Milliseconds after which a batch is cut short: so long do large payloads keep small ones waiting. */
const SLICE_MS = 100
/** Milliseconds of checks after which others get a turn on this thread. */
const YIELD_MS = 10
/**
 * Payloads that are checked side by side. While the cores are busy with signatures the next ones are parsed; so many that the threads
 * never run dry, as waking one costs this thread as much as parsing does, and so few that a file or a name waits for milliseconds only.
 */
const LANES = 16 * availableParallelism()
/** Public keys and schema files that are kept. Anybody may register some; those in use are few. */
const KEYS = 4_096
const SCHEMAS = 256

export interface VerdictDeps {
  /** CAIP-2 id. */
  chain: string
  sql: Sql
  mlDsa: MlDsa
  clock: Clock
  metrics: Metrics
}

/** The verdict of an entry. */
export type Statement = Pick<Entry, 'verdict' | 'reason' | 'observed'>

/** A submission on which a verdict can be found. */
export interface Decided {
  readonly due: Unjudged
  /** Null where nobody need be asked: the outcome or the URI decides. */
  readonly uri: string | null
  /** What the log has said of it, where a restore brought that back. */
  readonly statement: Statement | null
  /** The payload, checked against its hash; null without one. */
  readonly bytes: Uint8Array | null
}

/** A verdict, and what it was found with. */
export interface Found<D extends Decided> {
  of: D
  /** The payload that it is about, null without one. */
  bytes: Uint8Array | null
  judgement: Judgement
  /** Whether it is what a restored entry says, and not what the payload does. */
  restored: boolean
  schema: SchemaFile | null
}

/** Finds verdicts, a batch at a time, with the keys and schema files of those before at hand. */
export class Verdicts {
  readonly #deps: VerdictDeps
  readonly #schemas = new Map<LeafPolicy, Map<Hex, SchemaFile | null>>()
  readonly #keys = new Map<Hex, Uint8Array>()

  constructor(deps: VerdictDeps) {
    this.#deps = deps
  }

  /**
   * The verdicts on as many of `batch` as a slice of time allows, and those that it did not: they are to come again. Throws what the
   * database throws, and `GRAPH_INCONSISTENT` where it lacks a key or schema file.
   */
  async find<D extends Decided>(batch: readonly D[]): Promise<{ found: Found<D>[]; left: D[] }> {
    // What a host still delivers from now on comes too late: a verdict is about what was there when its batch began.
    const bytesOf = new Map(batch.map((one) => [one, one.bytes]))
    const known = await this.#readKeysAndSchemas(batch.filter(({ bytes }) => bytes !== null))
    const { clock } = this.#deps
    const found: Found<D>[] = []
    const left: D[] = []
    const started = clock.now()
    let yielded = performance.now()
    let next = 0
    const lane = async () => {
      while (next < batch.length) {
        const one = batch[next++] as D
        if (clock.now() - started > SLICE_MS) {
          left.push(one)
          continue
        }
        found.push(await this.#verdict(one, bytesOf.get(one) ?? null, known))
        if (performance.now() - yielded > YIELD_MS) {
          await setImmediate()
          yielded = performance.now()
        }
      }
    }
    await Promise.all(Array.from({ length: LANES }, lane))
    return { found, left }
  }

  async #verdict<D extends Decided>(of: D, bytes: Uint8Array | null, known: Known): Promise<Found<D>> {
    const { metrics, chain } = this.#deps
    const { due, uri, statement } = of
    if (statement && !statement.observed && uri !== null && !bytes)
      return { of, bytes, judgement: restoredJudgement(statement), restored: true, schema: null }
    const { keys } = due
    const key = keys.findLast((candidate) => candidate.keyId === due.keyId) ?? null
    const schema = bytes ? known.schema(due) : null
    const publicKey = (one: RegisteredKey) => (bytes ? known.key(one.keyId) : NO_BYTES)
    const end = metrics.judgeSeconds.startTimer()
    const steps = judging(
      {
        outcome: due.outcome,
        chain,
        contributor: due.contributor,
        sensor: due.sensor,
        dataset: due.dataset,
        payload: due.payload,
        uriRefused: due.outcome === 'validated' && uri === null,
        bytes,
        key: key && { publicKey: publicKey(key), possessionValid: key.possessionValid },
        earlierKeys: key ? keys.filter((other) => other.keyIndex < key.keyIndex).map(publicKey) : [],
        // The file below stands for the bytes.
        schema: NO_BYTES,
        submittedTime: due.submittedTime,
        policy: due.policy,
      },
      { schemaFile: () => schema },
    )
    let step = steps.next()
    while (!step.done) step = steps.next(await this.#isSigned(step.value))
    end()
    return { of, bytes, judgement: step.value, restored: false, schema }
  }

  /** Off this thread where the runtime can: a signature takes longer than all other checks together. */
  #isSigned({ payload, publicKey }: SignatureCheck): Promise<boolean> | boolean {
    const { mlDsa } = this.#deps
    const { signature, signedBytes } = payload
    if (!mlDsa.verifyAside || signature.kind !== 'present') return verifyMaml(payload, publicKey, mlDsa)
    return mlDsa.verifyAside(65, publicKey, signedBytes, signature.bytes, MAML_CONTEXT)
  }

  /**
   * What judging these needs: from the caches, and what is missing there from the database. Both are found by their hashes, so that
   * neither ever changes. The answer holds all of it, whatever the caches forget meanwhile.
   */
  async #readKeysAndSchemas(batch: readonly Decided[]): Promise<Known> {
    const { sql } = this.#deps
    const keys = new Map<Hex, Uint8Array>()
    const missing = new Set<Hex>()
    const schemas = new Map<LeafPolicy, Map<Hex, SchemaFile | null>>()
    for (const { due } of batch) {
      for (const { keyId } of due.keys) {
        const key = this.#keys.get(keyId)
        if (key) keys.set(keyId, key)
        else missing.add(keyId)
      }
      const files = schemas.get(due.policy) ?? new Map<Hex, SchemaFile | null>()
      schemas.set(due.policy, files)
      if (!files.has(due.schemaSha256)) files.set(due.schemaSha256, await this.#schema(due))
    }
    if (this.#keys.size + missing.size > KEYS) this.#keys.clear()
    for (const [id, key] of await readPublicKeys(sql, [...missing])) {
      keys.set(id, key)
      this.#keys.set(id, key)
    }
    const required = <T>(value: T | undefined): T => {
      if (value === undefined) throw new Error('a key or schema of a batch was not read')
      return value
    }
    return {
      key: (id) => required(keys.get(id)),
      schema: ({ policy, schemaSha256 }) => required(schemas.get(policy)?.get(schemaSha256)),
    }
  }

  async #schema({ schemaSha256, policy }: Unjudged): Promise<SchemaFile | null> {
    const files = this.#schemas.get(policy) ?? new Map<Hex, SchemaFile | null>()
    this.#schemas.set(policy, files)
    const known = files.get(schemaSha256)
    if (known !== undefined) return known
    if (files.size >= SCHEMAS) files.clear()
    const file = readSchemaFile(await readSchemaBytes(this.#deps.sql, schemaSha256), policy)
    files.set(schemaSha256, file)
    return file
  }
}

/** Keys and schema files of one batch. */
interface Known {
  key(id: Hex): Uint8Array
  schema(due: Unjudged): SchemaFile | null
}

/** What the log has said of a payload that was read then and is gone now. */
const restoredJudgement = ({ verdict, reason, observed }: Statement): Judgement => ({
  verdict,
  reason,
  observed,
  read: null,
  detail: 'The payload was gone when the log was restored: this is what its entry says.',
})

const NO_BYTES = new Uint8Array()
