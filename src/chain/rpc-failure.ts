import { type Hex, isHex } from '../core/bytes.ts'
import { ChainError } from './source.ts'

/** How endpoints say that `eth_getLogs` was asked for too much. There is no code for it that all of them use. */
const TOO_MUCH =
  /query returned more than|more than \d+ (results|logs|blocks)|too many (results|logs|blocks)|block range|range (is )?too|response (size|is too)|too (large|big)|exceeds? (the )?(max|limit|size|range)|exceed(s|ed) .*(results|logs|blocks|range|size)|limited to .*(blocks?|range|results|logs)|time(d)? ?-?out|deadline exceeded/i
/** The same words are used for request budgets; asking for less does not help there. */
const TOO_OFTEN =
  /too many requests|rate ?-?limit|requests? (per|count|rate)|per second|capacity|credits|throughput/i
/** What is asked of a block's state. */
const OF_STATE: ReadonlySet<string> = new Set([
  'eth_call',
  'eth_estimateGas',
  'eth_getBalance',
  'eth_getCode',
  'eth_getProof',
  'eth_getStorageAt',
  'eth_getTransactionCount',
])
/**
 * How endpoints say that they do not have the state of a block: geth, bor ("missing trie node", "historical state … is not available"), reth
 * ("state at block #… is pruned", "exceeds maximum proof window"), Nethermind ("No state available for block"), Besu ("World state
 * unavailable"), Erigon ("old data not available due to pruning", "requested block is too old"), anvil ("BlockOutOfRange"), and providers who
 * sell archives.
 */
const NO_STATE =
  /missing trie node|no state available|\bstate\b.*\b(un|not )available|\bstate\b.*\bpruned|state pruning|due to pruning|state histories|proof window|block is too old|first available state|proofs are available only|block ?out ?of ?range|\barchiv(e|al)\b/i
/** How nodes say that a call ends in a revert: geth's code, or the words alone. */
const REVERTED = { code: 3, text: /execution reverted|vm exception.*revert/i } as const
/** JSON-RPC and EIP-1474 codes that the same call meets every time: parse, request, method, params, unsupported. */
const PERMANENT = new Set([-32700, -32600, -32601, -32602, -32004, 4100, 4200])

interface Link {
  readonly name?: unknown
  readonly code?: unknown
  readonly status?: unknown
  readonly details?: unknown
  readonly data?: unknown
  readonly message?: unknown
  readonly headers?: unknown
  readonly cause?: unknown
}

export interface FailedRequest {
  readonly method: string
  readonly endpoint: string
  /** Cut out of every text: it may hold a key. */
  readonly url: string
}

/**
 * The {@link ChainError} for whatever viem's transport threw: `RPC_RANGE` for what a smaller request would avoid,
 * `RPC_REFUSED` for JSON-RPC errors, `RPC_UNREACHABLE` for the rest. viem's own error is not kept as the cause, because its
 * message holds the URL and the whole request.
 */
export function rpcFailure(thrown: unknown, request: FailedRequest): ChainError {
  const links: Link[] = []
  for (
    let link = thrown;
    link !== null && typeof link === 'object' && links.length < 8;
    link = (link as Link).cause
  )
    links.push(link as Link)
  const named = (name: string) => links.some((link) => link.name === name)
  const status = links.map((link) => link.status).find((value) => typeof value === 'number')
  const code = links.map((link) => link.code).find((value) => typeof value === 'number' && value !== -1)
  const text = scrub(
    links.map((link) => link.details ?? link.message).find((value) => typeof value === 'string'),
    request,
  )
  const base = { method: request.method, endpoint: request.endpoint }
  const logs = request.method === 'eth_getLogs'

  if (named('ResponseBodyTooLargeError') || status === 413) {
    return new ChainError(
      'RPC_RANGE',
      `${request.endpoint} has an answer to ${request.method} that is too long`,
      {
        hint: 'ask for fewer blocks at once',
        retryable: true,
        details: { ...base, tooLong: true },
      },
    )
  }
  if (named('TimeoutError')) {
    return new ChainError(
      logs ? 'RPC_RANGE' : 'RPC_UNREACHABLE',
      `${request.endpoint} did not answer ${request.method} in time`,
      {
        hint: 'check that the endpoint is up and not overloaded',
        retryable: true,
        details: { ...base, timeout: true },
      },
    )
  }
  if (typeof code === 'number') {
    const often = status === 429 || code === 429 || TOO_OFTEN.test(text)
    if (logs && !often && TOO_MUCH.test(text)) {
      return new ChainError('RPC_RANGE', `${request.endpoint} refuses so long a range: ${text}`, {
        hint: 'ask for fewer blocks at once',
        retryable: true,
        details: { ...base, code },
      })
    }
    const revert = code === REVERTED.code || REVERTED.text.test(text)
    // Neither a call that reverts nor a transaction that is not taken says anything against the endpoint.
    const answered = revert || request.method === 'eth_sendRawTransaction'
    if (!often && !answered && OF_STATE.has(request.method) && NO_STATE.test(text)) {
      return new ChainError(
        'RPC_REFUSED',
        `${request.endpoint} does not have the state for ${request.method}: ${text}`,
        {
          hint: 'ask for a newer block, or add an endpoint that keeps the state of all blocks (an archive node)',
          details: { ...base, code, noState: true },
        },
      )
    }
    return new ChainError('RPC_REFUSED', `${request.endpoint} refuses ${request.method}: ${text}`, {
      hint: often
        ? 'the request budget is used up; add endpoints or poll less often'
        : 'check what the endpoint supports',
      retryable: often || !(answered || PERMANENT.has(code)),
      details: { ...base, code, ...(revert && { revert: revertData(links) }), ...retryAfter(links) },
    })
  }
  const how =
    typeof status === 'number'
      ? `answers ${request.method} with HTTP status ${status}`
      : `cannot be reached: ${text}`
  return new ChainError('RPC_UNREACHABLE', `${request.endpoint} ${how}`, {
    hint: 'check the RPC address, its credentials and the network',
    retryable: true,
    details: { ...base, ...(typeof status === 'number' && { status }), ...retryAfter(links) },
  })
}

/** Whether an endpoint said that it does not have a block's state, which another may have. */
export const lacksState = (error: unknown): boolean =>
  error instanceof ChainError && error.details['noState'] === true

/** What a contract gave back when it reverted, as 0x hex; `0x` where the endpoint does not say. */
function revertData(links: readonly Link[]): Hex {
  for (const { data } of links) {
    const inner = typeof data === 'object' && data !== null ? (data as Link).data : data
    if (isHex(inner)) return inner
  }
  return '0x'
}

function scrub(text: unknown, request: FailedRequest): string {
  const whole = typeof text === 'string' ? text : 'no reason given'
  return whole.replaceAll(request.url, request.endpoint).split('\n')[0]?.slice(0, 300) ?? ''
}

/** Seconds form of `Retry-After` (RFC 9110 section 10.2.3), the one that RPC providers send. */
function retryAfter(links: readonly Link[]): { retryAfterMs?: number } {
  for (const { headers } of links) {
    if (!(headers instanceof Headers)) continue
    const seconds = Number(headers.get('retry-after') ?? Number.NaN)
    if (Number.isFinite(seconds) && seconds > 0) return { retryAfterMs: seconds * 1000 }
  }
  return {}
}
