import { getBlock } from '../chain/blocks.ts'
import { readHistory } from '../chain/history.ts'
import { RANGE_LIMITS, RangeWidth } from '../chain/range.ts'
import { createRpc } from '../chain/rpc.ts'
import type { ChainBlock, ChainEvent, ChainEventType } from '../chain/source.ts'
import type { Hex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { Action, Options } from './command.ts'
import { table } from './text.ts'

/** What a range of blocks holds, and what indexing it would write. */
export interface DryRun {
  from: number
  to: number
  blocks: number
  blocks_with_events: number
  events: number
  by_event: Partial<Record<ChainEventType, number>>
  /** Rows that these events would add, by table; `submission (settled)` counts rows that would be changed. */
  rows: Record<string, number>
  /** The first and last leaf index that is settled here; null where none is. */
  indices: { first: number; last: number } | null
  calls: number
  splits: number
  seconds: number
}

/**
 * Reads a range of blocks as the indexer would, with all of its checks, and says what it would write. It opens no database. Throws
 * `USAGE` on a range that is none, and what the chain's endpoint is refused for.
 */
export const dryRun: Action = async (call, _args, options) => {
  const { config, clock, signal } = call
  const { registry, anchor } = config
  if (!registry || !anchor)
    throw new DunesError('CONTRACTS_MISSING', 'the addresses of the contracts are not set', {
      hint: 'set registry, anchor and startBlock (flags, DUNES_REGISTRY ..., or dunes.config.json)',
    })
  let calls = 0
  const rpc = createRpc(
    {
      urls: config.rpcUrls,
      chainId: config.chainId,
      perSecond: config.rpcPerSecond === 0 ? null : config.rpcPerSecond,
      inFlight: config.rpcInFlight,
    },
    {
      clock,
      report: (report) => {
        calls += report.calls
      },
    },
  )
  const head = await getBlock(rpc, 'latest', { signal })
  const from = blockOf(options, 'from') ?? config.startBlock
  const to = blockOf(options, 'to') ?? head?.number ?? 0
  if (from > to || to > (head?.number ?? -1))
    throw new DunesError(
      'USAGE',
      `there are no blocks from ${from} to ${to}; the newest is ${head?.number}`,
      {
        hint: 'give --from and --to as block numbers, both included',
      },
    )
  const started = clock.now()
  const counts = new Counts(from, to)
  const widths = new Map<string, RangeWidth>()
  const contracts = { registry: registry as Hex, anchor: anchor as Hex }
  let before: ChainBlock | null = null
  for (let next = from; next <= to && !signal.aborted; ) {
    const run = await readHistory(
      () => {
        const pinned = rpc.pin({ spread: true })
        const width = widths.get(pinned.endpoint()) ?? new RangeWidth(RANGE_LIMITS)
        widths.set(pinned.endpoint(), width)
        return { context: { rpc: pinned, contracts, checkHashes: true, checkBlooms: true }, width }
      },
      next,
      to,
      signal,
      () => counts.split(),
    )
    if (before && run.blocks[0].parentHash !== before.hash)
      throw new DunesError('RPC_INCONSISTENT', `block ${next} does not continue block ${before.number}`, {
        hint: 'the chain was reorganised meanwhile, or endpoints are on different branches: try again',
        retryable: true,
        exitCode: 3,
      })
    for (const block of run.blocks) counts.add(block)
    before = run.tip
    next = run.tip.number + 1
    call.note(call.interactive ? `\rread up to block ${run.tip.number} of ${to}` : '')
  }
  if (call.interactive) call.note('\n')
  const result = counts.result(calls, (clock.now() - started) / 1000)
  call.result(result, render)
  return undefined
}

function blockOf(options: Options, name: string): number | undefined {
  const text = options[name]
  if (text === undefined) return undefined
  if (typeof text === 'string' && /^(0|[1-9][0-9]{0,14})$/.test(text)) return Number(text)
  throw new DunesError('USAGE', `--${name} is not a block number`, { hint: 'give it as digits' })
}

/** Counts events, and finds those that an answer left out by the numbers that the contracts give them. */
class Counts {
  readonly #out: DryRun
  readonly #last = new Map<string, number>()

  constructor(from: number, to: number) {
    this.#out = {
      from,
      to,
      blocks: to - from + 1,
      blocks_with_events: 0,
      events: 0,
      by_event: {},
      rows: {},
      indices: null,
      calls: 0,
      splits: 0,
      seconds: 0,
    }
  }

  split(): void {
    this.#out.splits++
  }

  add(block: ChainBlock): void {
    if (block.events.length > 0) this.#out.blocks_with_events++
    for (const event of block.events) {
      this.#out.events++
      this.#out.by_event[event.type] = (this.#out.by_event[event.type] ?? 0) + 1
      for (const [name, rows] of rowsOf(event)) this.#out.rows[name] = (this.#out.rows[name] ?? 0) + rows
      this.#number(event, block)
    }
  }

  #number(event: ChainEvent, block: ChainBlock): void {
    const follow = (what: string, number: number) => {
      const last = this.#last.get(what)
      if (last !== undefined && number !== last + 1)
        throw new DunesError(
          'GRAPH_INCONSISTENT',
          `${what} ${number} in block ${block.number} follows ${last}: the endpoint left something out`,
          { hint: 'try another endpoint', retryable: true, exitCode: 3 },
        )
      this.#last.set(what, number)
    }
    if (event.type === 'settled') {
      follow('index', event.index)
      follow(`seq of ${event.contributor}`, event.seq)
      const { indices } = this.#out
      this.#out.indices = { first: indices?.first ?? event.index, last: event.index }
    } else if (event.type === 'submitted') follow(`nonce of ${event.contributor}`, event.nonce)
    else if (event.type === 'anchored') follow('anchor', event.seq)
  }

  result(calls: number, seconds: number): DryRun {
    return { ...this.#out, calls, seconds }
  }
}

/** The rows that an event adds, by table. */
function rowsOf({ type }: ChainEvent): [string, number][] {
  switch (type) {
    case 'submitted':
      return [
        ['submission', 1],
        ['edge', 2],
      ]
    case 'settled':
      return [['submission (settled)', 1]]
    case 'attested':
      return [
        ['attestation', 1],
        ['edge', 1],
      ]
    case 'keyRegistered':
      return [['contributor_key', 1]]
    case 'sensorRegistered':
      return [
        ['sensor', 1],
        ['edge', 2],
      ]
    case 'datasetUpdated':
      return [['dataset_version', 1]]
    case 'validatorAdded':
      return [['validator', 1]]
    case 'anchored':
      return [['anchor', 1]]
    case 'leafPolicyAdded':
      return [['leaf_policy', 1]]
    default:
      return []
  }
}

const render = (run: DryRun): string =>
  table([
    ['blocks', `${run.from} to ${run.to}, ${run.blocks} in all, ${run.blocks_with_events} with events`],
    ['events', String(run.events)],
    ...Object.entries(run.by_event).map(([name, count]): [string, string] => [`  ${name}`, String(count)]),
    ['would write', ''],
    ...Object.entries(run.rows).map(([name, count]): [string, string] => [`  ${name}`, `${count} rows`]),
    ['indices', run.indices ? `${run.indices.first} to ${run.indices.last}` : 'none is settled here'],
    ['asked', `${run.calls} calls, ${run.splits} ranges halved, ${run.seconds.toFixed(1)} s`],
    ['checked', 'header hashes, parent hashes, blooms, block hashes of logs, running numbers: all good'],
    ['written', 'nothing'],
  ])
