import { type HttpTransportConfig, http } from 'viem'
import type { Clock } from '../core/clock.ts'
import { systemClock } from '../core/clock.ts'
import { backoffMs } from './backoff.ts'
import { rpcFailure } from './rpc-failure.ts'
import { ChainError } from './source.ts'

export interface RpcSettings {
  /** JSON-RPC over HTTP(S), at least one; the next one is taken when one fails. They may hold credentials: never logged. */
  readonly urls: readonly string[]
  /** What `eth_chainId` must answer. */
  readonly chainId: number
  /** Milliseconds for one request with its body, 10,000 unless told. */
  readonly timeoutMs?: number
  /** Calls in one HTTP request, 50 unless told; 1 for endpoints that refuse batches. */
  readonly batchSize?: number
  /** Longest accepted answer in bytes, 10 MiB unless told. */
  readonly maxBodyBytes?: number
}

/** One request, for logs and metrics. */
export interface RpcReport {
  readonly method: string
  /** Host and port of the endpoint, never its path or credentials. */
  readonly endpoint: string
  readonly calls: number
  readonly ms: number
  /** Null when it succeeded. */
  readonly error: ChainError | null
}

export interface RpcDeps {
  readonly clock?: Clock
  /** Numbers in [0, 1) for the jitter. */
  readonly random?: () => number
  readonly report?: (report: RpcReport) => void
}

export interface CallOptions {
  readonly signal?: AbortSignal
  /** Attempts in all while a retry can help, 3 unless told. Between them the endpoint changes and the wait doubles. */
  readonly tries?: number
  /** Accept answers of up to 128 MiB: for requests that cannot be made smaller. */
  readonly large?: boolean
}

export interface RpcCall {
  readonly method: string
  readonly params: readonly unknown[]
}

/**
 * JSON-RPC to one chain through one endpoint at a time. Results are as the endpoint gave them, unchecked. All methods throw
 * {@link ChainError}: `CHAIN_MISMATCH`, `RPC_UNREACHABLE`, `RPC_REFUSED`, `RPC_RANGE`; or the signal's reason when it aborts.
 */
export interface Rpc {
  readonly chainId: number
  /** Host and port of the endpoint in use. */
  endpoint(): string
  call(method: string, params: readonly unknown[], options?: CallOptions): Promise<unknown>
  /** Several calls in as few requests as the batch size allows; results in order. Fails as a whole. */
  callMany(calls: readonly RpcCall[], options?: CallOptions): Promise<unknown[]>
  /** Takes the next endpoint, when there are several: for a caller that found this one's answers wrong. */
  leave(): void
}

const DEFAULTS = { timeoutMs: 10_000, batchSize: 50, maxBodyBytes: 10 * 1024 * 1024 } as const
const LARGE_BODY_BYTES = 128 * 1024 * 1024
/** Requests in flight at once where batches are off. */
const UNBATCHED_AT_ONCE = 8

type Request = (call: RpcCall, options: { signal?: AbortSignal }) => Promise<unknown>

interface Endpoint {
  readonly url: string
  readonly host: string
  readonly single: Request
  readonly batched: Request
  readonly large: Request
  /** Whether its chain id was checked since its last failure: another chain may come up behind the same address. */
  checked: boolean
}

const hostOf = (url: string): string => {
  try {
    return new URL(url).host
  } catch {
    throw new ChainError('RPC_UNREACHABLE', 'an RPC address is not a URL', {
      hint: 'set it to something like http://127.0.0.1:8545',
    })
  }
}

