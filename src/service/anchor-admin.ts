import {
  BaseError,
  type ContractFunctionArgs,
  ContractFunctionRevertedError,
  createClient,
  encodeFunctionData,
  http,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { readContract, simulateContract, waitForTransactionReceipt, writeContract } from 'viem/actions'
import { receiptAnchorAbi } from '../chain/abi.ts'
import { refuseDevAccount } from '../chain/dev-accounts.ts'
import { fromHex, type Hex } from '../core/bytes.ts'
import { DunesError, describeError } from '../core/error.ts'

type Abi = typeof receiptAnchorAbi
type Write = 'grantRole' | 'revokeRole' | 'close'

/** Whether a log is open, and what its close named (docs/contracts.md). */
export interface Closure {
  closed: boolean
  paused: boolean
  successor: Hex
  lastGoodSize: number
  lastGoodRoot: Hex
}

/** ReceiptAnchor as its administrator sees it, over one endpoint. Everything throws `RPC_UNREACHABLE` where that does not answer. */
export class AnchorAdmin {
  readonly #client: ReturnType<typeof createClient>
  readonly #signer: ReturnType<typeof privateKeyToAccount> | null
  readonly anchor: Hex

  /** `privateKey` (32 bytes as 0x hex) of the administrator; null to look only. Throws `DEV_KEY_REFUSED` off the devnet. */
  constructor(options: { rpcUrl: string; chainId: number; anchor: Hex; privateKey: Hex | null }) {
    this.anchor = options.anchor
    this.#client = createClient({
      transport: http(options.rpcUrl, { retryCount: 1, timeout: 10_000 }),
      pollingInterval: 200,
    })
    this.#signer = options.privateKey ? privateKeyToAccount(options.privateKey) : null
    if (this.#signer) refuseDevAccount(this.#signer.address.toLowerCase() as Hex, options.chainId)
  }

  /** The account of the key, null without one. */
  get account(): Hex | null {
    return this.#signer && (this.#signer.address.toLowerCase() as Hex)
  }

  /** Who may grant roles, pause and close. */
  async admin(): Promise<Hex> {
    return (await reached(() => this.#read('defaultAdmin'))).toLowerCase() as Hex
  }

  /** Whether `account` may anchor. */
  async mayAnchor(account: Hex): Promise<boolean> {
    return reached(async () => {
      const role = await this.#read('ANCHOR_ROLE')
      const { anchor: address } = this
      return readContract(this.#client, {
        address,
        abi: receiptAnchorAbi,
        functionName: 'hasRole',
        args: [role, account],
      })
    })
  }

  /** The registry whose settled submissions the log records. */
  async registry(): Promise<Hex> {
    return (await reached(() => this.#read('registry'))).toLowerCase() as Hex
  }

  /** The log's name. */
  origin(): Promise<string> {
    return reached(() => this.#read('origin'))
  }

  async head(): Promise<{ size: number; root: Uint8Array }> {
    const [root, size] = await reached(() => this.#read('head'))
    return { size: Number(size), root: fromHex(root, 32) }
  }

  async closure(): Promise<Closure> {
    const [[closed, successor, size, lastGoodRoot], paused] = await reached(() =>
      Promise.all([this.#read('closure'), this.#read('paused')]),
    )
    return {
      closed,
      paused,
      successor: successor.toLowerCase() as Hex,
      lastGoodSize: Number(size),
      lastGoodRoot,
    }
  }

  /** Lets `account` anchor, or no longer. Answers the mined transaction's hash. Throws `CALL_REFUSED` with the contract's reason. */
  async setAnchorer(account: Hex, may: boolean): Promise<Hex> {
    const role = await reached(() => this.#read('ANCHOR_ROLE'))
    return this.#send(may ? 'grantRole' : 'revokeRole', [role, account])
  }

  /** Ends the log for good at a size and root that were good. Answers the mined transaction's hash. Throws `CALL_REFUSED`. */
  close(successor: Hex, size: number, root: Hex): Promise<Hex> {
    return this.#send('close', [successor, BigInt(size), root])
  }

  /** The bytes of the transaction that lets `account` anchor, or no longer, for an administrator with tools of its own. */
  async anchorerCall(account: Hex, may: boolean): Promise<Hex> {
    const role = await reached(() => this.#read('ANCHOR_ROLE'))
    const functionName = may ? 'grantRole' : 'revokeRole'
    return encodeFunctionData({ abi: receiptAnchorAbi, functionName, args: [role, account] })
  }

  #read<
    const F extends 'ANCHOR_ROLE' | 'defaultAdmin' | 'head' | 'closure' | 'paused' | 'registry' | 'origin',
  >(functionName: F) {
    return readContract(this.#client, { address: this.anchor, abi: receiptAnchorAbi, functionName })
  }

  async #send<const F extends Write>(
    functionName: F,
    args: ContractFunctionArgs<Abi, 'nonpayable', F>,
  ): Promise<Hex> {
    const account = this.#signer
    if (!account)
      throw new DunesError('KEY_MISSING', "the administrator's key is not here", {
        hint: 'name its file with --admin-key, or set DUNES_ADMIN_KEY_FILE',
      })
    return reached(async () => {
      // viem's own types check `args` against `functionName` above; below they are passed on together.
      const call = { address: this.anchor, abi: receiptAnchorAbi, functionName, args, account, chain: null }
      const { request } = await simulateContract(
        this.#client,
        call as unknown as Parameters<typeof simulateContract>[1],
      )
      const hash = await writeContract(this.#client, request as Parameters<typeof writeContract>[1])
      const { status } = await waitForTransactionReceipt(this.#client, { hash })
      if (status === 'success') return hash
      throw new DunesError('TRANSACTION_REVERTED', `${functionName} was mined but reverted (${hash})`, {
        hint: 'the state moved between the check and the block; try again',
        retryable: true,
        exitCode: 3,
      })
    })
  }
}

/** What to do about the contract's refusals. */
const HINTS: Readonly<Record<string, string>> = {
  AccessControlUnauthorizedAccount:
    "only the contract's administrator may do this: name its key with --admin-key",
  LogClosed: 'the log has ended for good; its successor goes on',
  BadLastGood: 'the last good size is at most the anchored one, and its root the one of that size',
  BadSuccessor:
    'the successor must be deployed with `dunes deploy --successor-of` this log, at the same size and root',
}

/** Turns viem's errors into ours, with the contract's own reason where there is one. */
async function reached<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    if (cause instanceof DunesError) throw cause
    const revert =
      cause instanceof BaseError
        ? cause.walk((error) => error instanceof ContractFunctionRevertedError)
        : null
    if (revert instanceof ContractFunctionRevertedError) {
      const name = revert.data?.errorName ?? revert.reason ?? 'no reason given'
      throw new DunesError('CALL_REFUSED', `the anchor contract refuses the call: ${name}`, {
        ...(HINTS[name] ? { hint: HINTS[name] } : {}),
        details: { error: name },
        cause,
      })
    }
    throw new DunesError('RPC_UNREACHABLE', `the RPC did not carry out the call: ${describeError(cause)}`, {
      hint: 'check --rpc-urls and --anchor, and that the account can pay',
      retryable: true,
      exitCode: 3,
      cause,
    })
  }
}
