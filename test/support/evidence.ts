import { fromHex, type Hex } from '../../src/core/bytes.ts'

/** Asks a JSON-RPC endpoint and answers the result, or throws the endpoint's error. */
export async function rpc<T>(url: string, method: string, params: unknown[] = []): Promise<T> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
  })
  const body = (await response.json()) as { result?: T; error?: { message: string } }
  if (body.error !== undefined) throw new Error(`${method}: ${body.error.message}`)
  return body.result as T
}

/** What `eth_getProof` answers (EIP-1186). */
export interface RpcProof {
  address: Hex
  accountProof: Hex[]
  nonce: Hex
  balance: Hex
  codeHash: Hex
  storageHash: Hex
  storageProof: { key: Hex; value: Hex; proof: Hex[] }[]
}

/** A block as `eth_getBlockByNumber` answers it. */
export type RpcBlock = Record<string, unknown> & { hash: Hex; number: Hex; timestamp: Hex; stateRoot: Hex }

/** What one chain said: a block and proofs of several accounts under it. */
export interface RecordedEvidence {
  hardfork: string
  block: RpcBlock
  proofs: RpcProof[]
}

/** Runtime code that stores calldata word 1 in slot calldata word 0. */
export const STORE_CODE = '0x6020356000355500' as const

const word = (value: bigint): string => value.toString(16).padStart(64, '0')

/** The slots that {@link recordEvidence} fills: small, wide, and close together, so that paths share nodes. */
export const RECORDED_SLOTS: readonly (readonly [bigint, bigint])[] = [
  ...Array.from({ length: 40 }, (_, i) => [BigInt(i), BigInt(i) * 0x0101n + 1n] as const),
  [2n ** 256n - 1n, 2n ** 256n - 1n],
  [0x1000n, 0xff00n],
]

/**
 * Deploys the storing contract on the anvil at `url`, fills its slots by transactions, and answers a block with proofs of
 * the contract (slots filled and empty), of a funded account and of an account that does not exist.
 */
export async function recordEvidence(url: string, hardfork: string): Promise<RecordedEvidence> {
  const [from] = await rpc<Hex[]>(url, 'eth_accounts')
  const send = async (transaction: Record<string, unknown>) => {
    const priced = { from, gas: '0x30000', gasPrice: '0x77359400', ...transaction }
    const hash = await rpc<Hex>(url, 'eth_sendTransaction', [priced])
    type Receipt = { contractAddress: Hex | null; status: Hex }
    for (;;) {
      const receipt = await rpc<Receipt | null>(url, 'eth_getTransactionReceipt', [hash])
      if (receipt !== null) return receipt
    }
  }
  // PUSH8 code, MSTORE at 0 (right-aligned, so it starts at 24), RETURN 8 bytes from there.
  const { contractAddress } = await send({ data: `0x67${STORE_CODE.slice(2)}60005260086018f3` })
  for (const [slot, value] of RECORDED_SLOTS) {
    const { status } = await send({ to: contractAddress, data: `0x${word(slot)}${word(value)}` })
    if (status !== '0x1') throw new Error('a store failed')
  }
  const block = await rpc<RpcBlock>(url, 'eth_getBlockByNumber', ['latest', false])
  const slots = [0n, 1n, 7n, 39n, 40n, 0x1000n, 0x1001n, 2n ** 256n - 1n]
  const proofOf = (address: unknown, keys: string[]) =>
    rpc<RpcProof>(url, 'eth_getProof', [address, keys, block.number])
  return {
    hardfork,
    block,
    proofs: [
      await proofOf(
        contractAddress,
        slots.map((slot) => `0x${word(slot)}`),
      ),
      await proofOf(from, [`0x${word(1n)}`]),
      await proofOf('0x00000000000000000000000000000000deadbeef', [`0x${word(1n)}`]),
    ],
  }
}

export const nodesOf = (proof: readonly Hex[]): Uint8Array[] => proof.map((node) => fromHex(node))
