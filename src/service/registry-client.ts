import {
  BaseError,
  type ContractFunctionArgs,
  type ContractFunctionName,
  ContractFunctionRevertedError,
  createClient,
  encodeFunctionData,
  http,
  numberToHex,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import {
  estimateContractGas,
  estimateFeesPerGas,
  getBalance,
  getChainId,
  getTransactionCount,
  readContract,
  sendRawTransaction,
  waitForTransactionReceipt,
} from 'viem/actions'
import { sensorRegistryAbi } from '../chain/abi.ts'
import { decodeLog } from '../chain/decode.ts'
import { refuseDevAccount } from '../chain/dev-accounts.ts'
import { keyPossessionDigest } from '../chain/record.ts'
import type { ChainEvent } from '../chain/source.ts'
import { type Hex, sha256, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { provePossession } from '../maml/possession.ts'

type Abi = typeof sensorRegistryAbi
type Write = ContractFunctionName<Abi, 'nonpayable'>

/** A call that was tried against the newest state and would go through. */
export interface PreparedCall {
  functionName: string
  from: Hex
  to: Hex
  data: Hex
  /** Units of gas, estimated. */
  gas: bigint
  /** Wei per gas that the transaction pays at most. */
  maxFeePerGas: bigint
  /** Wei that the transaction costs at most. */
  cost: bigint
  /** Signs, sends, and waits until it is mined. Throws `TRANSACTION_REVERTED` where the state moved in between. */
  send(): Promise<SentCall>
}

export interface SentCall {
  tx: Hex
  block: number
  gasUsed: bigint
  /** What the registry said in this transaction. */
  events: ChainEvent[]
}

export interface SubmissionCall {
  sensor: string
  /** SHA-256 of the payload. */
  payloadHash: Hex
  payloadBytes: number
  uri: string
}

/** What to do about each refusal of the contract, by its error's name. */
const HINTS: Readonly<Record<string, string>> = {
  BadName: 'names are 1 to 32 characters of a-z, 0-9 and _',
  NameTaken: 'choose another name: sensors and datasets are unique on-chain',
  KeyAlreadyRegistered: 'the account has a key; use `dunes rotate` to change it',
  NoKey: 'register a key first: `dunes register`',
  UnknownDataset: '/v1/datasets of the API lists the registered ones; `dunes dataset add` registers another',
  UnknownSensor: 'register the sensor first: `dunes sensor add`',
  NotSensorOwner: 'submit from the account that registered the sensor',
  NotDatasetOwner: 'only the account that registered a dataset may update it',
  UnknownSubmission: 'check the id: it is the 0x and 64 hex digits that `dunes submit` printed',
  AlreadySettled: 'nothing to do: the submission is settled',
  NotValidator: 'the account was no validator when this was submitted',
  OwnSubmission: 'a validator may not attest to its own submissions',
  AlreadyAttested: 'nothing to do: this account has attested',
  NotExpired: 'wait until the time to live has passed',
}

/** What settling adds to an attestation at most; docs/contracts.md has the measured figures. */
const SETTLING_GAS = 200_000n

/** No transaction may ask for more gas than this (EIP-7825). */
const MOST_GAS = 2n ** 24n

export interface RegistryClientOptions {
  rpcUrl: string
  registry: Hex
  /** The account's private key, 32 bytes as 0x hex. */
  privateKey: Hex
  /** Milliseconds between looks for a receipt, 200 unless told. */
  pollMs?: number
  /** Milliseconds to wait for a receipt, three minutes unless told. */
  waitMs?: number
}

/** One account's view of SensorRegistry: every call is tried first, and sent only when asked. */
export class RegistryClient {
  readonly account: Hex
  readonly chainId: number
  readonly registry: Hex
  readonly #signer: ReturnType<typeof privateKeyToAccount>
  readonly #client: ReturnType<typeof createClient>
  readonly #pollMs: number
  readonly #waitMs: number

  private constructor(
    options: RegistryClientOptions,
    client: ReturnType<typeof createClient>,
    chainId: number,
  ) {
    this.#signer = privateKeyToAccount(options.privateKey)
    this.account = this.#signer.address.toLowerCase() as Hex
    this.chainId = chainId
    this.registry = options.registry
    this.#client = client
    this.#pollMs = options.pollMs ?? 200
    this.#waitMs = options.waitMs ?? 180_000
    refuseDevAccount(this.account, chainId)
  }

  /** Asks the RPC which chain it serves. Throws `RPC_UNREACHABLE`, `DEV_KEY_REFUSED`. */
  static async open(options: RegistryClientOptions): Promise<RegistryClient> {
    const client = createClient({ transport: http(options.rpcUrl, { retryCount: 1, timeout: 10_000 }) })
    return new RegistryClient(options, client, await reached(() => getChainId(client)))
  }

  /** Registers the account's first key, or rotates to the next one; the proof of possession is made here. */
  async registerKey(seed: Uint8Array, mlDsa: MlDsa): Promise<PreparedCall> {
    const current = await this.currentKey()
    const keyIndex = current ? current.keyIndex + 1 : 0
    const digest = keyPossessionDigest({
      chainId: BigInt(this.chainId),
      registry: this.registry,
      account: this.account,
      keyIndex,
    })
    const publicKey = toHex(mlDsa.publicKey(65, seed))
    const possession = toHex(provePossession(seed, digest, mlDsa))
    return this.prepare(current ? 'rotateKey' : 'registerKey', [publicKey, possession])
  }

  /** The account's newest key as the chain has it; null before the first. */
  async currentKey(): Promise<{ keyId: Hex; keyIndex: number; active: boolean } | null> {
    const [keyId, keyIndex, active] = await reached(() =>
      readContract(this.#client, {
        address: this.registry,
        abi: sensorRegistryAbi,
        functionName: 'key',
        args: [this.account],
      }),
    )
    return BigInt(keyId) === 0n ? null : { keyId, keyIndex: Number(keyIndex), active }
  }

  /** Wei that the account holds. */
  balance(): Promise<bigint> {
    return reached(() => getBalance(this.#client, { address: this.account }))
  }

  registerSensor(name: string, dataset: string, h3Cell: bigint): Promise<PreparedCall> {
    return this.prepare('registerSensor', [name, dataset, h3Cell])
  }

  /** Registers the dataset, or appends a version to it. `schema` is the schema file's bytes. */
  setDataset(name: string, schema: Uint8Array, update: boolean): Promise<PreparedCall> {
    return this.prepare(update ? 'updateDataset' : 'registerDataset', [name, toHex(schema)])
  }

  submit({ sensor, payloadHash, payloadBytes, uri }: SubmissionCall): Promise<PreparedCall> {
    return this.prepare('submit', [sensor, payloadHash, BigInt(payloadBytes), uri])
  }

  submitBatch(items: readonly SubmissionCall[]): Promise<PreparedCall> {
    return this.prepare('submitBatch', [
      items.map((item) => ({
        sensor: item.sensor,
        payloadHash: item.payloadHash,
        payloadBytes: BigInt(item.payloadBytes),
        uri: item.uri,
      })),
    ])
  }

  attest(id: Hex, valid: boolean): Promise<PreparedCall> {
    return this.prepare('attest', [id, valid])
  }

  attestBatch(items: readonly { id: Hex; valid: boolean }[]): Promise<PreparedCall> {
    return this.prepare('attestBatch', [items])
  }

  /** Tries a call and says what it costs. Throws `CALL_REFUSED` with the contract's reason, `RPC_UNREACHABLE`. */
  async prepare<const F extends Write>(
    functionName: F,
    args: ContractFunctionArgs<Abi, 'nonpayable', F>,
  ): Promise<PreparedCall> {
    // viem's own types check `args` against `functionName` above; below they are passed on together.
    const call = { abi: sensorRegistryAbi, functionName, args } as Parameters<typeof encodeFunctionData>[0]
    const data = encodeFunctionData(call)
    const [estimate, fees] = await reached(() =>
      Promise.all([
        estimateContractGas(this.#client, {
          ...call,
          address: this.registry,
          account: this.#signer,
        } as Parameters<typeof estimateContractGas>[1]),
        estimateFeesPerGas(this.#client, { chain: undefined }),
      ]),
    )
    // The state may have moved by the time it is mined: a first submission in an epoch costs more than a second, and an
    // attestation that was one of several when it was estimated may be the one that settles.
    const attestations =
      functionName === 'attest'
        ? 1n
        : functionName === 'attestBatch'
          ? BigInt((args as unknown as [readonly unknown[]])[0].length)
          : 0n
    const roomy = (estimate * 13n) / 10n + attestations * SETTLING_GAS
    const gas = roomy < MOST_GAS ? roomy : estimate > MOST_GAS ? estimate : MOST_GAS
    return {
      functionName,
      from: this.account,
      to: this.registry,
      data,
      gas,
      maxFeePerGas: fees.maxFeePerGas,
      cost: gas * fees.maxFeePerGas,
      send: () => this.#send(functionName, data, gas, fees),
    }
  }

  async #send(
    functionName: string,
    data: Hex,
    gas: bigint,
    fees: { maxFeePerGas: bigint; maxPriorityFeePerGas: bigint },
  ): Promise<SentCall> {
    return reached(async () => {
      const nonce = await getTransactionCount(this.#client, { address: this.account, blockTag: 'pending' })
      const serializedTransaction = await this.#signer.signTransaction({
        type: 'eip1559',
        chainId: this.chainId,
        to: this.registry,
        data,
        nonce,
        gas,
        ...fees,
      })
      const tx = await sendRawTransaction(this.#client, { serializedTransaction })
      const receipt = await waitForTransactionReceipt(this.#client, {
        hash: tx,
        pollingInterval: this.#pollMs,
        timeout: this.#waitMs,
      })
      if (receipt.status !== 'success') {
        throw new DunesError('TRANSACTION_REVERTED', `${functionName} was mined but reverted (${tx})`, {
          hint: 'the state moved between the check and the block; try again',
          retryable: true,
          exitCode: 3,
        })
      }
      const contracts = { registry: this.registry, anchor: `0x${'00'.repeat(20)}` as Hex }
      const events = receipt.logs.flatMap((log) => {
        const raw = {
          address: log.address.toLowerCase() as Hex,
          topics: log.topics,
          data: log.data,
          transactionHash: log.transactionHash,
          logIndex: numberToHex(log.logIndex),
          blockNumber: numberToHex(log.blockNumber),
          blockHash: log.blockHash,
        }
        const event = decodeLog(raw, contracts)
        return event ? [event] : []
      })
      return { tx, block: Number(receipt.blockNumber), gasUsed: receipt.gasUsed, events }
    })
  }
}

/** The on-chain claim about payload bytes. */
export const payloadClaim = (sensor: string, payload: Uint8Array, uri: string): SubmissionCall => ({
  sensor,
  payloadHash: toHex(sha256(payload)),
  payloadBytes: payload.length,
  uri,
})

/** Turns viem's errors into ours, with the contract's own reason where there is one. */
async function reached<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    if (!(cause instanceof BaseError)) throw cause
    const revert = cause.walk((error) => error instanceof ContractFunctionRevertedError)
    if (revert instanceof ContractFunctionRevertedError) {
      const name = revert.data?.errorName ?? revert.reason ?? 'no reason given'
      throw new DunesError('CALL_REFUSED', `the registry refuses the call: ${name}`, {
        ...(HINTS[name] ? { hint: HINTS[name] } : {}),
        details: { error: name },
        cause,
      })
    }
    const poor = /insufficient funds/i.test(cause.message)
    throw new DunesError(
      poor ? 'ACCOUNT_UNFUNDED' : 'RPC_UNREACHABLE',
      poor
        ? 'the account cannot pay for the transaction'
        : `the RPC did not carry out the call: ${cause.shortMessage}`,
      {
        hint: poor
          ? "send it some of the chain's currency"
          : 'check that the node runs (`npm start` starts a devnet) and that --rpc-urls is right',
        retryable: !poor,
        exitCode: 3,
        cause,
      },
    )
  }
}
