import { privateKeyToAccount } from 'viem/accounts'
import { sha256, toHex } from '../core/bytes.ts'
import { mlDsa } from '../core/ml-dsa-native.ts'
import { createKeys, keySource, ROLES, type Role, type RoleKeys, readKeys } from '../keys.ts'
import { ed25519Signer, mlDsa44Signer } from '../log/checkpoint.ts'
import { formatVkey } from '../log/vkey.ts'
import type { Action, Invocation } from './command.ts'
import { table } from './text.ts'

/** Stands where the log's origin goes in a verifier key: keys are listed without asking the chain for it. */
const NAME = 'origin'

/** What may be shown of a key: an address, a key id, or the public part of a verifier key. */
function publicPart(role: Role, key: Uint8Array): string {
  switch (role) {
    case 'anchor':
      return `account ${privateKeyToAccount(toHex(key)).address.toLowerCase()}`
    case 'receipt':
      return `ML-DSA-65 key id ${toHex(sha256(mlDsa.publicKey(65, key)))}`
    case 'checkpointEd25519':
      return `Ed25519 ${formatVkey(ed25519Signer(NAME, key).vkey).split('+').at(-1)}`
    case 'checkpointMlDsa44':
      return `ML-DSA-44, SHA-256 of the public key ${toHex(sha256(mlDsa44Signer(NAME, key, mlDsa).vkey.publicKey))}`
  }
}

function show(call: Invocation, keys: RoleKeys): void {
  const rows = (Object.keys(ROLES) as Role[]).map((role) => {
    const key = keys[role]
    const { variable, file } = keySource(call.config, role)
    const from = call.env[variable] ? variable : (call.env[`${variable}_FILE`] ?? file)
    return { role, from: key ? from : null, public: key ? publicPart(role, key) : null }
  })
  call.result(rows, () =>
    rows
      .map((row) =>
        table([
          [row.role, row.public ?? 'missing'],
          ['  from', row.from],
        ]),
      )
      .join(''),
  )
}

/** Makes the keys that are missing and shows all of them. */
export const initKeys: Action = async (call) => {
  show(call, createKeys(call.config, call.env))
  return undefined
}

export const listKeys: Action = async (call) => {
  show(call, readKeys(call.config, call.env))
  return undefined
}
