import type { Hex } from '../core/bytes.ts'
import { type EvmBlock, getBlocks, getLogs, inconsistent } from './blocks.ts'
import { bloomFill, bloomOf } from './bloom.ts'
import type { RawLog } from './decode.ts'
import { RangeWidth } from './range.ts'
import { allows, askAgain, provenLogs, type ReadContext, withEvents } from './read.ts'
import type { PinnedRpc } from './rpc.ts'
import { type ChainBlock, ChainError } from './source.ts'

/** One answered piece of final history: `blocks` are its first, its last, and those between that have events. */
export interface HistoryRun {
  readonly blocks: readonly [ChainBlock, ...ChainBlock[]]
  readonly tip: ChainBlock
  /** Where it was read. */
  readonly rpc: PinnedRpc
}

/**
 * A "maybe" of a bloom with no more of its bits set is wrong once in 64 times at most: against it an empty answer has to be proved, whoever gives it.
 * Of a fuller one it says little, and receipts of such blocks are large.
 */
const TELLING_FILL = 1 / 4

export type SplitReport = (range: { from: number; to: number; error: ChainError }) => void

/** Where a piece of history is read, and how much that endpoint answers at once. */
export interface HistoryReader {
  readonly context: ReadContext
  readonly width: RangeWidth
}

/**
 * Reads final blocks from `from` on, up to `to` or as far as one answer reaches. A range that is refused is halved and asked
 * again at once, down to one block. Throws as `Rpc` does, `RPC_INCONSISTENT`, `HEADER_MISMATCH` or `EVENT_MALFORMED`.
 */
export async function readHistory(
  choose: () => HistoryReader,
  from: number,
  to: number,
  signal: AbortSignal,
  split: SplitReport,
): Promise<HistoryRun> {
  for (;;) {
    const { context, width } = choose()
    const { rpc, contracts } = context
    const addresses: Hex[] = [contracts.registry, contracts.anchor]
    const end = Math.min(to, from + width.blocks - 1)
    const blocks = end - from + 1
    let logs: RawLog[]
    try {
      // One block cannot be split any further: then a long answer is better than none.
      const large = blocks === 1
      logs = await getLogs(rpc, { addresses, blocks: { from, to: end } }, { signal, large, tries: 1 })
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
      if (error.code !== 'RPC_RANGE' || blocks === 1) throw blamed(rpc, error)
      split({ from, to: end, error })
      width.refused(blocks)
      continue
    }
    width.answered(blocks, logs.length)
    try {
      return await assemble(context, from, end, logs, signal)
    } catch (error) {
      throw error instanceof ChainError ? blamed(rpc, error) : error
    }
  }
}

/** `error`, held against the endpoint that it came from. */
function blamed(rpc: PinnedRpc, error: ChainError): ChainError {
  rpc.blame(error)
  return error
}

async function assemble(
  context: ReadContext,
  from: number,
  to: number,
  logs: readonly RawLog[],
  signal: AbortSignal,
): Promise<HistoryRun> {
  const byBlock = new Map<number, RawLog[]>([[from, []]])
  for (const log of logs) {
    const number = Number.parseInt(log.blockNumber, 16)
    const group = byBlock.get(number)
    if (group) group.push(log)
    else byBlock.set(number, [log])
  }
  if (!byBlock.has(to)) byBlock.set(to, [])
  // Every header, so that each block without logs is known to have none: its bloom says so under a hash that the chain goes on from.
  const numbers = context.checkBlooms
    ? Array.from({ length: to - from + 1 }, (_, i) => from + i)
    : [...byBlock.keys()]
  const headers = await getBlocks(context.rpc, numbers, { signal, tries: 1, checkHash: context.checkHashes })
  const found: EvmBlock[] = []
  headers.forEach((header, i) => {
    const number = numbers[i] as number
    if (!header) throw inconsistent(`the endpoint has no block ${number}, which is final`)
    const before = found.at(-1)
    if (before?.number === number - 1 && before.hash !== header.parentHash)
      throw inconsistent(`final block ${number} does not continue block ${number - 1}`)
    found.push(header)
  })
  if (context.checkBlooms) await settleDoubts(context, found, byBlock, signal)
  const blocks: ChainBlock[] = []
  for (const header of found) {
    const block = withEvents(context, header, byBlock.get(header.number) ?? [])
    if (block.events.length > 0 || block.number === from || block.number === to) blocks.push(block)
  }
  const [first, ...rest] = blocks
  if (!first) throw inconsistent(`the endpoint has no block ${from}`)
  return { blocks: [first, ...rest], tip: rest.at(-1) ?? first, rpc: context.rpc }
}

