import { keccak256, toRlp } from 'viem'
import { bloomOf } from '../../src/chain/bloom.ts'
import type { RawLog } from '../../src/chain/decode.ts'
import type { RawHeader } from '../../src/chain/header.ts'
import type { Hex } from '../../src/core/bytes.ts'
import { type ContractState, EMPTY_STATE, execute, named, type Tx } from './contracts.ts'

/** A block of the simulated chain, with the contracts' state after it. */
export interface SimBlock {
  number: number
  hash: Hex
  time: number
  parent: SimBlock | null
  header: RawHeader
  /** Those that were executed, reverted ones included, in order. */
  txs: readonly Tx[]
  /** Logs of each transaction. */
  logs: readonly (readonly RawLog[])[]
  state: ContractState
  /** Running number of its making, over all branches. */
  born: number
}

const word = (name: string): Hex => named(name)
const ZERO_BLOOM: Hex = `0x${'00'.repeat(256)}`
const quantity = (value: number): Hex => `0x${value.toString(16)}`
const minimal = (value: Hex): Hex => {
  const digits = value.slice(2).replace(/^0+/, '')
  return `0x${digits.length % 2 ? '0' : ''}${digits}`
}

/** A Cancun header; its hash is the Keccak-256 of its RLP. */
function seal(fields: {
  parentHash: Hex
  number: number
  time: number
  bloom: Hex
  salt: string
}): RawHeader {
  const { salt } = fields
  const header = {
    parentHash: fields.parentHash,
    sha3Uncles: word('uncles'),
    miner: `0x${'00'.repeat(20)}` as Hex,
    stateRoot: word(`state ${salt}`),
    transactionsRoot: word(`transactions ${salt}`),
    receiptsRoot: word(`receipts ${salt}`),
    logsBloom: fields.bloom,
    difficulty: '0x0' as Hex,
    number: quantity(fields.number),
    gasLimit: quantity(30_000_000),
    gasUsed: quantity(21_000),
    timestamp: quantity(fields.time),
    extraData: '0x' as Hex,
    mixHash: word(`mix ${salt}`),
    nonce: '0x0000000000000000' as Hex,
    baseFeePerGas: quantity(7),
    withdrawalsRoot: word('withdrawals'),
    blobGasUsed: '0x0' as Hex,
    excessBlobGas: '0x0' as Hex,
    parentBeaconBlockRoot: word(`beacon ${salt}`),
  }
  const quantities = new Set(['difficulty', 'number', 'gasLimit', 'gasUsed', 'timestamp', 'baseFeePerGas'])
  quantities.add('blobGasUsed').add('excessBlobGas')
  const list = Object.entries(header).map(([name, value]) => (quantities.has(name) ? minimal(value) : value))
  return { ...header, hash: keccak256(toRlp(list)) }
}

/** The block tree, and which of its branches is the chain. */
export class SimChain {
  readonly blocks = new Map<Hex, SimBlock>()
  head: SimBlock
  finalized: SimBlock
  /** Every block that the chain has ever had, in the order in which it came. */
  readonly history: SimBlock[] = []
  #born = 0

  constructor(time: number) {
    const genesis = this.#make(null, [], time)
    this.head = genesis
    this.finalized = genesis
    this.history.push(genesis)
  }

  #make(parent: SimBlock | null, txs: readonly Tx[], time: number): SimBlock {
    const number = parent ? parent.number + 1 : 0
    const born = this.#born++
    let state = parent?.state ?? EMPTY_STATE
    const emitted = txs.map((tx) => {
      const done = execute(state, tx, { number, time })
      state = done.state
      return done.logs
    })
    const bloom = emitted.some((logs) => logs.length > 0) ? bloomOf(emitted.flat()) : ZERO_BLOOM
    const header = seal({
      parentHash: parent?.hash ?? word('nothing'),
      number,
      time,
      bloom,
      salt: `${number} ${born}`,
    })
    let logIndex = 0
    const logs = emitted.map((list, i) =>
      list.map(
        (log): RawLog => ({
          ...log,
          blockHash: header.hash,
          blockNumber: header.number,
          transactionHash: (txs[i] as Tx).hash,
          logIndex: quantity(logIndex++),
        }),
      ),
    )
    const block: SimBlock = { number, hash: header.hash, time, parent, header, txs, logs, state, born }
    this.blocks.set(block.hash, block)
    return block
  }

  /** Puts a block on the head. */
  mine(txs: readonly Tx[], seconds: number): SimBlock {
    this.head = this.#make(this.head, txs, this.head.time + seconds)
    this.history.push(this.head)
    return this.head
  }

  /**
   * Replaces every block above `base` by a branch with these transactions, one list a block. All of the branch appears at once.
   * Answers the transactions that fell off the chain.
   */
  reorganise(base: SimBlock, branch: readonly (readonly Tx[])[], seconds: () => number): void {
    if (base.number < this.finalized.number) throw new Error('a reorganisation beyond finality was planned')
    let tip = base
    for (const txs of branch) {
      tip = this.#make(tip, txs, tip.time + seconds())
      this.history.push(tip)
    }
    this.head = tip
    // The base is the chain's head once more.
    if (branch.length === 0) this.history.push(base)
  }

  /** The block of this height on the branch of `tip`. */
  static at(tip: SimBlock, number: number): SimBlock | undefined {
    let block: SimBlock | null = tip
    while (block && block.number > number) block = block.parent
    return block?.number === number ? block : undefined
  }

  /** From the block after `base` (all when null) up to `tip`. */
  static branch(tip: SimBlock, base: SimBlock | null = null): SimBlock[] {
    const out: SimBlock[] = []
    for (let block: SimBlock | null = tip; block && block !== base; block = block.parent) out.push(block)
    return out.reverse()
  }

  at(number: number): SimBlock | undefined {
    return SimChain.at(this.head, number)
  }

  finalise(number: number): void {
    const block = this.at(number)
    if (!block) throw new Error(`there is no block ${number} to become final`)
    if (number > this.finalized.number) this.finalized = block
  }
}

/** All logs of a block in order. */
export const logsOf = (block: SimBlock): RawLog[] => block.logs.flat()
