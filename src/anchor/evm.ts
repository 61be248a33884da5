import {
  BaseError,
  ContractFunctionRevertedError,
  createClient,
  encodeFunctionData,
  http,
  keccak256,
  numberToHex,
  TransactionNotFoundError,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import {
  estimateContractGas,
  estimateFeesPerGas,
  getTransaction,
  getTransactionCount,
  readContract,
  sendRawTransaction,
} from 'viem/actions'
import { receiptAnchorAbi } from '../chain/abi.ts'
import { fromHex, type Hex, toHex } from '../core/bytes.ts'
import { DunesError, describeError } from '../core/error.ts'
import type { AnchorPort } from './port.ts'

/** Room above the estimate: the head may have moved between estimate and execution, which changes the proof's cost. */
const GAS_MARGIN = { numerator: 13n, denominator: 10n }

/** The anchor contract of an EVM chain over `rpcUrl`, for the account of `privateKey` (32 bytes as 0x hex). */
export function evmAnchorPort(options: {
  rpcUrl: string
  chainId: number
  anchor: Hex
  privateKey: Hex
  /** Blocks after which a block counts as final; null asks the chain for its own `finalized` block. */
  confirmations: number | null
}): AnchorPort & { account: Hex } {
  const account = privateKeyToAccount(options.privateKey)
  const client = createClient({ transport: http(options.rpcUrl, { retryCount: 0, timeout: 10_000 }) })
  const contract = { address: options.anchor, abi: receiptAnchorAbi } as const
  const blockOf = async (at: 'latest' | 'final') => {
    if (at === 'latest') return { blockTag: 'latest' } as const
    if (options.confirmations === null) return { blockTag: 'finalized' } as const
    const head = BigInt(await client.request({ method: 'eth_blockNumber' }))
    const final = head - BigInt(options.confirmations)
    return { blockNumber: final > 0n ? final : 0n } as const
  }
  return {
    account: account.address.toLowerCase() as Hex,
    head: () =>
      reached(async () => {
        const [root, size] = await readContract(client, {
          ...contract,
          functionName: 'head',
        })
        return { size: Number(size), root: fromHex(root, 32) }
      }),
    closure: () =>
      reached(async () => {
        const [closed, successor, lastGoodSize] = await readContract(client, {
          ...contract,
          functionName: 'closure',
        })
        if (!closed) return null
        const next = successor.toLowerCase() as Hex
        return { lastGoodSize: Number(lastGoodSize), successor: BigInt(next) === 0n ? null : next }
      }),
    nonce: (at) =>
      reached(async () => getTransactionCount(client, { address: account.address, ...(await blockOf(at)) })),
    fees: () => reached(async () => estimateFeesPerGas(client, { chain: undefined })),
    hasBlock: (number, hash) =>
      reached(async () => {
        const params = [numberToHex(number), false] as const
        const block = await client.request({ method: 'eth_getBlockByNumber', params: [...params] })
        return block?.hash === hash
      }),
    knows: (hash) =>
      reached(async () => {
        try {
          await getTransaction(client, { hash })
          return true
        } catch (error) {
          if (error instanceof TransactionNotFoundError) return false
          throw error
        }
      }),
    prepare: (call, nonce, fees) =>
      reached(async () => {
        const args = [BigInt(call.size), toHex(call.root), call.proof.map(toHex)] as const
        // Some nodes estimate on top of what waits, and after the very call that this one replaces there is nothing left to do.
        const gas = await estimateContractGas(client, {
          ...contract,
          functionName: 'anchor',
          args,
          account,
          blockTag: 'latest',
        })
        const raw = await account.signTransaction({
          type: 'eip1559',
          chainId: options.chainId,
          to: options.anchor,
          data: encodeFunctionData({ abi: receiptAnchorAbi, functionName: 'anchor', args }),
          nonce,
          gas: (gas * GAS_MARGIN.numerator) / GAS_MARGIN.denominator,
          ...fees,
        })
        return {
          hash: keccak256(raw),
          send: () =>
            reached(async () => void (await sendRawTransaction(client, { serializedTransaction: raw }))),
        }
      }),
  }
}

/** Turns viem's errors into ours: a revert needs somebody's attention, anything else may pass. */
async function reached<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    // An endpoint may answer anything: viem trips over some of it without an error of its own.
    if (!(cause instanceof BaseError)) throw unreached(cause, describeError(cause))
    const revert = cause.walk((error) => error instanceof ContractFunctionRevertedError)
    if (revert instanceof ContractFunctionRevertedError) {
      const why = revert.data?.errorName ?? revert.reason ?? 'no reason given'
      throw new DunesError('ANCHOR_REFUSED', `the anchor contract refuses the anchor: ${why}`, {
        hint: 'check that the anchoring account has the ANCHOR role and that the contract is neither paused nor closed',
        // Roles, pauses and races with another writer change without us; so does what is due.
        retryable: true,
        exitCode: 3,
        cause,
      })
    }
    throw UNDERPRICED.test(cause.details)
      ? new DunesError('ANCHOR_UNDERPRICED', `the node wants a higher fee: ${cause.details}`, {
          retryable: true,
          exitCode: 3,
          cause,
        })
      : unreached(cause, cause.shortMessage)
  }
}

/** How geth, and others after it, answer to a transaction whose nonce is taken by one that pays as much. */
const UNDERPRICED = /underpriced/i

const unreached = (cause: unknown, why: string): DunesError =>
  new DunesError('ANCHOR_RPC', `the RPC did not carry out an anchor call: ${why}`, {
    hint: 'check the RPC endpoint and the balance of the anchoring account',
    retryable: true,
    exitCode: 3,
    cause,
  })
