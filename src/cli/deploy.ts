import { createClient, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { getChainId } from 'viem/actions'
import { deployAnchor, deployContracts } from '../chain/deploy.ts'
import { refuseDevAccount } from '../chain/dev-accounts.ts'
import { type Hex, isHex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { readKeys, requireKey } from '../keys.ts'
import { DEVNET_POLICY, policyHash } from '../receipt/policy.ts'
import { AnchorAdmin } from '../service/anchor-admin.ts'
import type { Action, Invocation, Options } from './command.ts'
import { accountKey } from './identity.ts'
import { lastGoodOf } from './log.ts'

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

/** The registry of a log, and the size and root at which it was last good: the anchored ones unless told. */
async function lastGood(
  { config }: Invocation,
  anchor: Hex,
  options: Options,
): Promise<{ registry: Hex; size: number; root: Hex }> {
  const log = new AnchorAdmin({
    rpcUrl: config.rpcUrls[0] as string,
    chainId: config.chainId,
    anchor,
    privateKey: null,
  })
  return { registry: await log.registry(), ...lastGoodOf(await log.head(), options) }
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
  if (typeof options['successorOf'] === 'string') {
    const old = address(options['successorOf'], '--successor-of')
    const before = await lastGood(call, old, options)
    const { registry } = before
    call.note(`Deploying the successor of ${old} at size ${before.size} ...\n`)
    const { address: anchor, codeHash } = await deployAnchor({
      client,
      deployer,
      admin,
      anchorer,
      registry,
      origin: String(options['origin']),
      policyHash: toHex(policyHash(DEVNET_POLICY)),
      predecessor: { log: old, size: before.size, root: before.root },
    })
    const startBlock = config.startBlock
    call.result(
      {
        chainId,
        registry,
        anchor,
        startBlock,
        anchorer,
        admin,
        codeHashes: { anchor: codeHash },
        predecessor: { log: old, size: before.size, root: before.root },
      },
      (made) =>
        `${JSON.stringify({ rpcUrls: config.rpcUrls, chainId, registry: made.registry, anchor: made.anchor, startBlock: made.startBlock }, null, 2)}\n`,
    )
    call.note(
      `Now close the old log:\n  dunes log close --anchor ${old} --successor ${anchor} --size ${before.size}\n` +
        'and index the new one with these settings and a database of its own.\n',
    )
    return undefined
  }
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
