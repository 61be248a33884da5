import { DEV_CHAIN_ID, devPrivateKey } from '../chain/dev-accounts.ts'
import { type Hex, toHex } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import { readKey } from '../core/key-file.ts'
import { AnchorAdmin } from '../service/anchor-admin.ts'
import type { Invocation, Options } from './command.ts'

/**
 * ReceiptAnchor with the administrator's key, where that is at hand: a file that --admin-key names, `DUNES_ADMIN_KEY` or
 * `DUNES_ADMIN_KEY_FILE`, and on the devnet the one that everybody knows. Throws `CONTRACTS_MISSING`, and what reading a key throws.
 */
export function openAnchorAdmin(call: Invocation, options: Options): AnchorAdmin {
  const { anchor, rpcUrls, chainId } = call.config
  const rpcUrl = rpcUrls[0]
  if (!anchor || !rpcUrl)
    throw new DunesError('CONTRACTS_MISSING', 'the address of the anchor contract is not known', {
      hint: 'run this where a devnet was started (`npm start`), or set --anchor and --rpc-urls',
    })
  const named = typeof options['adminKey'] === 'string' ? options['adminKey'] : undefined
  const key = readKey({ variable: 'DUNES_ADMIN_KEY', file: named }, named === undefined ? call.env : {})
  if (named !== undefined && !key)
    throw new DunesError('KEY_MISSING', `there is no key at ${named}`, { hint: 'check the path' })
  const privateKey = key ? toHex(key) : chainId === DEV_CHAIN_ID ? devPrivateKey(0) : null
  return new AnchorAdmin({ rpcUrl, chainId, anchor: anchor as Hex, privateKey })
}
