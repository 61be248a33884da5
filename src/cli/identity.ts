import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createClient, http, parseEther } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { sendTransaction, waitForTransactionReceipt } from 'viem/actions'
import { DEV_CHAIN_ID, devPrivateKey } from '../chain/dev-accounts.ts'
import { accountId, evmChain } from '../chain/ids.ts'
import { type Hex, sha256, toHex } from '../core/bytes.ts'
import type { Config } from '../core/config.ts'
import { DunesError } from '../core/error.ts'
import { createKey, readKey } from '../core/key-file.ts'
import { mlDsa } from '../core/ml-dsa-native.ts'
import { RegistryClient } from '../service/registry-client.ts'
import type { Invocation, Options } from './command.ts'

/** What a new account gets on the devnet, where currency costs nothing. */
const DEVNET_GIFT = parseEther('10')

/** Where a contributor's two keys are looked for: the account that pays, and the key that signs payloads. */
const sources = (config: Config, options: Options) => ({
  account: {
    variable: 'DUNES_ACCOUNT_KEY',
    file: given(options, 'accountKey') ?? join(config.dataDir, 'identity', 'account.key'),
  },
  signing: {
    variable: 'DUNES_SIGNING_KEY',
    file: given(options, 'signingKey') ?? join(config.dataDir, 'identity', 'signing.key'),
  },
})

const given = (options: Options, name: string): string | undefined =>
  typeof options[name] === 'string' ? options[name] : undefined

function requireSecret(
  which: 'account' | 'signing',
  { config, env }: Invocation,
  options: Options,
): Uint8Array {
  const source = sources(config, options)[which]
  // A file named on the command line wins over the environment; the key itself can only come from file or environment.
  const flag = which === 'account' ? 'accountKey' : 'signingKey'
  const key = readKey(source, given(options, flag) ? {} : env)
  if (key) return key
  throw new DunesError('KEY_MISSING', `there is no ${which} key at ${source.file}`, {
    hint: `make both with \`dunes keygen\`, or set ${source.variable}_FILE`,
  })
}

/** The seed (32 bytes) that signs payloads. Throws `KEY_MISSING`, `KEY_EXPOSED`, `KEY_INVALID`. */
export const signingSeed = (call: Invocation, options: Options): Uint8Array =>
  requireSecret('signing', call, options)

/** The private key (32 bytes) of the account that pays. Throws as {@link signingSeed} does. */
export const accountKey = (call: Invocation, options: Options): Uint8Array =>
  requireSecret('account', call, options)

export interface Identity {
  account: Hex
  contributor: string
  keyId: Hex
  files: { account: string; signing: string }
}

/** Makes a contributor's two key files. Throws `KEY_EXISTS` before either is touched. */
export function createIdentity({ config }: Invocation, folder: string | undefined): Identity {
  const at = folder ?? join(config.dataDir, 'identity')
  const files = { account: join(at, 'account.key'), signing: join(at, 'signing.key') }
  for (const file of Object.values(files)) requireAbsent(file)
  const account = privateKeyToAccount(toHex(createKey(files.account))).address.toLowerCase() as Hex
  const seed = createKey(files.signing)
  return {
    account,
    contributor: accountId(evmChain(config.chainId), account),
    keyId: toHex(sha256(mlDsa.publicKey(65, seed))),
    files,
  }
}

/** Looked at for both before either is made, so that no half identity is left behind. */
function requireAbsent(file: string): void {
  if (!existsSync(file)) return
  throw new DunesError('KEY_EXISTS', `there is a file at ${file} already`, {
    hint:
      'a key is never overwritten. On a devnet that was begun again this one is still good: `dunes register` registers it anew. ' +
      'For a second contributor name another folder: `dunes keygen FOLDER`',
  })
}

/** The registry as the contributor's account sees it. On the devnet an empty account is given something to spend. */
export async function openRegistry(call: Invocation, options: Options): Promise<RegistryClient> {
  const { registry, rpcUrls } = call.config
  const rpcUrl = rpcUrls[0]
  if (!registry || !rpcUrl) {
    throw new DunesError('CONTRACTS_MISSING', 'the address of the registry is not known', {
      hint: 'run this where a devnet was started (`npm start`), or set --registry and --rpc-urls',
    })
  }
  const privateKey = toHex(requireSecret('account', call, options))
  const client = await RegistryClient.open({ rpcUrl, registry: registry as Hex, privateKey })
  if (client.chainId !== call.config.chainId) {
    throw new DunesError(
      'CHAIN_MISMATCH',
      `the RPC serves chain ${client.chainId}, the settings say ${call.config.chainId}`,
      {
        hint: 'check --rpc-urls and --chain-id',
      },
    )
  }
  if (client.chainId === DEV_CHAIN_ID && (await client.balance()) === 0n) {
    await giveDevnetCurrency(rpcUrl, client.account)
    call.note(`Devnet: sent 10 ETH to ${client.account}\n`)
  }
  return client
}

/** Sends an account of the devnet something to spend. Off the devnet the sender's key is worth nothing, and it fails. */
export async function giveDevnetCurrency(rpcUrl: string, to: Hex): Promise<void> {
  const client = createClient({
    account: privateKeyToAccount(devPrivateKey(9)),
    transport: http(rpcUrl),
    pollingInterval: 100,
  })
  const hash = await sendTransaction(client, { to, value: DEVNET_GIFT, chain: null })
  await waitForTransactionReceipt(client, { hash })
}
