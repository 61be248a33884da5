import type { Random } from './random.ts'

/** Everything that goes wrong on purpose. Each has a counter; a set of 20 runs must meet them all. */
export const FAULTS = [
  // What an RPC endpoint does.
  'rpc 429 with Retry-After',
  'rpc 500',
  'rpc budget error',
  'rpc internal error',
  'rpc no JSON',
  'rpc hang',
  'rpc slow',
  'rpc null block',
  'rpc stale node',
  'rpc empty logs',
  'rpc empty range',
  'rpc short range',
  'rpc log of another block',
  'rpc log twice',
  'rpc wrong receipts',
  'rpc wrong header',
  'rpc range refused',
  'rpc answer too long',
  // What a payload host does.
  'payload 500',
  'payload lie',
  'payload short',
  'payload hang',
  'payload slow',
  'payload cut',
  // What happens between the engine and its database.
  'database cut',
  'database cut before a commit',
  'database cut after a commit',
  'database serialization failure',
  'database away',
  // What happens to the engine.
  'kill',
  'kill before a commit',
  'kill inside a commit',
  'takeover',
  // What the chain does between two questions of one look.
  'reorg between head and finality',
] as const
export type FaultKind = (typeof FAULTS)[number]

/** What the chain and the script do, counted beside the faults. */
export const EVENTS = [
  'reorg of 1 block',
  'reorg of 2 to 3 blocks',
  'reorg of 4 to 7 blocks',
  'reorg of 8 blocks and more',
  'reorg down to the last final block',
  'reorg to a shorter chain',
  'reorg while the engine is down',
  'head missed',
  'head announced twice',
  'bloom says maybe',
  'range split',
  'rollback applied',
  'anchor mined',
  'start in the middle of history',
  'log beyond one tile',
  'final payload unavailable',
  'duplicate logged',
  'API answer checked',
] as const
export type CoverageKind = FaultKind | (typeof EVENTS)[number]

export class Coverage {
  readonly counts = new Map<CoverageKind, number>()
  constructor() {
    for (const kind of [...FAULTS, ...EVENTS]) this.counts.set(kind, 0)
  }
  hit(kind: CoverageKind, times = 1): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + times)
  }
  of(kind: CoverageKind): number {
    return this.counts.get(kind) ?? 0
  }
  add(other: Coverage): void {
    for (const [kind, count] of other.counts) this.hit(kind, count)
  }
  zeros(): CoverageKind[] {
    return [...this.counts].filter(([, count]) => count === 0).map(([kind]) => kind)
  }
}

/**
 * Whether a fault is due in the run of this seed, by turns: a period of 4 divides 2^32, so that any 20 seeds in a row, over the
 * end of the range too, give each fault five runs.
 */
const PERIOD = 4
export const isDue = (kind: FaultKind, seed: number): boolean => (FAULTS.indexOf(kind) + seed) % PERIOD === 0

interface Armed {
  kind: FaultKind
  /** Occasions that pass before it strikes. */
  wait: number
  /** Occasions that it then strikes, in a row. */
  left: number
  /** How often it comes back. */
  again: number
}

/** Which faults strike, at which occasion. An occasion is the n-th of its sort, never a time. */
export class Faults {
  readonly coverage: Coverage
  readonly #armed = new Map<FaultKind, Armed>()
  readonly #random: Random
  #calm = false

  constructor(seed: number, random: Random, coverage: Coverage) {
    this.#random = random
    this.coverage = coverage
    for (const kind of FAULTS) {
      // Always drawn, so that one kind more or less shifts nothing else.
      const extra = random.chance(0.12)
      const plan = this.#plan(kind)
      if (isDue(kind, seed) || extra) this.#armed.set(kind, plan)
    }
  }

  #plan(kind: FaultKind): Armed {
    const [low, high] = WAITS[kind] ?? [0, 12]
    const most = BURSTS[kind] ?? 1
    return {
      kind,
      wait: this.#random.int(low, high),
      left: this.#random.int(1, most),
      again: this.#random.int(0, 2),
    }
  }

  armed(kind: FaultKind): boolean {
    return this.#armed.has(kind)
  }

  /** Asks at an occasion for `kind` whether it strikes now. */
  strikes(kind: FaultKind): boolean {
    if (this.#calm) return false
    const armed = this.#armed.get(kind)
    if (!armed) return false
    if (armed.wait-- > 0) return false
    armed.wait = 0
    this.coverage.hit(kind)
    if (--armed.left > 0) return true
    if (armed.again > 0) this.#armed.set(kind, { ...this.#plan(kind), again: armed.again - 1 })
    else this.#armed.delete(kind)
    return true
  }

  /** Faults that are due in this run and have not struck yet. */
  waiting(): FaultKind[] {
    return [...this.#armed.keys()].filter((kind) => this.coverage.of(kind) === 0)
  }

  /** From now on nothing goes wrong any more. */
  end(): void {
    this.#calm = true
  }
  get over(): boolean {
    return this.#calm
  }
}

/** Occasions before a fault strikes, where not 0 to 12. */
const WAITS: Partial<Record<FaultKind, readonly [number, number]>> = {
  'rpc 429 with Retry-After': [0, 60],
  'rpc 500': [0, 60],
  'rpc budget error': [0, 60],
  'rpc internal error': [0, 60],
  'rpc no JSON': [0, 60],
  'rpc hang': [0, 60],
  'rpc slow': [0, 30],
  'rpc null block': [0, 30],
  'rpc stale node': [0, 40],
  'rpc empty range': [0, 1],
  'rpc short range': [0, 1],
  'rpc range refused': [0, 1],
  'rpc answer too long': [0, 1],
  'rpc wrong receipts': [0, 1],
  'rpc log twice': [0, 4],
  'payload 500': [0, 4],
  'payload lie': [0, 4],
  'payload short': [0, 4],
  'payload hang': [0, 4],
  'payload slow': [0, 4],
  'payload cut': [0, 4],
  'database cut': [0, 400],
  'database cut before a commit': [0, 20],
  'database cut after a commit': [0, 20],
  'database serialization failure': [0, 20],
  'database away': [0, 300],
  takeover: [0, 3],
  'kill before a commit': [0, 25],
  'kill inside a commit': [0, 25],
  'reorg between head and finality': [0, 4],
}
/** Strikes in a row, where it may be more than one. */
const BURSTS: Partial<Record<FaultKind, number>> = {
  'rpc 429 with Retry-After': 3,
  'rpc 500': 4,
  'rpc budget error': 3,
  'rpc internal error': 3,
  'rpc stale node': 12,
  'rpc empty logs': 2,
  'rpc range refused': 3,
  'payload 500': 4,
  'payload lie': 3,
  'reorg between head and finality': 3,
}
