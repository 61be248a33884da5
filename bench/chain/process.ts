import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Hex } from '../../src/core/bytes.ts'
import { toHex } from '../../src/core/bytes.ts'
import type { Deployment } from '../../src/graph/cursor.ts'
import type { Bench } from '../scratch.ts'
import { ANCHOR, type ChainPlan, generateChain, REGISTRY } from './generate.ts'
import { serveChain } from './serve.ts'

/** A generated chain that a process of its own serves. */
export interface BenchChain {
  url: string
  deployment: Deployment
  /** Number of its last block. */
  head: number
  events: number
  submissions: number
  /** Binary COPY of (sha256, bytes) of all payloads; null where there are none. */
  payloads: string | null
  /** Ids in settling order. */
  ids(): Promise<Hex[]>
  /** The block that settles each submission. */
  settledIn(): Promise<number[]>
  /** Shows the chain up to this block from now on; resolves when that is so. */
  show(head: number): Promise<void>
  /** Calls answered so far. */
  calls(): Promise<Readonly<Record<string, number>>>
  stop(): Promise<void>
}

type Question = { ask: 'ids' | 'settledIn' | 'calls' } | { ask: 'show'; head: number }
const ORIGIN = 'bench.example/dunes'

/** Generates a chain in a new process and serves it there; `hosted` URIs lead to its payloads, others lead nowhere. */
export async function startBenchChain(
  bench: Bench,
  plan: Omit<ChainPlan, 'folder' | 'uriBase'> & { hosted?: boolean },
): Promise<BenchChain> {
  const folder = bench.folder()
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), [JSON.stringify({ ...plan, folder })], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    // Signing uses the thread pool; large buffers live outside the heap.
    execArgv: ['--max-old-space-size=4096'],
  })
  const stop = () =>
    new Promise<void>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve()
      child.once('exit', () => resolve())
      child.kill()
    })
  bench.closing(stop)
  const next = <T>() =>
    new Promise<T>((resolve, reject) => {
      const failed = (code: number | null) => reject(new Error(`the chain's process ended with ${code}`))
      child.once('exit', failed)
      child.on('message', function take(message: { progress?: string; answer?: T }) {
        if (message.progress !== undefined) return bench.progress(`chain: ${message.progress}`)
        child.off('message', take)
        child.off('exit', failed)
        resolve(message.answer as T)
      })
    })
  const made = await next<Pick<BenchChain, 'url' | 'head' | 'events' | 'payloads'> & { startHash: Hex }>()
  // One question at a time.
  let turn: Promise<unknown> = Promise.resolve()
  const ask = <T>(question: Question): Promise<T> => {
    const asked = turn.then(() => {
      const answer = next<T>()
      child.send(question)
      return answer
    })
    turn = asked
    return asked
  }
  return {
    ...made,
    submissions: plan.submissions,
    deployment: {
      chain: 'eip155:31337',
      registry: REGISTRY,
      anchor: ANCHOR,
      origin: ORIGIN,
      startBlock: 1,
      startHash: made.startHash,
    },
    ids: () => ask({ ask: 'ids' }),
    settledIn: () => ask({ ask: 'settledIn' }),
    show: (head) => ask({ ask: 'show', head }),
    calls: () => ask({ ask: 'calls' }),
    stop,
  }
}

async function main(plan: ChainPlan & { hosted?: boolean }): Promise<void> {
  const server = await serveChain((url) =>
    generateChain(
      { ...plan, uriBase: plan.hosted ? `${url}/payload/` : 'https://payloads.example/' },
      (progress) => process.send?.({ progress }),
    ),
  )
  const { chain } = server
  process.send?.({
    answer: {
      url: server.url,
      head: chain.head,
      events: chain.events,
      payloads: chain.payloads?.file ?? null,
      startHash: toHex(chain.hashes.subarray(32, 64)),
    },
  })
  process.on('message', (question: Question) => {
    const answers = {
      ids: () =>
        Array.from({ length: chain.ids.length / 32 }, (_, n) =>
          toHex(chain.ids.subarray(32 * n, 32 * n + 32)),
        ),
      settledIn: () => [...chain.settledIn],
      calls: () => Object.fromEntries(server.calls),
      show: () => {
        if (question.ask === 'show') server.head = question.head
        return true
      },
    }
    process.send?.({ answer: answers[question.ask]() })
  })
  process.once('disconnect', () => process.exit())
}

const [, path, plan] = process.argv
if (path === fileURLToPath(import.meta.url) && plan !== undefined) await main(JSON.parse(plan))
