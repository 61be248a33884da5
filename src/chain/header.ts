import { keccak_256 } from '@noble/hashes/sha3.js'
import { concat, fromHex, type Hex, isHex, toHex } from '../core/bytes.ts'
import { ChainError } from './source.ts'

/**
 * A block's header as `eth_getBlockByNumber` answers it: quantities are 0x hex without leading zeros, the rest is data of
 * fixed size. Fields of later hard forks are absent before them. Other members of the answer may stand beside these.
 */
export interface RawHeader {
  readonly hash: Hex
  readonly parentHash: Hex
  readonly sha3Uncles: Hex
  readonly miner: Hex
  readonly stateRoot: Hex
  readonly transactionsRoot: Hex
  readonly receiptsRoot: Hex
  readonly logsBloom: Hex
  readonly difficulty: Hex
  readonly number: Hex
  readonly gasLimit: Hex
  readonly gasUsed: Hex
  readonly timestamp: Hex
  readonly extraData: Hex
  readonly mixHash: Hex
  readonly nonce: Hex
  /** EIP-1559 (London). */
  readonly baseFeePerGas?: Hex
  /** EIP-4895 (Shanghai). */
  readonly withdrawalsRoot?: Hex
  /** EIP-4844 (Cancun). */
  readonly blobGasUsed?: Hex
  readonly excessBlobGas?: Hex
  /** EIP-4788 (Cancun). */
  readonly parentBeaconBlockRoot?: Hex
  /** EIP-7685 (Prague). */
  readonly requestsHash?: Hex
  /** EIP-7928 (Amsterdam). */
  readonly blockAccessListHash?: Hex
  /** EIP-7843 (Amsterdam). */
  readonly slotNumber?: Hex
}

/** In header order (Yellow Paper section 4.4, then the EIPs above): size in bytes, `quantity`, or `bytes` of any size. */
const REQUIRED: readonly [keyof RawHeader, number | 'quantity' | 'bytes'][] = [
  ['parentHash', 32],
  ['sha3Uncles', 32],
  ['miner', 20],
  ['stateRoot', 32],
  ['transactionsRoot', 32],
  ['receiptsRoot', 32],
  ['logsBloom', 256],
  ['difficulty', 'quantity'],
  ['number', 'quantity'],
  ['gasLimit', 'quantity'],
  ['gasUsed', 'quantity'],
  ['timestamp', 'quantity'],
  ['extraData', 'bytes'],
  ['mixHash', 32],
  ['nonce', 8],
]
const OPTIONAL: readonly [keyof RawHeader, number | 'quantity'][] = [
  ['baseFeePerGas', 'quantity'],
  ['withdrawalsRoot', 32],
  ['blobGasUsed', 'quantity'],
  ['excessBlobGas', 'quantity'],
  ['parentBeaconBlockRoot', 32],
  ['requestsHash', 32],
  ['blockAccessListHash', 32],
  ['slotNumber', 'quantity'],
]

const mismatch = (message: string, details: Readonly<Record<string, unknown>>): never => {
  throw new ChainError('HEADER_MISMATCH', message, {
    hint: 'the endpoint answers with headers that are not Ethereum headers of a known fork; try another endpoint',
    details,
  })
}

/** RLP length prefix (Yellow Paper appendix B): `short` is 0x80 for strings and 0xc0 for lists. */
function prefix(length: number, short: number): Uint8Array {
  if (length < 56) return new Uint8Array([short + length])
  const digits: number[] = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256)
  return new Uint8Array([short + 55 + digits.length, ...digits])
}

/** RLP of a byte string (Yellow Paper appendix B). */
export const rlpString = (bytes: Uint8Array): Uint8Array =>
  bytes.length === 1 && (bytes[0] as number) < 0x80 ? bytes : concat(prefix(bytes.length, 0x80), bytes)

/** RLP of a list whose items are encoded already. */
export function rlpList(items: readonly Uint8Array[]): Uint8Array {
  const body = concat(...items)
  return concat(prefix(body.length, 0xc0), body)
}

/** RLP of a JSON-RPC quantity: big-endian without leading zeros, zero being the empty string. */
export function rlpQuantity(text: Hex): Uint8Array {
  const digits = text.slice(2).replace(/^0+/, '')
  return rlpString(fromHex(`0x${digits.length % 2 === 1 ? '0' : ''}${digits}`))
}

function field(header: RawHeader, name: keyof RawHeader, kind: number | 'quantity' | 'bytes'): Uint8Array {
  const text = header[name]
  if (kind === 'quantity') {
    if (typeof text !== 'string' || !/^0x[0-9a-f]{1,64}$/.test(text))
      return mismatch(`the header's ${name} is not a quantity`, { field: name })
    return rlpQuantity(text)
  }
  if (!isHex(text, kind === 'bytes' ? undefined : kind))
    return mismatch(`the header's ${name} is not data of the right size`, { field: name })
  return rlpString(fromHex(text))
}

/**
 * The exact RLP of a block's header, whose Keccak-256 is the block's hash: what a proof under that hash starts from.
 * Takes the fields as the JSON-RPC answers them, of any fork up to Amsterdam. Throws `HEADER_MISMATCH` where a field is
 * malformed or missing, or where the result does not hash to `header.hash`.
 */
export function blockHeaderRlp(header: RawHeader): Uint8Array {
  const fields = REQUIRED.map(([name, kind]) => field(header, name, kind))
  // Each fork appended to the list. Whatever is there is taken in that order, also behind an absent field, as anvil has it for
  // forks before Shanghai: whether that is the header is for its hash to say.
  for (const [name, kind] of OPTIONAL)
    if (header[name] !== undefined && header[name] !== null) fields.push(field(header, name, kind))
  const rlp = rlpList(fields)
  const hash = toHex(keccak_256(rlp))
  if (hash !== header.hash)
    return mismatch("the block's fields do not hash to its hash", { block: header.number, hash: header.hash })
  return rlp
}
