import { mnemonicToAccount } from 'viem/accounts'
import { type Hex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'

/** The mnemonic of every development node: its keys are public knowledge. */
export const DEV_MNEMONIC = 'test test test test test test test test test test test junk'
/** The chain id of a local development node, the only one on which those keys are accepted. */
export const DEV_CHAIN_ID = 31337
/** How many accounts of the mnemonic are recognised. */
const KNOWN_ACCOUNTS = 20

/** Private key (32 bytes as 0x hex) of the mnemonic's account number `index`. */
export function devPrivateKey(index: number): Hex {
  const key = mnemonicToAccount(DEV_MNEMONIC, { addressIndex: index }).getHdKey().privateKey
  return toHex(key as Uint8Array)
}

/** Address (20-byte lower-case hex) of the mnemonic's account number `index`. */
export const devAccount = (index: number): Hex =>
  mnemonicToAccount(DEV_MNEMONIC, { addressIndex: index }).address.toLowerCase() as Hex

let known: ReadonlySet<string> | null = null

/** Throws `DEV_KEY_REFUSED` when `account` is a public development account and `chainId` is not the devnet's. */
export function refuseDevAccount(account: Hex, chainId: number): void {
  if (chainId === DEV_CHAIN_ID) return
  known ??= new Set(Array.from({ length: KNOWN_ACCOUNTS }, (_, i) => devAccount(i)))
  if (!known.has(account.toLowerCase())) return
  throw new DunesError('DEV_KEY_REFUSED', `${account} is a development account whose key everybody knows`, {
    hint: `use a key of your own on chain ${chainId}; \`dunes keygen\` makes one`,
  })
}
