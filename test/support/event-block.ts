import { keccak_256 } from '@noble/hashes/sha3.js'
import { BLOCK_HISTORY, blockHashSlot } from '../../src/chain/block-history.ts'
import { concat, fromHex, type Hex, u256be, utf8 } from '../../src/core/bytes.ts'
import { shareNodes } from '../../src/proof/build.ts'
import type { AnchoredEventEvidence, AnyBundle } from '../../src/proof/bundle.ts'
import { isRowsBundle } from '../../src/proof/bundle.ts'
import { ANCHOR, type ProofWorld, type TestBlock } from './proof-world.ts'
import { buildHeader, buildTrie, minimal, type Rlp, rlp } from './trie.ts'

export interface EventOptions {
  /** The anchored tree, and its anchor's number. */
  size: number
  root: Uint8Array
  seq?: number
  previousSize?: number
  /** The block's, and time in seconds. */
  number?: number
  time?: number
  /** Type of the anchor's transaction, null for the first kind. */
  type?: number | null
  /** Transactions in the block, and the anchor's place among them. */
  transactions?: number
  transaction?: number
  /** What is wrong with the log. */
  address?: Hex
  signature?: string
  topics?: Uint8Array[]
  data?: Uint8Array
  /** What is wrong with the receipt. */
  fields?: (fields: Rlp[]) => Rlp[]
}

/** A block in which an anchor was taken: its receipts hold the event, the second log of its transaction. */
export interface EventBlock {
  number: number
  hash: Uint8Array
  receiptsRoot: Uint8Array
  /** As a bundle under a later block has it. */
  evidence: Required<AnchoredEventEvidence>
  /** The receipts trie's nodes for the transaction at a place. */
  prove(transaction: number): Uint8Array[]
}

const word = (value: number) => u256be(BigInt(value))

export function eventBlock(options: EventOptions): EventBlock {
  const { size, root, seq = 4, previousSize = 0, number = 250, time = 1_759_361_000 } = options
  const { transactions = 20, transaction = 3, type = 2 } = options
  const signature = options.signature ?? 'Anchored(uint64,uint64,bytes32,uint64,bytes32,bytes32)'
  const topics = options.topics ?? [keccak_256(utf8(signature)), word(seq)]
  const zero = new Uint8Array(32)
  const data = options.data ?? concat(word(size), root, word(previousSize), zero, zero)
  const log = (address: Hex): Rlp => [fromHex(address, 20), topics, data]
  const receiptOf = (logs: Rlp[], kind: number | null): Uint8Array => {
    const fields: Rlp[] = [Uint8Array.of(1), minimal(21_000), new Uint8Array(256), logs]
    const body = rlp(options.fields?.(fields) ?? fields)
    return kind === null ? body : concat(Uint8Array.of(kind), body)
  }
  const other = log(`0x${'77'.repeat(20)}`)
  const trie = buildTrie(
    Array.from({ length: transactions }, (_, i): [Uint8Array, Uint8Array] => [
      rlp(minimal(i)),
      i === transaction ? receiptOf([other, log(options.address ?? ANCHOR)], type) : receiptOf([other], null),
    ]),
  )
  const prove = (place: number) => trie.prove(rlp(minimal(place)))
  const header = buildHeader({
    stateRoot: new Uint8Array(32).fill(9),
    receiptsRoot: trie.root,
    number: BigInt(number),
    timestamp: BigInt(time),
  })
  return {
    number,
    hash: header.hash,
    receiptsRoot: trie.root,
    evidence: { header: header.rlp, transaction, log: 1, proof: prove(transaction) },
    prove,
  }
}

/** `bundle`, which stands under `block`, with the event of an ancestor that the block's history knows. */
export function withEvent<B extends AnyBundle>(bundle: B, block: TestBlock, event: EventBlock): B {
  const history = block.evidence(BLOCK_HISTORY.address, [blockHashSlot(event.number)])
  return {
    ...bundle,
    anchoredEvent: event.evidence,
    evidence: {
      ...bundle.evidence,
      accounts: [...bundle.evidence.accounts, isRowsBundle(bundle) ? shareNodes(history) : history],
    },
  }
}

/** The event of the anchor that had the world's first `size` leaves. */
export const anchorOf = async (
  world: ProofWorld,
  size: number,
  options: Partial<EventOptions> = {},
): Promise<EventBlock> => eventBlock({ size, root: await world.root(size), ...options })
