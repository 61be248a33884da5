import { createClient, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { getChainId } from 'viem/actions'
import { deployContracts } from '../chain/deploy.ts'
import { refuseDevAccount } from '../chain/dev-accounts.ts'
import { type Hex, isHex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { readKeys, requireKey } from '../keys.ts'
import { DEVNET_POLICY, policyHash } from '../receipt/policy.ts'
import type { Action } from './command.ts'
import { accountKey } from './identity.ts'

const address = (text: string, what: string): Hex => {
  const lower = text.trim().toLowerCase()
  if (isHex(lower, 20)) return lower
  throw new DunesError('ADDRESS_INVALID', `${what} is not an address`, { hint: 'give 0x and 40 hex digits' })
}

const count = (value: unknown, what: string): number => {
  const number = Number(value)
  if (Number.isSafeInteger(number) && number > 0) return number
  throw new DunesError('NUMBER_INVALID', `${what} must be a whole number from 1`, {
    hint: 'see `dunes deploy --help`',
  })
}

/** Deploys both contracts from the contributor's account and prints the settings that `dunes start` needs. */
export const deploy: Action = async (call, _args, options) => {
  const { config } = call
  const rpcUrl = config.rpcUrls[0] as string
  const client = createClient({ transport: http(rpcUrl, { retryCount: 1 }) })
  const chainId = await getChainId(client).catch((cause: unknown) => {
    throw new DunesError('RPC_UNREACHABLE', 'the RPC does not answer', {
      hint: 'check --rpc-urls',
      exitCode: 3,
      cause,
    })
  })
  if (chainId !== config.chainId) {
    throw new DunesError(
      'CHAIN_MISMATCH',
      `the RPC serves chain ${chainId}, the settings say ${config.chainId}`,
      {
        hint: 'pass --chain-id',
      },
    )
  }
  const deployer = privateKeyToAccount(toHex(accountKey(call, options)))
  refuseDevAccount(deployer.address.toLowerCase() as Hex, chainId)
  const anchorKey = requireKey(readKeys(config, call.env), 'anchor', config)
  const anchorer = privateKeyToAccount(toHex(anchorKey)).address.toLowerCase() as Hex
  const admin =
    typeof options['admin'] === 'string'
      ? address(options['admin'], '--admin')
      : (deployer.address.toLowerCase() as Hex)
  const validators = String(options['validators'] ?? '')
    .split(',')
    .filter(Boolean)
    .map((text) => address(text, 'a validator'))
  call.note('Deploying SensorRegistry and ReceiptAnchor ...\n')
  const { registry, anchor, block, codeHashes } = await deployContracts({
    client,
    deployer,
    admin,
    anchorer,
    validators,
    origin: String(options['origin']),
    policyHash: toHex(policyHash(DEVNET_POLICY)),
    quorum: count(options['quorum'], '--quorum'),
    ttl: count(options['ttl'], '--ttl'),
    epochSeconds: count(options['epochSeconds'], '--epoch-seconds'),
  })
  call.result(
    { chainId, registry, anchor, startBlock: block, anchorer, admin, codeHashes },
    (made) =>
      `${JSON.stringify({ rpcUrls: config.rpcUrls, chainId, registry: made.registry, anchor: made.anchor, startBlock: made.startBlock }, null, 2)}\n`,
  )
  call.note(
    `Put this into dunes.config.json. The anchoring account ${anchorer} needs the chain's currency.\n`,
  )
  return undefined
}
