import type { Hex } from '../core/bytes.ts'
import { type EvmBlock, getBlockLogs, getLogs, getLogsMany, inconsistent } from './blocks.ts'
import { bloomBits, bloomHas, bloomOf } from './bloom.ts'
import { type Contracts, decodeLog, type RawLog } from './decode.ts'
import type { Rpc } from './rpc.ts'
import type { ChainBlock, ChainEvent } from './source.ts'

/** What reading blocks takes. */
export interface ReadContext {
  readonly rpc: Rpc
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
 * receipts decide, and they must give exactly the header's bloom.
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
  const again = await getLogs(rpc, { addresses, blocks: { hash: block.hash } }, { signal, tries: 1 })
  if (!doubtful(again)) return again
  const all = await getBlockLogs(rpc, block, { signal, tries: 1, large: true })
  if (bloomOf(all) !== block.logsBloom)
    throw inconsistent(`the receipts of block ${block.number} do not give the bloom in its header`)
  return all.filter((log) => addresses.includes(log.address))
}
