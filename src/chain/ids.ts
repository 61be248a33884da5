import type { Hex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'

/** A CAIP-2 chain id in its two parts, e.g. `eip155` and `31337`. */
export interface ChainId {
  readonly namespace: string
  readonly reference: string
}

/** A CAIP-10 account id: a CAIP-2 chain and an address in that chain's own spelling. */
export interface AccountId {
  readonly chain: string
  readonly address: string
}

const CHAIN = /^([-a-z0-9]{3,8}):([-_a-zA-Z0-9]{1,32})$/
const ADDRESS = /^[-.%a-zA-Z0-9]{1,128}$/
const EVM_ADDRESS = /^0x[0-9a-fA-F]{40}$/

const refuse = (what: string, hint: string): never => {
  throw new DunesError('BAD_CHAIN_ID', `not a ${what}`, { hint })
}

/** CAIP-2 id of an EVM chain. Throws `RangeError` unless `chainId` is an integer from 1 to 2^53 - 1. */
export function evmChain(chainId: number): string {
  if (!Number.isSafeInteger(chainId) || chainId < 1) throw new RangeError(`${chainId} is not an EVM chain id`)
  return `eip155:${chainId}`
}

/** Parts of a CAIP-2 id. Throws `BAD_CHAIN_ID` on any other text. */
export function parseChain(text: string): ChainId {
  const match = CHAIN.exec(text)
  if (!match) return refuse('CAIP-2 chain id', 'write it as namespace:reference, e.g. eip155:31337')
  return { namespace: match[1] as string, reference: match[2] as string }
}

/** The number in an `eip155` chain id. Throws `BAD_CHAIN_ID` for another namespace or a number that is not canonical. */
export function evmChainId(chain: string): number {
  const { namespace, reference } = parseChain(chain)
  const number = Number(reference)
  if (namespace !== 'eip155' || !/^[1-9][0-9]*$/.test(reference) || !Number.isSafeInteger(number))
    return refuse('CAIP-2 id of an EVM chain', 'write it as eip155:<chain id>, e.g. eip155:31337')
  return number
}

/** CAIP-10 id of `address` on `chain`, e.g. `eip155:31337:0xf39f...`. Throws `BAD_CHAIN_ID` where either is malformed. */
export function accountId(chain: string, address: string): string {
  parseChain(chain)
  if (!ADDRESS.test(address))
    return refuse('CAIP-10 address', 'use at most 128 letters, digits, hyphens, dots or %')
  return `${chain}:${address}`
}

/** Parts of a CAIP-10 id. EVM addresses come out in lower case. Throws `BAD_CHAIN_ID` on any other text. */
export function parseAccount(text: string): AccountId {
  const at = text.lastIndexOf(':')
  const chain = text.slice(0, Math.max(at, 0))
  const address = text.slice(at + 1)
  const hint = 'write it as chain:address, e.g. eip155:31337:0x and 40 hex digits'
  if (!CHAIN.test(chain) || !ADDRESS.test(address)) return refuse('CAIP-10 account id', hint)
  if (!chain.startsWith('eip155:')) return { chain, address }
  if (!EVM_ADDRESS.test(address)) return refuse('CAIP-10 account id', hint)
  return { chain, address: address.toLowerCase() }
}

/**
 * The EVM account that `text` names: a bare 0x address, or a CAIP-10 id that must be on `chain`. 20-byte lower-case 0x hex.
 * Throws `BAD_CHAIN_ID`.
 */
export function evmAccount(text: string, chain: string): Hex {
  if (EVM_ADDRESS.test(text)) return text.toLowerCase() as Hex
  const account = parseAccount(text)
  if (account.chain !== chain) return refuse(`account of ${chain}`, `it is on ${account.chain}`)
  return account.address as Hex
}
