import { AbiRefusal } from '../chain/abi-reader.ts'
import { ANCHORED_TOPIC, type AnchoredFields, decodeAnchored } from '../chain/anchored.ts'
import { BLOCK_HISTORY, blockHashSlot } from '../chain/block-history.ts'
import { equalBytes, type Hex, toHex } from '../core/bytes.ts'
import type { AnchoredEventEvidence } from './bundle.ts'
import { ClaimError } from './error.ts'
import { refusingUnused, type StateEvidence } from './evidence.ts'
import { type BlockHeader, decodeHeader } from './header.ts'
import { decodeRlp, encodeRlp, minimalBytes, type RlpItem, rlpBytes, rlpList } from './rlp.ts'
import { verifyTrieProof } from './trie.ts'

/** An anchor as its event tells it, with the number and time (seconds) of the block that the event stands in. */
export interface AnchoredEvent extends AnchoredFields {
  readonly block: number
  readonly time: number
}

/**
 * The event `Anchored` of the contract `anchor` that `given` proves, in the block `trusted` or in one of its ancestors that the state of
 * `trusted` knows the hash of. Throws a `ProofError` where it proves none.
 */
export function readAnchoredEvent(
  given: AnchoredEventEvidence,
  anchor: Hex,
  trusted: BlockHeader,
  state: StateEvidence,
): AnchoredEvent {
  const header = given.header === undefined ? trusted : ancestor(given.header, trusted, state)
  const key = encodeRlp(minimalBytes(BigInt(given.transaction)))
  const receipt = refusingUnused(() => verifyTrieProof(header.receiptsRoot, key, given.proof))
  if (receipt === null)
    throw new ClaimError(`block ${header.number} has no transaction ${given.transaction} with a receipt`)
  const log = readLog(receipt, given.log)
  if (log.address !== anchor)
    throw new ClaimError(`the anchored event is a log of ${log.address}, not of the policy's anchor`)
  if (log.topics[0] !== ANCHORED_TOPIC)
    throw new ClaimError('the anchored event is another event of the contract')
  try {
    return { ...decodeAnchored(log.topics, log.data), block: header.number, time: header.timestamp }
  } catch (error) {
    if (!(error instanceof AbiRefusal)) throw error
    throw new ClaimError(`the anchored event does not decode: ${error.message}`)
  }
}

/** The header in `rlp`, of a block whose hash the state of `trusted` holds: one of its ancestors. */
function ancestor(rlp: Uint8Array, trusted: BlockHeader, state: StateEvidence): BlockHeader {
  const header = decodeHeader(rlp)
  const age = trusted.number - header.number
  if (age < 1 || age > BLOCK_HISTORY.window)
    throw new ClaimError(
      `the anchored event's block ${header.number} is not one of the ${BLOCK_HISTORY.window} before the trusted block ${trusted.number}`,
    )
  if (!equalBytes(state.slot('block history', blockHashSlot(header.number)), header.hash))
    throw new ClaimError(
      `the anchored event's block is not the block ${header.number} of the trusted block's chain`,
    )
  return header
}

/**
 * The log at place `at` of a transaction's receipt (yellow paper, section 4.4.1), which is a list, behind the byte of its
 * transaction's type unless that is of the first kind (EIP-2718).
 */
function readLog(receipt: Uint8Array, at: number): { address: Hex; topics: Hex[]; data: Hex } {
  const isTyped = (receipt[0] as number) < 0x80
  const [, , , logs] = rlpList(
    decodeRlp(isTyped ? receipt.subarray(1) : receipt),
    "a transaction's receipt",
    4,
  )
  const log = rlpList(logs as RlpItem, "a receipt's logs")[at]
  if (log === undefined) throw new ClaimError(`the receipt has no log ${at}`)
  const [address, topics, data] = rlpList(log, 'a log', 3)
  return {
    address: toHex(rlpBytes(address, "a log's address", 20)),
    topics: rlpList(topics as RlpItem, "a log's topics").map((topic) =>
      toHex(rlpBytes(topic, "a log's topic", 32)),
    ),
    data: toHex(rlpBytes(data, "a log's data")),
  }
}
