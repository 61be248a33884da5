import { ChainError } from './source.ts'

/** How much is asked of an endpoint. */
export interface RequestBudget {
  /** Calls a second; null for no limit. */
  readonly perSecond: number | null
  /** Requests at once. */
  readonly inFlight: number
}

export interface RpcAddress {
  /** Without its fragment. */
  readonly url: string
  /** Host and port. */
  readonly host: string
  readonly budget: RequestBudget
}

/**
 * Reads an endpoint's address, whose fragment may set a budget of its own: `https://host/key#per-second=25&in-flight=4`. Throws
 * `RPC_UNREACHABLE` where it is no URL or a limit is no number.
 */
export function readRpcAddress(text: string, usual: RequestBudget): RpcAddress {
  const parsed = parseUrl(text)
  const { host } = parsed
  const own = new URLSearchParams(parsed.hash.slice(1))
  parsed.hash = ''
  const read = (name: string, most: number): number | undefined => {
    const limit = own.get(name)
    if (limit === null) return undefined
    if (/^[1-9][0-9]{0,6}$/.test(limit) && Number(limit) <= most) return Number(limit)
    throw new ChainError('RPC_UNREACHABLE', `the ${name} of ${host} is not a number from 1 to ${most}`, {
      hint: 'write it as https://host/#per-second=25&in-flight=4',
    })
  }
  return {
    url: own.size > 0 ? parsed.href : text,
    host,
    budget: {
      perSecond: read('per-second', 1_000_000) ?? usual.perSecond,
      inFlight: read('in-flight', 1_000) ?? usual.inFlight,
    },
  }
}

function parseUrl(text: string): URL {
  try {
    return new URL(text)
  } catch {
    throw new ChainError('RPC_UNREACHABLE', 'an RPC address is not a URL', {
      hint: 'set it to something like http://127.0.0.1:8545',
    })
  }
}
