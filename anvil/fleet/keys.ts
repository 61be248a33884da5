import { join } from 'node:path'
import { privateKeyToAccount } from 'viem/accounts'
import { type Hex, toHex } from '../../src/core/bytes.ts'
import { readOrCreateKey } from '../../src/core/key-file.ts'
import { FLEET_SITES, type Site } from './stations.ts'

/** One simulated contributor and its secrets. */
export interface ContributorKeys {
  readonly number: number
  readonly site: Site
  /** 20-byte lower-case 0x hex. */
  readonly account: Hex
  readonly privateKey: Hex
  /** ML-DSA-65 seeds in the order of their registration: one, or two for the contributor that rotates. */
  readonly seeds: readonly [Uint8Array, ...Uint8Array[]]
}

export interface FleetKeys {
  readonly contributors: readonly ContributorKeys[]
  /** Accounts to admit as validators when the registry is deployed. */
  readonly validators: readonly Hex[]
}

/**
 * The fleet's keys: files below `dir` that only their owner can read, made where they are missing. Throws `KEY_INVALID`,
 * `KEY_EXPOSED` or `KEY_UNREADABLE`.
 */
export function openFleet(dir: string): FleetKeys {
  const key = (name: string) =>
    // Never from the environment: a key that is set there is the user's own.
    readOrCreateKey({ variable: 'DUNES_FLEET_KEY', file: join(dir, 'keys', `${name}.key`) }, {})
  const contributors = FLEET_SITES.map((site, number): ContributorKeys => {
    const prefix = String(number + 1).padStart(2, '0')
    const privateKey = toHex(key(`${prefix}-account`))
    const first = key(`${prefix}-ml-dsa-65`)
    return {
      number,
      site,
      account: privateKeyToAccount(privateKey).address.toLowerCase() as Hex,
      privateKey,
      seeds: site.role === 'rotator' ? [first, key(`${prefix}-ml-dsa-65-next`)] : [first],
    }
  })
  const validators = contributors.filter(({ site }) => site.role === 'validator')
  return { contributors, validators: validators.map(({ account }) => account) }
}
