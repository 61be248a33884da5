import { keccak_256 } from '@noble/hashes/sha3.js'
import { concat, fromHex, type Hex, isHex, toHex } from '../core/bytes.ts'
import { rlpList, rlpQuantity, rlpString } from './header.ts'

/** A transaction's receipt as JSON-RPC answers it, as far as its encoding holds it. Other members may stand beside these. */
export interface RawReceipt {
  readonly type?: Hex
  /** Before Byzantium there is `root` instead. */
  readonly status?: Hex
  readonly root?: Hex
  readonly cumulativeGasUsed: Hex
  readonly logsBloom: Hex
  readonly logs: readonly { readonly address: Hex; readonly topics: readonly Hex[]; readonly data: Hex }[]
}

/** Types whose receipts have these fields and no others: legacy, EIP-2930, EIP-1559, EIP-4844, EIP-7702. */
const KNOWN_TYPES = 4

const QUANTITY = /^0x[0-9a-f]{1,64}$/

/** Whether every receipt is of a type that {@link receiptsRoot} can encode, with all its fields. */
export const areKnownReceipts = (receipts: readonly unknown[]): receipts is readonly RawReceipt[] =>
  receipts.every((value) => {
    const receipt = value as Partial<Record<keyof RawReceipt, unknown>>
    const { type = '0x0', status, root, cumulativeGasUsed, logsBloom } = receipt
    return (
      typeof type === 'string' &&
      QUANTITY.test(type) &&
      Number(type) <= KNOWN_TYPES &&
      (isHex(root, 32) || (typeof status === 'string' && QUANTITY.test(status))) &&
      typeof cumulativeGasUsed === 'string' &&
      QUANTITY.test(cumulativeGasUsed) &&
      isHex(logsBloom, 256) &&
      Array.isArray(receipt.logs)
    )
  })

/** EIP-2718: the type's byte, unless legacy, then the RLP list of Yellow Paper section 4.4.1. */
function encodeReceipt(receipt: RawReceipt): Uint8Array {
  const logs = receipt.logs.map(({ address, topics, data }) =>
    rlpList([
      rlpString(fromHex(address)),
      rlpList(topics.map((topic) => rlpString(fromHex(topic)))),
      rlpString(fromHex(data)),
    ]),
  )
  const { status, root, cumulativeGasUsed, logsBloom, type = '0x0' } = receipt
  const body = rlpList([
    status === undefined ? rlpString(fromHex(root as Hex)) : rlpQuantity(status),
    rlpQuantity(cumulativeGasUsed),
    rlpString(fromHex(logsBloom)),
    rlpList(logs),
  ])
  return Number(type) === 0 ? body : concat(Uint8Array.of(Number(type)), body)
}

/**
 * The root of the trie of a block's receipts, in the order of its transactions (Yellow Paper section 4.4 and appendix D): what a header's
 * `receiptsRoot` must be, so that they are all of the block's receipts, and unchanged. Give it what {@link areKnownReceipts} takes.
 * Throws `BAD_HEX` on malformed data.
 */
export function receiptsRoot(receipts: readonly RawReceipt[]): Hex {
  return toHex(keccak_256(receipts.length === 0 ? EMPTY : node(itemsOf(receipts), 0)))
}

/**
 * The nodes of that trie on the path of the receipt at `place`, from the root down: its proof under {@link receiptsRoot}. Throws as that
 * does; `place` is one of the receipts'.
 */
export function receiptProof(receipts: readonly RawReceipt[], place: number): Uint8Array[] {
  const items = itemsOf(receipts)
  const path: Uint8Array[] = []
  const top = node(items, 0, { path: (items[place] as Item).path, nodes: path })
  return [top, ...path.reverse()]
}

const itemsOf = (receipts: readonly RawReceipt[]): Item[] =>
  receipts.map((receipt, i) => ({
    path: nibbles(rlpQuantity(`0x${i.toString(16)}`)),
    value: encodeReceipt(receipt),
  }))

interface Item {
  readonly path: readonly number[]
  readonly value: Uint8Array
}

const nibbles = (bytes: Uint8Array): number[] => [...bytes].flatMap((byte) => [byte >> 4, byte & 15])

/** One key, whose path is in the trie, and the nodes below the root that are named by hash on it, the lowest first. */
interface Proving {
  readonly path: readonly number[]
  readonly nodes: Uint8Array[]
}

/** RLP of the trie node over items whose paths agree up to `depth`; at least one item. `proving` is for the node that has its key below. */
function node(items: readonly Item[], depth: number, proving?: Proving): Uint8Array {
  const [first, ...rest] = items as readonly [Item, ...Item[]]
  if (rest.length === 0)
    return rlpList([rlpString(hexPrefix(first.path.slice(depth), true)), rlpString(first.value)])
  let shared = depth
  while (
    shared < first.path.length &&
    rest.every(({ path }) => path.length > shared && path[shared] === first.path[shared])
  )
    shared++
  if (shared > depth)
    return rlpList([
      rlpString(hexPrefix(first.path.slice(depth, shared), false)),
      reference(node(items, shared, proving), proving),
    ])
  const slots = Array.from({ length: 16 }, (_, nibble) => {
    const below = items.filter(({ path }) => path[depth] === nibble)
    const on = proving?.path[depth] === nibble ? proving : undefined
    return below.length === 0 ? EMPTY : reference(node(below, depth + 1, on), on)
  })
  const here = items.find(({ path }) => path.length === depth)
  return rlpList([...slots, here ? rlpString(here.value) : EMPTY])
}

const EMPTY = Uint8Array.of(0x80)

/** A node stands in its parent as it is when it is shorter than a hash. */
function reference(rlp: Uint8Array, proving?: Proving): Uint8Array {
  if (rlp.length < 32) return rlp
  proving?.nodes.push(rlp)
  return rlpString(keccak_256(rlp))
}

/** Hex-prefix encoding (Yellow Paper appendix C). */
function hexPrefix(path: readonly number[], leaf: boolean): Uint8Array {
  const odd = path.length % 2 === 1
  const flag = (leaf ? 2 : 0) + (odd ? 1 : 0)
  const digits = odd ? [flag, ...path] : [flag, 0, ...path]
  const out = new Uint8Array(digits.length / 2)
  for (let i = 0; i < out.length; i++)
    out[i] = ((digits[2 * i] as number) << 4) | (digits[2 * i + 1] as number)
  return out
}
