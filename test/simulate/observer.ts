import { createApi } from '../../src/api/app.ts'
import type { SourceStatus } from '../../src/chain/source.ts'
import type { Hex } from '../../src/core/bytes.ts'
import type { Clock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { createMetrics } from '../../src/core/metrics.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import type { Sql } from '../../src/graph/connect.ts'
import type { Deployment } from '../../src/graph/cursor.ts'
import { createServiceContext } from '../../src/service/context.ts'
import { type SimBlock, SimChain } from './chain.ts'
import type { Random } from './random.ts'
import type { Script } from './script.ts'
import { chainPart, Truth } from './truth.ts'

/** Somebody who asks the real API all the time, notes the answers, and in the end holds them against the chain's history. */

export interface ObserverDeps {
  chain: SimChain
  script: Script
  sql: Sql
  clock: Clock
  deployment: Deployment
  random: Random
  source: () => SourceStatus | null
}

/** The longest page. */
const LIMIT = 200
/** Milliseconds between two questions. */
const PAUSE_MS = 25

interface Answer {
  path: string
  // biome-ignore lint/suspicious/noExplicitAny: an answer as JSON gave it
  body: any
  status: number
  /** Blocks that the chain had had when the answer came, and how far finality was. */
  history: number
  final: number
}

export class Observer {
  readonly #deps: ObserverDeps
  readonly #answers: Answer[] = []
  #running: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(deps: ObserverDeps) {
    this.#deps = deps
  }

  start(): void {
    const { sql, clock, deployment, source, random, chain } = this.#deps
    const app = createApi(
      createServiceContext({
        sql,
        clock,
        deployment,
        source,
        mlDsa,
        logger: silentLogger,
        metrics: createMetrics(),
      }),
    )
    const ask = async () => {
      const path = this.#path(random)
      const response = await app.request(`http://localhost${path}`)
      const body = await response.json()
      this.#answers.push({
        path,
        body,
        status: response.status,
        history: chain.history.length,
        final: chain.finalized.number,
      })
    }
    this.#running = (async () => {
      while (!this.#stopped) {
        await ask()
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
      }
    })()
    this.#running.catch(() => {})
  }

  #path(random: Random): string {
    const what = random.int(0, 9)
    if (what < 4) return `/v1/submissions?limit=${LIMIT}`
    if (what < 6) return '/status'
    const ids = [...this.#deps.chain.head.state.submissions.values()]
    const recent = ids.slice(-30)
    if (recent.length === 0) return '/v1/status'
    const one = random.pick(recent)
    return what < 8 ? `/v1/submissions/${one.id}` : `/v1/contributors/${one.contributor}`
  }

  /** Ends the questions; answers what was asked and which answers were not true. May be called again. */
  async stop(): Promise<{ checked: number; problems: string[] }> {
    this.#stopped = true
    await this.#running
    const problems: string[] = []
    const truth = new Truth(this.#deps.chain, this.#deps.script)
    for (const answer of this.#answers) {
      const wrong = this.#check(answer, truth)
      if (wrong) problems.push(`${answer.path} was not true: ${wrong}`)
    }
    const checked = this.#answers.length
    this.#answers.length = 0
    return { checked, problems }
  }

  #check(answer: Answer, truth: Truth): string | null {
    const { path, body, status } = answer
    if (status === 404 && (path.startsWith('/v1/submissions/') || path.startsWith('/v1/contributors/')))
      return null
    if (status !== 200) return `it was ${status}: ${JSON.stringify(body).slice(0, 300)}`
    if (path.startsWith('/v1/submissions?')) return this.#checkList(answer, truth)
    if (path.startsWith('/v1/submissions/')) return this.#checkItem(answer, truth)
    if (path.startsWith('/v1/contributors/')) return this.#checkContributor(answer)
    return this.#checkStatus(answer)
  }

  /** Of these blocks, the first that the chain had had by then. */
  #hadBy(blocks: readonly SimBlock[], { history }: Answer): SimBlock | undefined {
    const had = this.#deps.chain.history
    return blocks.find((block) => had.indexOf(block) < history)
  }

  #checkList(answer: Answer, truth: Truth): string | null {
    const items = answer.body.items
    const key = items.map(chainPart).join('\n')
    const blocks = truth.blocksOfList(key, LIMIT)
    const block = this.#hadBy(blocks, answer)
    if (!block) return `the chain never had this list of ${items.length}`
    for (const item of items) {
      const wrong = this.#checkState(item, block, answer, truth)
      if (wrong) return wrong
    }
    return null
  }

  #checkItem(answer: Answer, truth: Truth): string | null {
    const block = this.#hadBy(truth.blocksOfItem(chainPart(answer.body)), answer)
    if (!block) return `the chain never said this of it: ${JSON.stringify(answer.body).slice(0, 600)}`
    return this.#checkState(answer.body, block, answer, truth)
  }

  /** State and verdict of a submission that the chain had so after `block`. */
  #checkState(
    item: {
      id: Hex
      state: string
      index: number | null
      verdict: string | null
      reason: string | null
      settled: { block: number } | null
    },
    block: SimBlock,
    answer: Answer,
    truth: Truth,
  ): string | null {
    const { id, state, index, verdict, reason, settled } = item
    const said = `${id} is ${state}, ${verdict}, ${reason}`
    if ((index === null) !== (state === 'pending')) return `${said}, with index ${index}`
    if (index === null || settled === null) return verdict === null ? null : said
    if (['final', 'logged', 'anchored'].includes(state) && settled.block > answer.final)
      return `${said}, settled in block ${settled.block} when ${answer.final} was final`
    if (state === 'anchored') {
      const { chain } = this.#deps
      const anchored = (SimChain.at(chain.head, answer.final) as SimBlock).state.anchor.size
      if (index >= anchored)
        return `${said}, with index ${index} when ${anchored} were anchored in final blocks`
    }
    const isLogged = state === 'logged' || state === 'anchored'
    if (verdict === null) return isLogged ? said : null
    const expected = truth.verdicts(block).get(id)
    if (!expected) return said
    if (reason === expected.reason && verdict === expected.verdict) {
      if (reason !== 'PAYLOAD_UNAVAILABLE' || settled.block <= answer.final) return null
      return `${said} before it was final`
    }
    // Whether it repeats another is found when it is logged.
    if (!isLogged && reason === expected.alone) return null
    return `${said}; expected ${expected.verdict}, ${expected.reason}`
  }

  #checkStatus({ body, history, final }: Answer): string | null {
    const { chain } = this.#deps
    const had = chain.history.slice(0, history)
    const { indexed } = body
    if (indexed === null) return body.submitted ? 'it counts submissions and has no block' : null
    const block = chain.blocks.get(indexed.hash)
    if (!block || !had.includes(block) || block.number !== indexed.number || block.time !== indexed.time)
      return `the chain never had the block ${JSON.stringify(indexed)}`
    if (body.final !== null) {
      const own = SimChain.at(chain.head, body.final.number)
      if (body.final.number > final || own?.hash !== body.final.hash)
        return `${JSON.stringify(body.final)} is not final`
    }
    const { submitted, pending, settled, logged, anchored } = body
    const { state } = block
    if (state.submissions.size !== submitted || state.settled !== settled || submitted - settled !== pending)
      return `after block ${block.number} there were not ${submitted} submissions, ${settled} settled, ${pending} pending`
    const finalSettled = (SimChain.at(chain.head, final) as SimBlock).state.settled
    if (logged > finalSettled) return `${logged} are logged when ${finalSettled} were final`
    if (anchored > logged) return `${anchored} are anchored of ${logged} logged`
    return null
  }

  #checkContributor({ path, body, history }: Answer): string | null {
    const account = path.slice(path.lastIndexOf('/') + 1) as Hex
    const { head, counts } = body
    const had = this.#deps.chain.history.slice(0, history)
    const zero = { acc: `0x${'00'.repeat(32)}`, seq: 0, submitted: 0 }
    const matches = ({ state }: SimBlock) => {
      const own = state.heads.get(account) ?? zero
      return own.acc === head.acc && own.seq === head.seq && own.submitted === head.submitted
    }
    if (!had.some(matches)) return `the chain never had the head ${JSON.stringify(head)}`
    if (counts.submitted !== head.submitted || counts.submitted - counts.pending !== head.seq)
      return `its counts ${JSON.stringify(counts)} are not those of its head ${JSON.stringify(head)}`
    return null
  }
}
