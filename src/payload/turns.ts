import type { Clock } from '../core/clock.ts'
import { Ended, unavailable } from './outcome.ts'

export interface TurnLimits {
  /** Turns held at once over all hosts, at least 1. */
  total: number
  /** Turns held at once for one host, at least 1. */
  perHost: number
  /**
   * Milliseconds for which a turn is safe however many wait, at least; after that it is taken back when somebody needs
   * its place.
   */
  patienceMs: number
}

/** The right to one connection. */
export interface Turn {
  /** Aborts, with a `busy` outcome, when the turn is taken back. The holder must then let go soon. */
  readonly evicted: AbortSignal
  /** Gives the turn back; more than once is harmless. `answered`: the host gave a whole answer, of whatever kind. */
  release(answered?: boolean): void
}

export interface Turns {
  /** The next turn for `host`, in fair order; null when `signal` aborts first. */
  acquire(host: string, signal: AbortSignal): Promise<Turn | null>
}

/** How long answers have lately taken, and how often a turn was taken back since the last one. */
interface Pace {
  meanMs: number
  evictions: number
  /** How many turns there can be at once. */
  places: number
}

interface Holder {
  pace: Pace
  since: number
  evicting: boolean
  controller: AbortController
}

interface Lane {
  holders: Set<Holder>
  waiting: Set<() => void>
  pace: Pace
}

/** Bounds what a flood of silent hosts can win by wearing patience out. */
const MAX_DOUBLINGS = 2

const BUSY = unavailable(
  'busy',
  'The host was too slow while other fetches waited, and had to make room for them.',
  true,
)

/**
 * Hands out a bounded number of connections. Hosts take turns round robin, so a host with a thousand fetches waiting
 * delays another host's only one by a single place. Time-outs alone would still let a few silent hosts hold every place
 * for seconds, and one silent path hold up its own host's good ones; so a holder that has run out of patience makes room
 * as soon as somebody waits for its place, the oldest first. Its fetch ends as `busy` and may be tried again.
 *
 * Patience follows what answers lately took, and doubles, up to fourfold, each time that every place has been taken back
 * without one answer, so that hosts which are all merely slow are waited for instead of being interrupted for ever.
 */
export function createTurns(limits: TurnLimits, clock: Clock): Turns {
  const lanes = new Map<string, Lane>()
  // Lanes with someone waiting and a place left under the host's own limit; first in, first served.
  const ready = new Set<Lane>()
  const holders = new Set<Holder>()
  const overall: Pace = { meanMs: 0, evictions: 0, places: limits.total }

  const patience = (pace: Pace): number =>
    Math.max(limits.patienceMs, 4 * pace.meanMs) *
    2 ** Math.min(MAX_DOUBLINGS, Math.floor(pace.evictions / pace.places))

  const refresh = (lane: Lane): void => {
    if (lane.waiting.size > 0 && lane.holders.size < limits.perHost) ready.add(lane)
    else ready.delete(lane)
  }

  /** Takes turns back among `held`, which stand in order of age, until `needed` are on their way back. */
  const evict = (held: Set<Holder>, needed: number, pace: Pace): void => {
    // A timer may fire a millisecond before the clock says so.
    const before = clock.now() - patience(pace) + 1
    let coming = 0
    for (const holder of held) if (holder.evicting) coming++
    for (const holder of held) {
      if (coming >= needed || holder.since > before) return
      if (holder.evicting) continue
      holder.evicting = true
      coming++
      overall.evictions++
      holder.pace.evictions++
      holder.controller.abort(new Ended(BUSY))
    }
  }

  const pump = (lane: Lane): void => {
    refresh(lane)
    while (holders.size < limits.total) {
      const [next] = ready
      if (next === undefined) break
      const [admit] = next.waiting
      if (admit === undefined) break
      next.waiting.delete(admit)
      admit()
      // To the end of the round.
      ready.delete(next)
      refresh(next)
    }
    if (lane.waiting.size > 0 && lane.holders.size >= limits.perHost) {
      evict(lane.holders, lane.waiting.size, lane.pace)
    }
    if (ready.size > 0) evict(holders, ready.size, overall)
  }

  const hold = (host: string, lane: Lane): Turn => {
    const { pace } = lane
    const holder: Holder = { pace, since: clock.now(), evicting: false, controller: new AbortController() }
    const released = new AbortController()
    lane.holders.add(holder)
    holders.add(holder)
    const watch = async () => {
      for (;;) {
        await clock.sleep(limits.patienceMs, released.signal)
        if (released.signal.aborted) return
        pump(lane)
      }
    }
    void watch()
    return {
      evicted: holder.controller.signal,
      release: (answered = false) => {
        if (released.signal.aborted) return
        released.abort()
        if (answered) {
          const took = clock.now() - holder.since
          for (const each of [pace, overall]) {
            each.meanMs += (took - each.meanMs) / 4
            each.evictions = 0
          }
        }
        lane.holders.delete(holder)
        holders.delete(holder)
        pump(lane)
        drop(host, lane)
      },
    }
  }

  const drop = (host: string, lane: Lane): void => {
    if (lane.holders.size === 0 && lane.waiting.size === 0) lanes.delete(host)
  }

  return {
    acquire: (host, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve(null)
        const lane = lanes.get(host) ?? newLane(limits.perHost)
        lanes.set(host, lane)
        const admit = () => {
          signal.removeEventListener('abort', leave)
          resolve(hold(host, lane))
        }
        const leave = () => {
          lane.waiting.delete(admit)
          refresh(lane)
          drop(host, lane)
          resolve(null)
        }
        signal.addEventListener('abort', leave, { once: true })
        lane.waiting.add(admit)
        pump(lane)
      }),
  }
}

const newLane = (places: number): Lane => ({
  holders: new Set(),
  waiting: new Set(),
  pace: { meanMs: 0, evictions: 0, places },
})
