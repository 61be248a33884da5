import { connect, type Sql } from '../../src/graph/connect.ts'
import type { Deployment } from '../../src/graph/cursor.ts'
import { type SimBlock, SimChain } from './chain.ts'
import { compareDatabase, START_BLOCK } from './check.ts'
import { ANCHOR, REGISTRY, type Tx } from './contracts.ts'
import { type Engine, ORIGIN, startEngine } from './engine.ts'
import { Coverage, Faults } from './faults.ts'
import { SimNodes } from './node.ts'
import { Observer } from './observer.ts'
import { PayloadHosts } from './payload-host.ts'
import type { SimPostgres } from './postgres.ts'
import { type Random, randomOf } from './random.ts'
import { CHAIN, Script } from './script.ts'
import { createTurnClock } from './turn-clock.ts'

/** How much faster than the world the engine's clock goes. */
const CLOCK_RATE = 25
/** Grace of the leaf policy, in seconds of chain time. */
const GRACE_SECONDS = 5
/** Blocks that may be waiting for finality at once. */
const MOST_UNFINAL = 24
/** Steps of the script, and how many more it takes while faults that are due have not struck. */
const STEPS = 24
const MORE_STEPS = 36
/** Milliseconds for which a patient step waits for the engine at most; a busy machine needs many, an idle one few. */
const PATIENT_MS = 2_000

export interface RunOptions {
  /** Without faults, to look at the simulation itself. */
  calm: boolean
  /** Milliseconds for the engine to come to rest once the faults are over. */
  patienceMs: number
}

export interface RunResult {
  seed: number
  /** What was wrong; empty when all was well. */
  problems: string[]
  coverage: Coverage
  ms: number
  trace: string[]
  submissions: number
  leaves: number
  blocks: number
}

/** One run: a chain, its endpoints and payload hosts, engines that die and come back, all from one seed. */
export async function simulate(seed: number, postgres: SimPostgres, options: RunOptions): Promise<RunResult> {
  const started = performance.now()
  const run = new Run(seed, postgres, options)
  // It would end a process that nobody kills.
  const unhandled = (error: unknown, promise: Promise<unknown>) => run.unhandled(error, promise)
  process.on('unhandledRejection', unhandled)
  try {
    await run.play()
  } catch (error) {
    run.problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
  } finally {
    await run.close()
    process.off('unhandledRejection', unhandled)
  }
  const { problems, coverage, trace } = run
  const size = run.chain.head.state
  return {
    seed,
    problems,
    coverage,
    trace,
    ms: performance.now() - started,
    submissions: size.submissions.size,
    leaves: size.settled,
    blocks: run.chain.history.length,
  }
}

class Run {
  readonly seed: number
  readonly problems: string[] = []
  readonly coverage = new Coverage()
  readonly trace: string[] = []
  readonly chain = new SimChain(1_767_225_600)
  readonly #postgres: SimPostgres
  readonly #options: RunOptions
  readonly #faults: Faults
  readonly #hosts: PayloadHosts
  readonly #nodes: SimNodes
  readonly #script: Script
  readonly #world
  readonly #between
  readonly #kills
  readonly #time
  readonly #clock
  readonly #engines: Engine[] = []
  #made = 0
  #deployment: Deployment | null = null
  #sql: Sql | null = null
  #drop: (() => Promise<void>) | null = null
  #url = ''
  #observer: Observer | null = null
  readonly #delivered = new Set<string>()

  constructor(seed: number, postgres: SimPostgres, options: RunOptions) {
    this.seed = seed
    this.#postgres = postgres
    this.#world = randomOf(seed, 'world')
    this.#between = randomOf(seed, 'between')
    this.#kills = randomOf(seed, 'kills')
    this.#time = randomOf(seed, 'time')
    this.#faults = new Faults(seed, randomOf(seed, 'faults'), this.coverage)
    this.#options = options
    if (options.calm) this.#faults.end()
    this.#hosts = new PayloadHosts(this.#faults)
    const keepsOrphans = randomOf(seed, 'orphans').chance(0.5)
    this.#nodes = new SimNodes(this.chain, this.#faults, keepsOrphans, () => this.#movesOn())
    this.#script = new Script(randomOf(seed, 'script'), this.#hosts)
    this.#clock = createTurnClock(CLOCK_RATE, 1_767_225_600_000)
  }

