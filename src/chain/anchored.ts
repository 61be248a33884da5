import { keccak_256 } from '@noble/hashes/sha3.js'
import { type Hex, toHex, utf8 } from '../core/bytes.ts'
import { AbiReader, AbiRefusal, word } from './abi-reader.ts'

/** What ReceiptAnchor's event `Anchored` says (docs/contracts.md). */
export interface AnchoredFields {
  readonly seq: number
  readonly size: number
  readonly root: Hex
  readonly previousSize: number
  readonly previousRoot: Hex
  readonly chain: Hex
}

/** Topic 0 of the event. */
export const ANCHORED_TOPIC = toHex(
  keccak_256(utf8('Anchored(uint64,uint64,bytes32,uint64,bytes32,bytes32)')),
)

/**
 * The fields of an `Anchored` log, whose topics (32 bytes each, {@link ANCHORED_TOPIC} the first) and data are lower-case 0x hex. Throws
 * `AbiRefusal` on anything but their canonical ABI encoding, and on integers beyond 2^53 - 1.
 */
export function decodeAnchored(topics: readonly string[], data: Hex): AnchoredFields {
  if (topics.length !== 2) throw new AbiRefusal(`it has ${topics.length - 1} indexed values, not 1`)
  const read = new AbiReader(data, 5)
  const event: AnchoredFields = {
    seq: word.safe((topics[1] as string).slice(2)),
    size: read.safe(),
    root: read.bytes32(),
    previousSize: read.safe(),
    previousRoot: read.bytes32(),
    chain: read.bytes32(),
  }
  read.end()
  return event
}
