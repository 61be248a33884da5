import { BaseError, createClient, custom, decodeErrorResult, encodeFunctionData, keccak256 } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { estimateFeesPerGas } from 'viem/actions'
import { receiptAnchorAbi } from '../chain/abi.ts'
import { getBlock, quantity } from '../chain/blocks.ts'
import type { PinnedRpc, RpcPool } from '../chain/rpc.ts'
import { ChainError } from '../chain/source.ts'
import { type Hex, isHex, toHex } from '../core/bytes.ts'
import { DunesError, describeError } from '../core/error.ts'
import { askEach } from './each.ts'
import type { AnchorPort, Fees } from './port.ts'
import { readState } from './state.ts'

/** Room above the estimate: the head may have moved between estimate and execution, which changes the proof's cost. */
const GAS_MARGIN = { numerator: 13n, denominator: 10n }
const ONCE = { tries: 1 } as const

/**
 * The anchor contract of an EVM chain over all of its endpoints, for the account of `privateKey` (32 bytes as 0x hex). What they say of the
 * state is held against each other (`state.ts`), and a transaction is sent to all that are well: one that loses it costs nothing.
 */
export function evmAnchorPort(options: {
  rpc: RpcPool
  anchor: Hex
  privateKey: Hex
  /** Blocks after which a block counts as final; null asks the chain for its own `finalized` block. */
  confirmations: number | null
}): AnchorPort & { account: Hex } {
  const { rpc, anchor, confirmations } = options
  const signer = privateKeyToAccount(options.privateKey)
  const account = signer.address.toLowerCase() as Hex
  const finalBlock = async () => {
    if (confirmations === null) return 'finalized'
    const head = Number(await rpc.call('eth_blockNumber', []))
    return quantity(Math.max(0, head - confirmations))
  }
  return {
    account,
    state: () => reached(() => readState(rpc, { anchor, account })),
    finalNonce: () =>
      reached(async () => Number(await rpc.call('eth_getTransactionCount', [account, await finalBlock()]))),
    fees: () => reached(async () => usualFees(await askEach(rpc.well(), feesOf))),
    hasBlock: (number, hash) =>
      reached(async () => {
        const blocks = await askEach(rpc.well(), (one) => getBlock(one, number, ONCE))
        return blocks.some(({ value }) => value?.hash === hash)
      }),
    knows: (hash) =>
      reached(async () => {
        const found = await askEach(rpc.well(), (one) => one.call('eth_getTransactionByHash', [hash], ONCE))
        return found.some(({ value }) => value !== null)
      }),
    prepare: ({ size, root, proof }, nonce, fees) =>
      reached(async () => {
        const args = [BigInt(size), toHex(root), proof.map(toHex)] as const
        const data = encodeFunctionData({ abi: receiptAnchorAbi, functionName: 'anchor', args })
        // Some nodes estimate on top of what waits, and after the very call that this one replaces there is nothing left to do.
        const call = [{ from: account, to: anchor, data }, 'latest']
        const estimates = await askEach(rpc.well(), async (one) =>
          BigInt((await one.call('eth_estimateGas', call, ONCE)) as Hex),
        )
        // Too little would be spent for nothing; what is too much is not spent.
        const gas = estimates.reduce((most, { value }) => (value > most ? value : most), 0n)
        const raw = await signer.signTransaction({
          type: 'eip1559',
          chainId: rpc.chainId,
          to: anchor,
          data,
          nonce,
          gas: (gas * GAS_MARGIN.numerator) / GAS_MARGIN.denominator,
          ...fees,
        })
        return { hash: keccak256(raw), send: () => reached(() => sendToAll(rpc.well(), raw)) }
      }),
  }
}

/** What an endpoint thinks that a transaction should pay now. */
const feesOf = (rpc: PinnedRpc): Promise<Fees> =>
  estimateFeesPerGas(
    createClient({
      transport: custom(
        { request: ({ method, params }) => rpc.call(method, params ?? [], ONCE) },
        { retryCount: 0 },
      ),
    }),
    { chain: undefined },
  )

/** The middle one, the lower of two: no single endpoint makes a transaction dear. */
function usualFees(said: readonly { value: Fees }[]): Fees {
  const sorted = said.map(({ value }) => value).sort((a, b) => Number(a.maxFeePerGas - b.maxFeePerGas))
  return sorted[(sorted.length - 1) >> 1] as Fees
}

/**
 * Sends the same signed bytes to all endpoints at once; done when the first has taken them or has them already. Where the nonce is used up, the
 * next look at the state says by what. Throws the first one's error where none takes them.
 */
async function sendToAll(rpcs: readonly PinnedRpc[], raw: Hex): Promise<void> {
  const sends = rpcs.map((rpc) =>
    rpc.call('eth_sendRawTransaction', [raw], ONCE).catch((error: unknown) => {
      if (!(error instanceof ChainError && DONE.test(error.message))) throw error
    }),
  )
  try {
    await Promise.any(sends)
  } catch (none) {
    throw (none as AggregateError).errors[0]
  }
}

/** How geth, and others after it, answer to a transaction that they have, or whose nonce is mined. */
const DONE = /already known|already imported|known transaction|nonce too low/i
/** How they answer to one whose nonce is taken by one that pays as much. */
const UNDERPRICED = /underpriced/i

/** Turns failures of endpoints into ours: a revert needs somebody's attention, anything else may pass. */
async function reached<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    const revert = cause instanceof ChainError ? cause.details['revert'] : undefined
    if (isHex(revert)) {
      throw new DunesError('ANCHOR_REFUSED', `the anchor contract refuses the anchor: ${reasonOf(revert)}`, {
        hint: 'check that the anchoring account has the ANCHOR role and that the contract is neither paused nor closed',
        // Roles, pauses and races with another writer change without us; so does what is due.
        retryable: true,
        exitCode: 3,
        cause,
      })
    }
    if (cause instanceof ChainError && UNDERPRICED.test(cause.message))
      throw new DunesError('ANCHOR_UNDERPRICED', `the node wants a higher fee: ${cause.message}`, {
        retryable: true,
        exitCode: 3,
        cause,
      })
    const why = cause instanceof BaseError ? cause.shortMessage : describeError(cause)
    throw new DunesError('ANCHOR_RPC', `the RPC did not carry out an anchor call: ${why}`, {
      hint: 'check the RPC endpoints and the balance of the anchoring account',
      retryable: true,
      exitCode: 3,
      cause,
    })
  }
}

/** The name of the contract's error, or what there is instead. */
function reasonOf(data: Hex): string {
  try {
    return decodeErrorResult({ abi: receiptAnchorAbi, data }).errorName
  } catch {
    return data === '0x' ? 'no reason given' : `an error that begins with ${data.slice(0, 10)}`
  }
}
