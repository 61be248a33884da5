import { keccak_256 } from '@noble/hashes/sha3.js'
import { decodeFunctionResult, encodeFunctionData } from 'viem'
import { receiptAnchorAbi } from '../chain/abi.ts'
import { getBlock, getHeader, getProof, inconsistent, quantity } from '../chain/blocks.ts'
import type { RawHeader } from '../chain/header.ts'
import type { PinnedRpc, RpcPool } from '../chain/rpc.ts'
import { anchorSlots, decodeAnchorClosed, decodeAnchorCounts } from '../chain/slots.ts'
import { ChainError } from '../chain/source.ts'
import { equalBytes, fromHex, type Hex } from '../core/bytes.ts'
import { decodeRlp, rlpList, rlpUint } from '../proof/rlp.ts'
import { verifyAccount, verifySlot, verifyTrieProof } from '../proof/trie.ts'
import { askEach } from './each.ts'
import type { AnchorState } from './port.ts'

/** Whose state is read: the contract, and the account that anchors. */
export interface Where {
  readonly anchor: Hex
  readonly account: Hex
}

/** Blocks by which the endpoints that are asked may be apart: an old state is not to be taken for the newest. */
const MOST_APART = 5

/**
 * The newest state by all endpoints that are well. Where they all say the same it is that. Where not, one lies or is a little behind: then it
 * is the state at the newest block that all of them have, proved under that block's hash, and who says otherwise of that block is blamed. So a
 * single endpoint that lies can hold the log up at most, and never make it signed or anchored against the chain. Throws `ChainError`.
 */
export async function readState(pool: RpcPool, where: Where): Promise<AnchorState> {
  const said = await askEach(pool.well(), (rpc) => sayState(rpc, where, 'latest'))
  const [first] = said
  if (first && said.every(({ value }) => sameState(value, first.value))) return first.value
  return proveState(
    said.map(({ rpc }) => rpc),
    where,
  )
}

/** What an endpoint says of a block's state, in one request. */
async function sayState(rpc: PinnedRpc, where: Where, block: 'latest' | number): Promise<AnchorState> {
  const at = block === 'latest' ? block : quantity(block)
  const call = (functionName: 'head' | 'closure') => ({
    method: 'eth_call',
    params: [{ to: where.anchor, data: encodeFunctionData({ abi: receiptAnchorAbi, functionName }) }, at],
  })
  const [head, closure, nonce] = await rpc.callMany(
    [call('head'), call('closure'), { method: 'eth_getTransactionCount', params: [where.account, at] }],
    { tries: 1 },
  )
  try {
    const abi = receiptAnchorAbi
    const [root, size] = decodeFunctionResult({ abi, functionName: 'head', data: head as Hex })
    const [closed, successor, lastGoodSize] = decodeFunctionResult({
      abi,
      functionName: 'closure',
      data: closure as Hex,
    })
    const next = successor.toLowerCase() as Hex
    return {
      size: Number(size),
      root: fromHex(root, 32),
      closure: closed
        ? { lastGoodSize: Number(lastGoodSize), successor: BigInt(next) === 0n ? null : next }
        : null,
      nonce: Number(BigInt(nonce as Hex)),
    }
  } catch {
    throw inconsistent(`${rpc.endpoint()} says of the log what cannot be read`)
  }
}

type Proved = Pick<AnchorState, 'size' | 'root' | 'nonce'> & { closed: boolean }

/** The state at the newest block that all these endpoints have, by proof. Blames who says otherwise of that block. */
async function proveState(rpcs: readonly PinnedRpc[], where: Where): Promise<AnchorState> {
  const newest = await askEach(rpcs, (rpc) => getBlock(rpc, 'latest', { tries: 1 }))
  const heights = newest.map(({ value }) => value?.number ?? 0)
  const number = Math.min(...heights)
  if (Math.max(...heights) - number > MOST_APART)
    throw inconsistent(`the endpoints are more than ${MOST_APART} blocks apart, and disagree about the log`)
  const headers = await askEach(
    newest.map(({ rpc }) => rpc),
    (rpc) => getHeader(rpc, number, { tries: 1 }),
  )
  const [header] = headers.map(({ value }) => value)
  // A header that one endpoint alone has shown proves nothing against another endpoint.
  if (!header || headers.length < 2 || headers.some(({ value }) => value?.hash !== header.hash))
    throw inconsistent(`the endpoints have different blocks ${number}, and disagree about the log`)
  const proved = await firstProof(
    headers.map(({ rpc }) => rpc),
    where,
    number,
    header,
  )
  const said = await askEach(rpcs, (rpc) => sayState(rpc, where, number))
  const wrong = said.filter(({ value }) => !isProved(value, proved))
  for (const { rpc } of wrong)
    rpc.blame(inconsistent(`${rpc.endpoint()} says another state of the log than block ${number} has`))
  const right = said.find(({ value }) => isProved(value, proved))
  if (!right) throw inconsistent(`no endpoint says of the log what block ${number} has`)
  return right.value
}

/** The first proof that holds under the header. Blames whose proof does not; one that has none to give says nothing. */
async function firstProof(
  rpcs: readonly PinnedRpc[],
  where: Where,
  number: number,
  header: RawHeader,
): Promise<Proved> {
  let failure: unknown
  for (const rpc of rpcs) {
    try {
      return await readProof(rpc, where, number, fromHex(header.stateRoot, 32))
    } catch (error) {
      if (!(error instanceof ChainError))
        rpc.blame(inconsistent(`${rpc.endpoint()} has a proof of another state than block ${number} has`))
      failure = error
    }
  }
  throw failure instanceof ChainError
    ? failure
    : inconsistent(`no endpoint proves the state of block ${number}`)
}

async function readProof(
  rpc: PinnedRpc,
  { anchor, account }: Where,
  number: number,
  stateRoot: Uint8Array,
): Promise<Proved> {
  const slots = [anchorSlots.root(), anchorSlots.counts()]
  const [contract, sender] = await Promise.all([
    getProof(rpc, anchor, slots, number, { tries: 1 }),
    getProof(rpc, account, [], number, { tries: 1 }),
  ])
  const storage = verifyAccount(stateRoot, fromHex(anchor, 20), nodes(contract.accountProof))
  if (!storage) throw inconsistent(`there is no contract at ${anchor} in block ${number}`)
  const [root, counts] = slots.map((slot, i) =>
    verifySlot(storage.storageRoot, fromHex(slot), nodes(contract.storageProof[i]?.proof ?? [])),
  ) as [Uint8Array, Uint8Array]
  const found = verifyTrieProof(stateRoot, keccak_256(fromHex(account, 20)), nodes(sender.accountProof))
  return {
    size: decodeAnchorCounts(counts).size,
    root,
    closed: decodeAnchorClosed(counts),
    nonce: found === null ? 0 : Number(rlpUint(rlpList(decodeRlp(found), 'an account', 4)[0], 'a nonce', 8)),
  }
}

const nodes = (proof: readonly Hex[]): Uint8Array[] => proof.map((node) => fromHex(node))

const sameState = (a: AnchorState, b: AnchorState): boolean =>
  a.size === b.size &&
  equalBytes(a.root, b.root) &&
  a.nonce === b.nonce &&
  a.closure?.lastGoodSize === b.closure?.lastGoodSize &&
  a.closure?.successor === b.closure?.successor

const isProved = (said: AnchorState, proved: Proved): boolean =>
  said.size === proved.size &&
  equalBytes(said.root, proved.root) &&
  said.nonce === proved.nonce &&
  (said.closure !== null) === proved.closed
