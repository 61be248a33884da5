import type { Hex } from '../core/bytes.ts'
import { type EvmBlock, getBlockLogs, getLogsMany, inconsistent } from './blocks.ts'
import { bloomBits, bloomHas } from './bloom.ts'
import { type Contracts, decodeLog, type RawLog } from './decode.ts'
import type { PinnedRpc } from './rpc.ts'
import { type ChainBlock, ChainError, type ChainEvent } from './source.ts'

/** What reading blocks takes. */
export interface ReadContext {
  readonly rpc: PinnedRpc
  readonly contracts: Contracts
  readonly checkHashes: boolean
  readonly checkBlooms: boolean
}

/** Whether the block's bloom allows logs of the contract. Always, where blooms are not to be believed. */
export const allows = (context: ReadContext, block: EvmBlock, address: Hex): boolean =>
  !context.checkBlooms || bloomHas(block.logsBloom, bloomBits(address))

/**
 * A block with the events of its logs, which must be of that very block and allowed by its bloom. Throws `RPC_INCONSISTENT`
 * or `EVENT_MALFORMED`.
 */
export function withEvents(context: ReadContext, block: EvmBlock, logs: readonly RawLog[]): ChainBlock {
  const events: ChainEvent[] = []
  for (const address of new Set(logs.map((log) => log.address))) {
    if (!allows(context, block, address))
      throw inconsistent(
        `block ${block.number} holds no log of ${address} by its bloom, and one by the endpoint's answer`,
      )
  }
  for (const log of logs) {
    if (log.blockHash !== block.hash || Number.parseInt(log.blockNumber, 16) !== block.number)
      throw inconsistent(`a log of block ${block.number} is of another block than its header`)
    const event = decodeLog(log, context.contracts)
    if (event) events.push(event)
  }
  const { number, hash, time, parentHash } = block
  return { number, hash, time, parentHash, events }
}

/**
 * The events of blocks that may yet be reorganised away, asked for by block hash, so that an answer can never be of another
 * branch. Throws as `Rpc` does, `RPC_INCONSISTENT` or `EVENT_MALFORMED`.
 */
export async function readRecent(
  context: ReadContext,
  blocks: readonly EvmBlock[],
  signal: AbortSignal,
): Promise<ChainBlock[]> {
  const { rpc, contracts } = context
  const addresses = [contracts.registry, contracts.anchor]
  const filters = blocks.map(({ hash }) => ({ addresses, blocks: { hash } }))
  const answers = await getLogsMany(rpc, filters, { signal, tries: 1 })
  const out: ChainBlock[] = []
  for (const [i, block] of blocks.entries()) {
    const logs = await settleDoubt(context, block, answers[i] as RawLog[], signal)
    out.push(withEvents(context, block, logs))
  }
  return out
}

/**
 * The logs of our contracts in a block, when the bloom says "maybe" of a contract that the answer has no log of: an endpoint
 * that has the header but not yet the logs answers with an empty list. It is asked again; if the answer stays empty, the
 * receipts decide, which must be those that the header commits to.
 */
async function settleDoubt(
  context: ReadContext,
  block: EvmBlock,
  logs: RawLog[],
  signal: AbortSignal,
): Promise<RawLog[]> {
  const { rpc, contracts, checkBlooms } = context
  const addresses = [contracts.registry, contracts.anchor]
  const doubtful = (found: readonly RawLog[]) =>
    addresses.some(
      (address) => allows(context, block, address) && !found.some((log) => log.address === address),
    )
  if (!checkBlooms || !doubtful(logs)) return logs
  const [again = []] = await askAgain(context, [{ block, addresses }], signal)
  if (!doubtful(again)) return again
  const other = rpc.elsewhere()
  const all = await provenLogs(other ? [rpc, other] : [rpc], block, signal)
  return all.filter((log) => addresses.includes(log.address))
}

/**
 * The same question once more, at another endpoint too where one is well. Where both answers differ the block's receipts decide, as the
 * header commits to them, and who was wrong is blamed. An endpoint that cannot answer says nothing.
 */
export async function askAgain(
  context: ReadContext,
  questions: readonly { readonly block: EvmBlock; readonly addresses: readonly Hex[] }[],
  signal: AbortSignal,
): Promise<RawLog[][]> {
  const { rpc } = context
  const filters = questions.map(({ block, addresses }) => ({ addresses, blocks: { hash: block.hash } }))
  const ask = (where: PinnedRpc) => getLogsMany(where, filters, { signal, tries: 1 })
  const other = rpc.elsewhere()
  const [ours, theirs] = await Promise.all([
    ask(rpc),
    other &&
      ask(other).catch((error: unknown) => {
        if (signal.aborted) throw error
        return null
      }),
  ])
  if (!other || !theirs) return ours
  return Promise.all(
    questions.map(async ({ block, addresses }, i) => {
      const [a, b] = [ours[i] as RawLog[], theirs[i] as RawLog[]]
      if (sameLogs(a, b)) return a
      const all = await provenLogs([other, rpc], block, signal)
      const logs = all.filter((log) => addresses.includes(log.address))
      for (const [who, said] of [
        [rpc, a],
        [other, b],
      ] as const)
        if (!sameLogs(said, logs))
          who.blame(inconsistent(`${who.endpoint()} has other logs of block ${block.number} than its header`))
      return logs
    }),
  )
}

/** The logs of a block by its receipts, from the first of these endpoints that can show them. Throws what the last one throws. */
export async function provenLogs(
  rpcs: readonly PinnedRpc[],
  block: EvmBlock,
  signal: AbortSignal,
): Promise<RawLog[]> {
  let failure: unknown
  for (const rpc of rpcs) {
    try {
      return await getBlockLogs(rpc, block, { signal, tries: 1, large: true })
    } catch (error) {
      if (signal.aborted || !(error instanceof ChainError)) throw error
      rpc.blame(error)
      failure = error
    }
  }
  throw failure
}

/** Whether two lists, both in order, hold the same logs. */
export const sameLogs = (a: readonly RawLog[], b: readonly RawLog[]): boolean =>
  a.length === b.length &&
  a.every((log, i) => {
    const other = b[i] as RawLog
    return (
      log.address === other.address &&
      log.data === other.data &&
      log.logIndex === other.logIndex &&
      log.blockHash === other.blockHash &&
      log.transactionHash === other.transactionHash &&
      log.topics.length === other.topics.length &&
      log.topics.every((topic, k) => topic === other.topics[k])
    )
  })