  #say(line: string): void {
    this.trace.push(`${(performance.now() / 1000).toFixed(3)} ${line}`)
  }

  unhandled(error: unknown, promise: Promise<unknown>): void {
    this.#say(
      `unhandled: ${Object.keys(promise).join()} ${JSON.stringify((promise as unknown as { strings?: unknown }).strings)}`,
    )
    this.#say(`unhandled rejection: ${error instanceof Error ? error.stack : error}`)
    // What a killed engine leaves undone ends nobody any more.
    if (this.#engines.every((engine) => engine.alive))
      this.problems.push(`an unhandled rejection: ${error instanceof Error ? error.stack : error}`)
  }

  get #leader(): Engine | undefined {
    return this.#engines.find((engine) => engine.alive)
  }

  async play(): Promise<void> {
    const name = `run_${this.seed}_${Math.floor(performance.now())}`
    await this.#hosts.start()
    await this.#nodes.start(3)
    const { url, drop } = await this.#postgres.create(name)
    this.#url = name
    this.#drop = drop
    this.#sql = await connect(url, { max: 4 })
    this.#makeHistory()
    this.#observer = new Observer({
      chain: this.chain,
      script: this.#script,
      sql: this.#sql,
      clock: this.#clock,
      deployment: this.#deployment as Deployment,
      random: randomOf(this.seed, 'questions'),
      source: () => this.#leader?.source.status() ?? null,
    })
    this.#observer.start()
    await this.#start()
    this.#script.host = 'shaky'
    for (let step = 0; step < STEPS + MORE_STEPS; step++) {
      if (step >= STEPS && (this.#faults.over || this.#faults.waiting().length === 0)) break
      await this.#step(step)
      if (this.problems.length > 0) return
    }
    await this.#settle()
    const observed = await this.#observer.stop()
    this.coverage.hit('API answer checked', observed.checked)
    this.problems.push(...observed.problems)
    await this.#leader?.stop()
    this.problems.push(...(await compareDatabase(this.#sql, this.chain, this.#script)))
    await this.#count()
  }

  /** What the chain holds before anybody indexes it. */
  #makeHistory(): void {
    const { int, chance } = this.#world
    const long =
      chance(0.7) ||
      ['rpc empty range', 'rpc short range', 'rpc range refused', 'rpc answer too long'].some((kind) =>
        this.#faults.armed(kind as never),
      )
    this.chain.mine([], 1)
    const start = this.#mine(this.#script.deployment())
    if (start.number !== START_BLOCK) throw new Error('the contracts are not where they should be')
    this.#deployment = {
      chain: CHAIN,
      registry: REGISTRY,
      anchor: ANCHOR,
      origin: ORIGIN,
      startBlock: start.number,
      startHash: start.hash,
    }
    this.#mine(this.#script.registrations())
    // Enough leaves in one run of sixteen to fill a tile.
    if (this.seed % 16 === 7) {
      this.#script.bulk = true
      for (let i = 0; i < 9; i++) this.#mineNext()
      this.#script.bulk = false
      this.#mineNext()
    }
    const blocks = long ? int(40, 60) : int(0, 25)
    for (let i = 0; i < blocks; i++) this.#mineNext(chance(0.35))
    if (long) {
      this.coverage.hit('start in the middle of history')
      this.chain.finalise(this.chain.head.number - int(0, 8))
    }
  }

  #mine(txs: readonly Tx[], seconds = 1): SimBlock {
    const block = this.chain.mine([...this.#nodes.mempool.take(this.chain.head.state), ...txs], seconds)
    this.#note(block)
    return block
  }

  #note(block: SimBlock): void {
    for (const tx of block.txs) {
      if (tx.action.kind === 'foreign') this.coverage.hit('bloom says maybe')
      if (tx.action.kind === 'anchor' && block.state.anchor.block === block.number)
        this.coverage.hit('anchor mined')
    }
  }

  #mineNext(empty = false): SimBlock {
    const { head } = this.chain
    const txs = empty ? [] : this.#script.block(head.state, head.number + 1)
    return this.#mine(txs, this.#time.chance(0.1) ? 4 : 1)
  }

  async #start(): Promise<Engine> {
    const name = `engine ${++this.#made}`
    this.#say(`${name} starts`)
    const engine = await startEngine({
      name,
      urls: this.#nodes.urls,
      hosts: this.#hosts.pairs(),
      deployment: this.#deployment as Deployment,
      socket: this.#postgres.socket,
      urlAt: (directory) => this.#postgres.urlAt(this.#url, directory),
      clock: this.#clock,
      faults: this.#faults,
      coverage: this.coverage,
      random: randomOf(this.seed, name),
      batchSize: this.#kills.pick([1, 7, 50]),
      trace: (line) => this.#say(line),
    })
    this.#engines.push(engine)
    return engine
  }

  /** Engines that ended by themselves are a finding, unless all that was wrong passes. */
  #watch(): void {
    for (const engine of this.#engines)
      if (engine.failure) this.problems.push(`${engine.name} gave up: ${engine.failure.stack}`)
  }

  async #step(step: number): Promise<void> {
    const { chance, int } = this.#world
    // Every draw is made whether or not it is used, so that one choice never shifts the next.
    const draws = {
      what: int(0, 99),
      more: int(0, 99),
      some: int(2, 6),
      linger: int(0, 12),
      patient: chance(0.45),
    }
    const alive = this.#engines.filter((engine) => engine.alive)
    this.#watch()
    await this.#noteDelivered()
    if (alive.length === 0 && draws.what < 50) this.#reorganise()
    if (alive.length === 0 && draws.more < 60) await this.#start()
    if (draws.what < 42) this.#mineNext()
    else if (draws.what < 54) {
      for (let i = 0; i < draws.some; i++) this.#mineNext()
      this.coverage.hit('head missed')
    } else if (draws.what < 76) this.#reorganise()
    else if (draws.what < 92) await this.#finalise(this.chain.head.number - int(0, 6))
    else {
      this.#leader?.source.wake()
      this.#leader?.source.wake()
      this.coverage.hit('head announced twice')
    }
    this.#processFaults(alive.length)
    if (step % 9 === 4 && this.#faults.armed('takeover') && alive.length === 1) await this.#start()
    await this.#finaliseOverflow()
    if (draws.patient && this.#leader) await this.#caughtUp(PATIENT_MS)
    else await pause(draws.linger)
  }

  #processFaults(alive: number): void {
    if (alive === 0) return
    if (alive > 1 && this.#faults.strikes('takeover')) this.#lead()?.kill()
    else if (this.#faults.strikes('kill')) this.#leader?.kill()
  }

  /** The engine that holds the lock, as far as that can be told. */
  #lead(): Engine | undefined {
    const alive = this.#engines.filter((engine) => engine.alive)
    return alive.find((engine) => engine.source.status().phase !== 'idle') ?? alive[0]
  }

  /** How many blocks a reorganisation may take away. */
  get #deepest(): number {
    const { head, finalized } = this.chain
    return head.number - Math.max(finalized.number, START_BLOCK + 1)
  }

  /** Replaces the newest `depth` blocks by a branch of `length`: a share of their transactions, and what `more` adds to each block. */
  #replace(
    depth: number,
    length: number,
    { random, keeps }: { random: Random; keeps: number },
    more: (base: SimBlock) => readonly Tx[],
  ): void {
    const { head } = this.chain
    const base = this.chain.at(head.number - depth) as SimBlock
    const removed = SimChain.branch(head, base).flatMap((block) => block.txs)
    // Anchors wait for their turn again, or are lost.
    for (const tx of removed)
      if (tx.action.kind === 'anchor' && random.chance(0.7))
        this.#nodes.mempool.waiting.set(tx.action.nonce, { ...tx, fee: 0n })
    const again = removed.filter((tx) => tx.action.kind !== 'anchor' && random.chance(keeps))
    const branch: Tx[][] = Array.from({ length }, () => [])
    for (const [i, tx] of again.entries()) branch[Math.floor((i * length) / again.length)]?.push(tx)
    for (const txs of branch) txs.push(...more(base))
    if (length > 0) (branch[0] as Tx[]).unshift(...this.#nodes.mempool.take(base.state))
    this.chain.reorganise(base, branch, () => (random.chance(0.1) ? 4 : 1))
    for (const block of SimChain.branch(this.chain.head, base)) this.#note(block)
    this.#say(`reorganisation: ${head.number} -> ${base.number} -> ${this.chain.head.number}`)
  }

  /**
   * What happens while an endpoint is asked for finality: the newest block falls off the chain, and one above it becomes final. Null
   * where it cannot, or where the engine is too far behind to be misled. It draws from a stream of its own, as nobody knows when it is due.
   */
  #movesOn(): (() => void) | null {
    const { head } = this.chain
    const tip = this.#leader?.source.status().tip?.hash
    if (this.#deepest < 1 || (tip !== head.hash && tip !== head.parent?.hash)) return null
    return () => {
      const random = this.#between
      const depth = Math.min(random.int(1, 3), this.#deepest)
      this.#replace(depth, depth + random.int(2, 5), { random, keeps: random.pick([0, 0.5, 1]) }, () => [])
      this.#finaliseTo(this.chain.head.number - random.int(0, 1))
    }
  }

  #reorganise(): void {
    const { int, chance, pick } = this.#world
    const most = this.#deepest
    const wanted = pick([1, 1, 1, 2, 2, 3, 3, 5, 6, 9, 14, 99])
    const grows = int(0, 3)
    const shrinks = chance(0.12)
    const keeps = pick([0, 0.5, 0.9, 1])
    const depth = Math.min(wanted, most)
    if (depth < 1) return void this.#mineNext()
    const { finalized } = this.chain
    const length = shrinks ? int(0, depth - 1) : depth + grows
    // What else is on the new branch follows from the state before it: good enough, as the contracts sort out what no longer applies.
    this.#replace(depth, length, { random: this.#world, keeps }, (base) =>
      chance(0.5) ? this.#script.block(base.state, base.number + 1) : [],
    )
    const size =
      depth === 1
        ? '1 block'
        : depth <= 3
          ? '2 to 3 blocks'
          : depth <= 7
            ? '4 to 7 blocks'
            : '8 blocks and more'
    this.coverage.hit(`reorg of ${size}`)
    if (depth === most && finalized.number > START_BLOCK)
      this.coverage.hit('reorg down to the last final block')
    if (length < depth) this.coverage.hit('reorg to a shorter chain')
    if (!this.#leader) this.coverage.hit('reorg while the engine is down')
  }

  /**
   * Moves finality up to `limit`, but never so far that the grace of a payload would end that its host will still give: then the verdict would
   * depend on who was faster.
   */
  async #finalise(limit: number): Promise<boolean> {
    await this.#noteDelivered()
    return this.#finaliseTo(limit)
  }

  async #noteDelivered(): Promise<void> {
    const rows = await (this.#sql as Sql)`select encode(sha256, 'hex') as hash from payload`
    for (const { hash } of rows) this.#delivered.add(`0x${hash}`)
  }

  #finaliseTo(limit: number): boolean {
    let to = Math.min(limit, this.chain.head.number)
    const block = (number: number) => this.chain.at(number) as SimBlock
    for (const s of this.chain.head.state.submissions.values()) {
      if (s.settled?.outcome !== 'validated') continue
      const { payloadHash } = s.item
      if (!this.#script.obtainable.has(payloadHash) || this.#delivered.has(payloadHash)) continue
      // Final long ago, before anybody indexed: a steady host has it.
      if (s.settled.block <= this.chain.finalized.number && this.#isGraceOver(s.settled.time)) continue
      while (to >= s.settled.block && block(to).time >= s.settled.time + GRACE_SECONDS) to--
    }
    if (to > this.chain.finalized.number) this.chain.finalise(to)
    return to >= limit
  }

  #allDelivered(): boolean {
    return [...this.chain.head.state.submissions.values()].every(
      ({ settled, item: { payloadHash } }) =>
        settled?.outcome !== 'validated' ||
        !this.#script.obtainable.has(payloadHash) ||
        this.#delivered.has(payloadHash),
    )
  }

  #isGraceOver(settledTime: number): boolean {
    return this.chain.finalized.time >= settledTime + GRACE_SECONDS
  }

  /** A chain whose finality is far behind waits for the payloads that hold it up. */
  async #finaliseOverflow(): Promise<void> {
    const target = () => this.chain.head.number - MOST_UNFINAL
    if (target() <= this.chain.finalized.number) return
    await this.#until('finality to move', async () => {
      if (!this.#leader) await this.#start()
      return this.#finalise(target())
    })
  }

  async #position(): Promise<{ head: string; final: string; size: number } | null> {
    const [row] = await (this.#sql as Sql)`
      select encode(head_hash, 'hex') as head, encode(final_hash, 'hex') as final,
             coalesce((select size from log_head), 0)::bigint as size from cursor`
    return row ? { head: `0x${row['head']}`, final: `0x${row['final']}`, size: row['size'] } : null
  }

  async #caughtUp(ms: number): Promise<void> {
    const end = performance.now() + ms
    while (performance.now() < end && this.#leader) {
      if ((await this.#position())?.head === this.chain.head.hash) return
      await pause(8)
    }
  }

  /** What changes while the engine gets anywhere at all. */
  async #progress(): Promise<string> {
    const [row] = await (this.#sql as Sql)`
      select (select head_hash from cursor)::text as head, (select final_hash from cursor)::text as final,
             (select count(*) from submission where verdict is not null)::int as judged,
             (select count(*) from payload)::int as payloads, (select size from log_head) as size`
    return JSON.stringify(row)
  }

  /** Payloads that were called unavailable though finality has waited for them, as {@link #finaliseTo} sees to: they would never come. */
  async #wronglyUnavailable(): Promise<string[]> {
    const rows = await (this.#sql as Sql)`
      select encode(payload_sha256, 'hex') as hash, settled_block as block from submission where reason = 'PAYLOAD_UNAVAILABLE'`
    return rows
      .filter(({ hash }) => this.#script.obtainable.has(`0x${hash}`))
      .map(
        ({ hash, block }) => `payload ${hash}, settled in block ${block}, was called unavailable and is not`,
      )
  }

  /** Waits for `done`. Gives up when nothing has changed in the database for as long as the run's patience. */
  async #until(what: string, done: () => Promise<boolean>): Promise<void> {
    const { patienceMs } = this.#options
    let seen = ''
    let since = performance.now()
    while (!(await done())) {
      this.#watch()
      this.problems.push(...(await this.#wronglyUnavailable()))
      if (this.problems.length > 0) throw new Error(`stopped while waiting for ${what}`)
      const now = await this.#progress()
      if (now !== seen) since = performance.now()
      seen = now
      if (performance.now() - since > patienceMs) {
        const { head, finalized } = this.chain
        throw new Error(
          `nothing changed for ${patienceMs} ms while waiting for ${what}: the database is at ${JSON.stringify(await this.#position())}, the chain at ${head.number} ${head.hash}, final ${finalized.number}; ${this.#leader?.pipeline.readiness().join('; ')}`,
        )
      }
      await pause(10)
    }
  }

  /** The faults are over: the engine must come to rest in exactly the chain's state. */
  async #settle(): Promise<void> {
    this.#faults.end()
    this.#say('faults are over')
    if (!this.#leader) await this.#start()
    await this.#until('the payloads', async () => {
      if (!this.#leader) await this.#start()
      // Those too whose grace has not ended in any block so far: the blocks that come end it.
      return (await this.#finalise(this.chain.head.number)) && this.#allDelivered()
    })
    // Grace passes for the payloads that nobody has.
    for (let i = 0; i < 3; i++) this.#mine([], 6)
    await this.#rest(this.#world.int(0, 2))
    // What was anchored meanwhile goes on-chain too.
    for (let i = 0; i < 2; i++) this.#mine([], 1)
    await this.#rest(this.#world.int(0, 2))
  }

  async #rest(unfinal: number): Promise<void> {
    const { chain } = this
    chain.finalise(Math.max(chain.finalized.number, chain.head.number - unfinal))
    const settled = chain.finalized.state.settled
    this.#say(`waiting for block ${chain.head.number}, final ${chain.finalized.number}, ${settled} leaves`)
    await this.#until('the engine to come to rest', async () => {
      const position = await this.#position()
      return (
        position?.head === chain.head.hash &&
        position.final === chain.finalized.hash &&
        position.size === settled
      )
    })
  }

  async #count(): Promise<void> {
    const [row] = await (this.#sql as Sql)`
      select count(*) filter (where reason = 'PAYLOAD_UNAVAILABLE')::int as unavailable,
             count(*) filter (where reason = 'DUPLICATE')::int as duplicates, coalesce(max(index), 0)::int as last from submission`
    this.coverage.hit('final payload unavailable', row?.['unavailable'])
    this.coverage.hit('duplicate logged', row?.['duplicates'])
    if (row?.['last'] >= 256) this.coverage.hit('log beyond one tile')
  }

  async close(): Promise<void> {
    // Of a run that was given up too: what was answered wrongly says more than that it stood still.
    this.problems.unshift(...((await this.#observer?.stop())?.problems ?? []))
    for (const engine of this.#engines) engine.kill()
    await Promise.all(this.#engines.map((engine) => engine.gone()))
    this.#nodes.stop()
    this.#hosts.stop()
    this.#clock.stop()
    await this.#sql?.end({ timeout: 1 })
    await this.#drop?.()
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
