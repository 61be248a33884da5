import { backoffMs } from '../../src/chain/backoff.ts'
import type { Hex } from '../../src/core/bytes.ts'
import type { SubmissionCall } from '../../src/service/registry-client.ts'
import { type Behaviour, choicesOf } from './behaviours.ts'
import type { FleetContext } from './context.ts'
import { frontMatterOf, hostPayload } from './payload.ts'
import { Random } from './random.ts'
import { Weather } from './readings.ts'
import { type Member, POLL_MS } from './setup.ts'
import { ALL_SHARES, EXAMPLE_SENSOR, SHARES, type Station } from './stations.ts'
import { attestations, expiration } from './validator.ts'

/** Submissions of one transaction, at most. */
const MAX_BATCH = 16
/** Milliseconds between the readings of a payload that holds several. */
const SPACING_MS = 10_000
interface Sent {
  readonly sensor: string
  readonly bytes: Uint8Array
}

/** A registered contributor at work: submits, and attests where it may, one transaction after another. */
export class Contributor {
  readonly #ctx: FleetContext
  readonly #member: Member
  readonly #random: Random
  readonly #intervalMs: number
  readonly #weather: ReadonlyMap<string, Weather>
  /** Position of the key in force among the contributor's seeds. */
  #keyInForce: number
  /** Time of the next submission, in milliseconds since 1970. */
  #due: number
  /** An accepted payload for duplicates to repeat, and one on its way to being that. */
  #accepted: Sent | null = null
  #awaited: (Sent & { readonly id: Hex; readonly block: number }) | null = null

  constructor(ctx: FleetContext, member: Member) {
    const { keys, submitted } = member
    this.#ctx = ctx
    this.#member = member
    // The number of submissions so far goes in, so that a start that goes on does not repeat the one before.
    this.#random = new Random(`${ctx.seed}/contributor/${keys.number}/${submitted}`)
    this.#weather = new Map(
      member.stations.map(({ sensor, dataset }) => [
        sensor,
        new Weather(sensor, ctx.seed, submitted, sensor === EXAMPLE_SENSOR, dataset),
      ]),
    )
    this.#keyInForce = member.keyInForce
    this.#intervalMs = (1_000 * ALL_SHARES) / (ctx.submissionsPerSecond * SHARES[keys.site.role])
    this.#due = ctx.clock.now() + this.#random.next() * this.#intervalMs
  }

  /** Works until the fleet stops. Whatever the RPC does, it backs off and goes on; never rejects for that. */
  async run(): Promise<void> {
    const { clock, logger, signal } = this.#ctx
    let failures = 0
    while (!signal.aborted) {
      try {
        if (this.#member.keys.site.role === 'validator') await this.#validate()
        if (!signal.aborted) await this.#submit()
        failures = 0
        await clock.sleep(POLL_MS, signal)
      } catch (error) {
        failures++
        logger.debug(
          { account: this.#member.client.account, error, failures },
          'Failed at a turn of the fleet',
        )
        await clock.sleep(backoffMs(failures, Math.random), signal)
      }
    }
  }

  async #validate(): Promise<void> {
    const { watch, keys, hostUrl, ttl } = this.#ctx
    const { client } = this.#member
    const { pending, seen } = watch
    const view = { pending: pending.values(), seen, ttl, validators: keys.validators, hostUrl }
    const items = attestations(view, client.account)
    if (items.length > 0) {
      await (await client.attestBatch(items)).send()
      // Also where the registry skipped one: trying again would not help.
      for (const { id } of items) pending.get(id)?.attested.add(client.account)
    }
    const late = expiration({ ...view, pending: pending.values() }, client.account)
    if (late !== null) await (await client.prepare('expire', [late])).send()
  }

  async #submit(): Promise<void> {
    const { clock } = this.#ctx
    const { client, stations } = this.#member
    const kinds: Behaviour[] = []
    const now = clock.now()
    for (; this.#due <= now && kinds.length < MAX_BATCH; this.#due += this.#pause())
      kinds.push(this.#choose())
    // What a slow chain did not let through is left out rather than made up for.
    if (this.#due < now) this.#due = now
    if (kinds.length === 0 || stations.length === 0) return
    if (kinds.some(({ role }) => role === 'rotator')) await this.#rotate()

    const drafts = kinds.map((kind) => ({ kind, ...this.#draft(kind) }))
    const calls = await Promise.all(
      drafts.map(({ kind, sensor, bytes }) => hostPayload(this.#ctx, kind, sensor, bytes)),
    )
    const [only] = calls
    const call = calls.length > 1 ? client.submitBatch(calls) : client.submit(only as SubmissionCall)
    const { events, block } = await (await call).send()
    const ids = events.flatMap((event) => (event.type === 'submitted' ? [event.id] : []))
    const good = drafts.findIndex(({ kind }) => kind.reason === null)
    const { sensor, bytes } = drafts[good] ?? {}
    const id = ids[good]
    if (this.#awaited === null && sensor && bytes && id) this.#awaited = { sensor, bytes, id, block }
  }

  /** Uneven, but the wanted pace on average. */
  #pause(): number {
    return this.#intervalMs * (0.5 + this.#random.next())
  }

  #choose(): Behaviour {
    const awaited = this.#awaited
    if (awaited && this.#ctx.watch.settled(awaited.id, awaited.block)) {
      this.#accepted = awaited
      this.#awaited = null
    }
    return this.#random.weighted(choicesOf(this.#member.keys.site.role, this.#accepted !== null))
  }

  #draft(kind: Behaviour): Sent {
    const ctx = this.#ctx
    const random = this.#random
    const { client, keys, stations } = this.#member
    if (kind.repeats && this.#accepted) return this.#accepted
    const { sensor, dataset } = stations[random.int(0, stations.length - 1)] as Station
    const now = ctx.clock.now()
    const readings = (this.#weather.get(sensor) as Weather).read(
      now,
      random.int(...kind.readings),
      SPACING_MS,
    )
    const others = ctx.keys.contributors
    const bytes = kind.craft({
      frontMatter: frontMatterOf(
        sensor,
        client.account,
        client.chainId,
        new Date(now).toISOString(),
        dataset,
      ),
      readings,
      seed: keys.seeds[this.#keyInForce] ?? keys.seeds[0],
      oldSeed: keys.seeds[0],
      foreignSeed: (others[(keys.number + 1) % others.length] as typeof keys).seeds[0],
      mlDsa: ctx.mlDsa,
    })
    return { sensor, bytes }
  }

  /** Replaces the contributor's first key by its next one, once. */
  async #rotate(): Promise<void> {
    const { client, keys } = this.#member
    const next = keys.seeds[1]
    if (this.#keyInForce > 0 || next === undefined) return
    await (await client.registerKey(next, this.#ctx.mlDsa)).send()
    this.#keyInForce = 1
    // Repeated now, it would be signed by a key that is not in force.
    this.#accepted = null
    this.#awaited = null
  }
}