/** Opens no connection by itself. Throws `RPC_UNREACHABLE` where `urls` is empty or holds something that is no URL. */
export function createRpc(settings: RpcSettings, deps: RpcDeps = {}): Rpc {
  const { timeoutMs, batchSize, maxBodyBytes } = { ...DEFAULTS, ...settings }
  const clock = deps.clock ?? systemClock
  const random = deps.random ?? Math.random

  const open = (url: string, config: HttpTransportConfig): Request => {
    const transport = http(url, { ...config, retryCount: 0, timeout: timeoutMs })({ retryCount: 0 })
    return transport.request as Request
  }
  const endpoints = settings.urls.map((url): Endpoint => {
    const batch = batchSize > 1 && { batch: { batchSize, wait: 0 } }
    return {
      url,
      host: hostOf(url),
      single: open(url, { maxResponseBodySize: maxBodyBytes }),
      batched: open(url, { maxResponseBodySize: maxBodyBytes, ...batch }),
      large: open(url, { maxResponseBodySize: LARGE_BODY_BYTES }),
      checked: false,
    }
  })
  if (endpoints.length === 0)
    throw new ChainError('RPC_UNREACHABLE', 'no RPC address is set', { hint: 'set at least one RPC URL' })
  let current = 0
  const now = (): Endpoint => endpoints[current] as Endpoint

  const leave = () => {
    now().checked = false
    current = (current + 1) % endpoints.length
  }

  const request = async <T>(
    endpoint: Endpoint,
    method: string,
    calls: number,
    send: () => Promise<T>,
    signal?: AbortSignal,
  ) => {
    const start = clock.now()
    try {
      signal?.throwIfAborted()
      const result = await send()
      deps.report?.({ method, endpoint: endpoint.host, calls, ms: clock.now() - start, error: null })
      return result
    } catch (cause) {
      if (signal?.aborted) throw signal.reason
      const error = rpcFailure(cause, { method, endpoint: endpoint.host, url: endpoint.url })
      deps.report?.({ method, endpoint: endpoint.host, calls, ms: clock.now() - start, error })
      throw error
    }
  }

  const check = async (endpoint: Endpoint, options: { signal?: AbortSignal }) => {
    if (endpoint.checked) return
    const send = () => endpoint.single({ method: 'eth_chainId', params: [] }, options)
    const answer = await request(endpoint, 'eth_chainId', 1, send, options.signal)
    if (Number(answer) !== settings.chainId) {
      throw new ChainError(
        'CHAIN_MISMATCH',
        `${endpoint.host} serves chain ${Number(answer)}, not ${settings.chainId}`,
        {
          hint: 'correct the RPC address or the chain id in the settings',
          details: { expected: settings.chainId, found: String(answer) },
        },
      )
    }
    endpoint.checked = true
  }

  const attempts = async <T>(options: CallOptions, work: (endpoint: Endpoint) => Promise<T>): Promise<T> => {
    const signal = options.signal ? { signal: options.signal } : {}
    for (let attempt = 1; ; attempt++) {
      const endpoint = now()
      try {
        await check(endpoint, signal)
        return await work(endpoint)
      } catch (error) {
        const retry = error instanceof ChainError && error.retryable && error.code !== 'RPC_RANGE'
        if (!retry) throw error
        // Another call may have left this endpoint already.
        if (endpoint === now()) leave()
        if (attempt >= (options.tries ?? 3)) throw error
        await clock.sleep(backoffMs(attempt, random, retryAfterMs(error)), options.signal)
      }
    }
  }

  return {
    chainId: settings.chainId,
    endpoint: () => now().host,
    leave,
    call: (method, params, options = {}) =>
      attempts(options, (endpoint) => {
        const send = options.large ? endpoint.large : endpoint.single
        const signal = options.signal ? { signal: options.signal } : {}
        return request(endpoint, method, 1, () => send({ method, params }, signal), options.signal)
      }),
    callMany: (calls, options = {}) =>
      attempts(options, async (endpoint) => {
        const size = batchSize > 1 ? batchSize : UNBATCHED_AT_ONCE
        const signal = options.signal ? { signal: options.signal } : {}
        const out: unknown[] = []
        for (let i = 0; i < calls.length; i += size) {
          const chunk = calls.slice(i, i + size)
          const send = () => Promise.all(chunk.map((call) => endpoint.batched(call, signal)))
          out.push(...(await request(endpoint, chunk[0]?.method ?? '', chunk.length, send, options.signal)))
        }
        return out
      }),
  }
}

/** What the endpoint asked for in a `Retry-After` header, in milliseconds; 0 when it asked for nothing. */
export function retryAfterMs(error: unknown): number {
  const asked = error instanceof ChainError ? error.details['retryAfterMs'] : undefined
  return typeof asked === 'number' ? asked : 0
}