/**
 * Asks once more, by hash, for the logs of each contract that a block's bloom allows and the range's answer had none of; and for
 * all of the last block that it had logs of, unless they give that block's bloom: an answer that was cut short ends there. Where there
 * still are none of a contract, and the bloom is telling, the block's receipts decide. What is found so is put into `byBlock`. Throws
 * `RPC_INCONSISTENT` where the second answer has less, and what {@link provenLogs} throws.
 */
async function settleDoubts(
  context: ReadContext,
  headers: readonly EvmBlock[],
  byBlock: Map<number, RawLog[]>,
  signal: AbortSignal,
): Promise<void> {
  const { registry, anchor } = context.contracts
  const last = headers.findLast(({ number }) => (byBlock.get(number) ?? []).length > 0)
  const doubts = headers.flatMap((block) => {
    const logs = byBlock.get(block.number) ?? []
    const cut = block === last && bloomOf(logs) !== block.logsBloom
    const addresses = [registry, anchor].filter(
      (address) => allows(context, block, address) && (cut || !logs.some((log) => log.address === address)),
    )
    return addresses.length > 0 ? [{ block, addresses }] : []
  })
  if (doubts.length === 0) return
  const answers = await askAgain(context, doubts, signal)
  for (const [i, { block, addresses }] of doubts.entries()) {
    const logs = byBlock.get(block.number) ?? []
    const again = await proveAbsence(context, block, addresses, answers[i] as RawLog[], signal)
    if (again.length < logs.filter((log) => addresses.includes(log.address)).length)
      throw inconsistent(
        `the endpoint has fewer logs of block ${block.number} by its hash than by its number`,
      )
    const merged = [...logs.filter((log) => !addresses.includes(log.address)), ...again]
    byBlock.set(
      block.number,
      merged.sort((a, b) => Number(a.logIndex) - Number(b.logIndex)),
    )
  }
}

/** `logs` of a block, or those that its receipts hold where a telling bloom contradicts that one of `addresses` has none. */
async function proveAbsence(
  { rpc }: ReadContext,
  block: EvmBlock,
  addresses: readonly Hex[],
  logs: RawLog[],
  signal: AbortSignal,
): Promise<RawLog[]> {
  const has = (address: Hex) => logs.some((log) => log.address === address)
  if (addresses.every(has) || bloomFill(block.logsBloom) > TELLING_FILL) return logs
  const other = rpc.elsewhere()
  const all = await provenLogs(other ? [rpc, other] : [rpc], block, signal)
  const proved = all.filter((log) => addresses.includes(log.address))
  if (proved.length > logs.length)
    rpc.blame(inconsistent(`${rpc.endpoint()} has fewer logs of block ${block.number} than its receipts`))
  return proved
}

/**
 * Reads final history from `from` to `to` in order, `ahead` answers at most before they are asked for: that many bound the
 * memory. Whoever stops early ends what is in flight. Throws as {@link readHistory}.
 */
export async function* readAhead(
  choose: () => HistoryReader,
  from: number,
  to: number,
  options: { ahead: number; signal: AbortSignal; split: SplitReport },
): AsyncGenerator<HistoryRun, void, undefined> {
  const { ahead, split } = options
  const left = new AbortController()
  const signal = AbortSignal.any([options.signal, left.signal])
  const read = (first: number, last: number) => {
    const promise = readHistory(choose, first, last, signal, split)
    // One that is never awaited, because an earlier one failed, must not end the process.
    promise.catch(() => {})
    return { last, promise }
  }
  const queue: { last: number; promise: Promise<HistoryRun> }[] = []
  let next = from
  try {
    for (;;) {
      while (queue.length < ahead && next <= to) {
        const last = Math.min(to, next + choose().width.blocks - 1)
        queue.push(read(next, last))
        next = last + 1
      }
      const piece = queue.shift()
      if (!piece) return
      const run = await piece.promise
      // A range that was split: the rest of it comes before what is already being read.
      if (run.tip.number < piece.last) queue.unshift(read(run.tip.number + 1, piece.last))
      yield run
    }
  } finally {
    left.abort()
  }
}

/**
 * All blocks from `from` to `to` that have events, and those at the ends of pieces, read from one endpoint and checked as history is. Throws as
 * {@link readHistory}.
 */
export async function readRange(
  context: ReadContext,
  from: number,
  to: number,
  signal: AbortSignal,
): Promise<ChainBlock[]> {
  const reader = { context, width: new RangeWidth() }
  const blocks: ChainBlock[] = []
  for (let next = from; next <= to; next = (blocks.at(-1)?.number ?? to) + 1) {
    const run = await readHistory(
      () => reader,
      next,
      to,
      signal,
      () => {},
    )
    const before = blocks.at(-1)
    if (before && run.blocks[0].parentHash !== before.hash)
      throw inconsistent(`final block ${run.blocks[0].number} does not continue block ${before.number}`)
    blocks.push(...run.blocks)
  }
  return blocks
}
