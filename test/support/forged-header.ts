import { keccak256, toRlp } from 'viem'
import type { Hex } from '../../src/core/bytes.ts'

type Fields = Readonly<Record<string, unknown>>

const NAMES =
  'parentHash sha3Uncles miner stateRoot transactionsRoot receiptsRoot logsBloom difficulty number gasLimit gasUsed timestamp extraData mixHash nonce baseFeePerGas withdrawalsRoot blobGasUsed excessBlobGas parentBeaconBlockRoot requestsHash blockAccessListHash slotNumber'
const QUANTITIES = new Set(
  'difficulty number gasLimit gasUsed timestamp baseFeePerGas blobGasUsed excessBlobGas slotNumber'.split(
    ' ',
  ),
)

const item = (name: string, value: Hex): Hex => {
  if (!QUANTITIES.has(name)) return value
  const digits = value.slice(2).replace(/^0+/, '')
  return `0x${digits.length % 2 === 1 ? '0' : ''}${digits}`
}

/** A block as an endpoint answers it, with other fields, and the hash that these have. */
export function forgedHeader(block: Fields, fields: Fields): Record<string, unknown> {
  const forged: Record<string, unknown> = { ...block, ...fields }
  const present = NAMES.split(' ').filter((name) => forged[name] !== undefined && forged[name] !== null)
  return { ...forged, hash: keccak256(toRlp(present.map((name) => item(name, forged[name] as Hex)))) }
}
