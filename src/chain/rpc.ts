import { type HttpTransportConfig, http } from 'viem'
import type { Clock } from '../core/clock.ts'
import { systemClock } from '../core/clock.ts'
import { backoffMs } from './backoff.ts'
import { EndpointHealth, type EndpointStatus, FIT } from './endpoint.ts'
import { type CompareOptions, Heads } from './heads.ts'
import { readRpcAddress } from './rpc-address.ts'
import { lacksState, rpcFailure } from './rpc-failure.ts'
import { ChainError } from './source.ts'

export interface RpcSettings {
  /**
   * JSON-RPC over HTTP(S), at least one: the first that is well is used. They may hold credentials: never logged. A fragment, which is not
   * sent, sets an endpoint's own budget: `https://host/key#per-second=25&in-flight=4`.
   */
  readonly urls: readonly string[]
  /** Calls a second to each endpoint; no limit unless told. */
  readonly perSecond?: number | null
  /** Requests at once to each endpoint, 16 unless told. */
  readonly inFlight?: number
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
  /** How the endpoint is doing after this request. */
  readonly status: EndpointStatus
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
 * JSON-RPC to one chain. Results are as the endpoint gave them, unchecked. All methods throw {@link ChainError}: `CHAIN_MISMATCH`,
 * `RPC_UNREACHABLE`, `RPC_REFUSED`, `RPC_RANGE`; or the signal's reason when it aborts.
 */
export interface Rpc {
  readonly chainId: number
  /** Host and port of the endpoint in use. */
  endpoint(): string
  call(method: string, params: readonly unknown[], options?: CallOptions): Promise<unknown>
  /** Several calls in as few requests as the batch size allows; results in order. Fails as a whole. */
  callMany(calls: readonly RpcCall[], options?: CallOptions): Promise<unknown[]>
}

/** One endpoint of several: for answers that must come from the same place. It is used even while it is left alone. */
export interface PinnedRpc extends Rpc {
  /** Notes that this endpoint's answers cannot be true, so that others are used for a while. The same error counts once. */
  blame(error: ChainError): void
  /** The best other endpoint that is well, to ask the same again; null where there is none. */
  elsewhere(): PinnedRpc | null
}

/** All endpoints of a chain. Each call goes to the first that is well; where none is, to the one that comes back first. */
export interface RpcPool extends Rpc {
  /** The endpoint that the next call would take; with `spread` the one that can answer soonest within its budget. */
  pin(options?: { spread?: boolean }): PinnedRpc
  /** One pin for each endpoint, in their order. */
  all(): PinnedRpc[]
  /** One pin for each endpoint that can be asked now, late or not, in their order. */
  usable(): PinnedRpc[]
  /** One pin for each endpoint that is well and not behind, in their order; where none is, for the one that comes back first. */
  well(): PinnedRpc[]
  endpoints(): EndpointStatus[]
  /** Whether some endpoint can be asked now. */
  ready(): boolean
  /** Whether every endpoint was found to serve another chain. */
  foreign(): boolean
  /**
   * Asks all endpoints that are well for their newest block at once, so that one that lags is noticed. A height is only a number: who is far
   * ahead of another has to show the block, or is left. Never throws.
   */
  compareHeads(options?: CompareOptions): Promise<void>
}

const DEFAULTS = { timeoutMs: 10_000, batchSize: 50, maxBodyBytes: 10 * 1024 * 1024, inFlight: 16 } as const
const LARGE_BODY_BYTES = 128 * 1024 * 1024
/** Requests in flight at once where batches are off. */
const UNBATCHED_AT_ONCE = 8
type Request = (call: RpcCall, options: { signal?: AbortSignal }) => Promise<unknown>

interface Endpoint {
  /** Without its fragment. */
  readonly url: string
  readonly health: EndpointHealth
  readonly single: Request
  readonly batched: Request
  readonly large: Request
  /** Whether its chain id was checked since its last failure: another chain may come up behind the same address. */
  checked: boolean
  /** The last check found another chain. */
  foreign: ChainError | null
}

/** Opens no connection by itself. Throws `RPC_UNREACHABLE` where `urls` is empty or holds something that is no URL. */
export function createRpc(settings: RpcSettings, deps: RpcDeps = {}): RpcPool {
  const { timeoutMs, batchSize, maxBodyBytes } = { ...DEFAULTS, ...settings }
  const clock = deps.clock ?? systemClock
  const random = deps.random ?? Math.random
  /** Errors that were held against their endpoint already. */
  const counted = new WeakSet<ChainError>()

  const open = (url: string, config: HttpTransportConfig): Request => {
    const transport = http(url, { ...config, retryCount: 0, timeout: timeoutMs })({ retryCount: 0 })
    return transport.request as Request
  }
  const hosts = new Map<string, number>()
  const endpoints = settings.urls.map((text): Endpoint => {
    const { url, host, budget } = readRpcAddress(text, {
      perSecond: settings.perSecond ?? null,
      inFlight: settings.inFlight ?? DEFAULTS.inFlight,
    })
    const batch = batchSize > 1 && { batch: { batchSize, wait: 0 } }
    // Two addresses of one host differ in what must not be shown.
    const seen = (hosts.get(host) ?? 0) + 1
    hosts.set(host, seen)
    const name = seen === 1 ? host : `${host} (${seen})`
    return {
      url,
      health: new EndpointHealth(name, budget, clock, random),
      single: open(url, { maxResponseBodySize: maxBodyBytes }),
      batched: open(url, { maxResponseBodySize: maxBodyBytes, ...batch }),
      large: open(url, { maxResponseBodySize: LARGE_BODY_BYTES }),
      checked: false,
      foreign: null,
    }
  })
  if (endpoints.length === 0)
    throw new ChainError('RPC_UNREACHABLE', 'no RPC address is set', { hint: 'set at least one RPC URL' })
  const heads = new Heads(endpoints.length)

  const failed = (endpoint: Endpoint, error: ChainError, calls: number) => {
    if (counted.has(error)) return
    counted.add(error)
    endpoint.checked = false
    endpoint.health.failed(error, calls, retryAfterMs(error))
  }
  const lied = (endpoint: Endpoint, error: ChainError) => {
    if (counted.has(error)) return
    counted.add(error)
    endpoint.checked = false
    endpoint.health.lied(error)
    heads.pardon(endpoint.health)
  }

  const request = async <T>(
    endpoint: Endpoint,
    method: string,
    calls: number,
    send: () => Promise<T>,
    signal?: AbortSignal,
  ) => {
    const { health } = endpoint
    signal?.throwIfAborted()
    await health.budget.take(calls, signal)
    const start = clock.now()
    const report = (error: ChainError | null) =>
      deps.report?.({
        method,
        endpoint: health.name,
        calls,
        ms: clock.now() - start,
        error,
        status: health.status(),
      })
    try {
      const result = await send()
      health.succeeded(calls, clock.now() - start, method !== 'eth_chainId')
      report(null)
      return result
    } catch (cause) {
      if (signal?.aborted) throw signal.reason
      const error = rpcFailure(cause, { method, endpoint: health.name, url: endpoint.url })
      // What it does not keep is never held against it.
      if (lacksState(error)) counted.add(error)
      // A range that is too long is no fault of the endpoint's, but one that does not answer may hang altogether.
      if (error.code === 'RPC_RANGE' ? error.details['timeout'] === true : error.retryable)
        failed(endpoint, error, calls)
      else health.succeeded(calls, clock.now() - start)
      report(error)
      throw error
    } finally {
      health.budget.done()
    }
  }

  const check = async (endpoint: Endpoint, options: { signal?: AbortSignal }) => {
    if (endpoint.checked) return
    const send = () => endpoint.single({ method: 'eth_chainId', params: [] }, options)
    const answer = await request(endpoint, 'eth_chainId', 1, send, options.signal)
    if (Number(answer) !== settings.chainId) {
      const error = new ChainError(
        'CHAIN_MISMATCH',
        `${endpoint.health.name} serves chain ${Number(answer)}, not ${settings.chainId}`,
        {
          hint: 'correct the RPC address or the chain id in the settings',
          details: { expected: settings.chainId, found: String(answer) },
        },
      )
      endpoint.foreign = error
      lied(endpoint, error)
      throw error
    }
    endpoint.checked = true
    endpoint.foreign = null
  }

  /** Asks an endpoint that was left alone how it is, beside everything else. */
  const tryAgain = async (endpoint: Endpoint) => {
    const { health } = endpoint
    health.trying()
    try {
      endpoint.checked = false
      await check(endpoint, {})
      await newestOf(endpoint)
      health.close()
    } catch (error) {
      // A failed request has been counted; whatever else it says, it is not well.
      if (error instanceof ChainError) failed(endpoint, error, 0)
    }
  }

  const newestOf = async (endpoint: Endpoint, signal?: AbortSignal): Promise<number> => {
    const options = signal ? { signal } : {}
    const send = () => endpoint.single({ method: 'eth_blockNumber', params: [] }, options)
    const answer = await request(endpoint, 'eth_blockNumber', 1, send, signal)
    const number = Number(answer)
    if (typeof answer !== 'string' || !Number.isSafeInteger(number))
      throw new ChainError('RPC_INCONSISTENT', `${endpoint.health.name} has no newest block`, {
        retryable: true,
      })
    endpoint.health.head = number
    return number
  }

  /** The endpoint to ask now; one of `not` only where there is no other. */
  const choose = (spread: boolean, not: ReadonlySet<Endpoint> = new Set()): Endpoint => {
    const others = endpoints.filter((endpoint) => !not.has(endpoint))
    const list = others.length > 0 ? others : endpoints
    if (endpoints.length > 1) for (const endpoint of list) if (endpoint.health.due) void tryAgain(endpoint)
    const usable = list.filter(({ health }) => health.usable)
    const level = usable.filter(({ health }) => !health.lagging)
    const fit = level.filter(({ health }) => health.score >= FIT)
    const best = [fit, level, usable].find((some) => some.length > 0)
    if (best) {
      const [first] = best as [Endpoint]
      if (!spread) return first
      return best.reduce((a, b) => (b.health.budget.waitMs < a.health.budget.waitMs ? b : a), first)
    }
    // None is well: the one that is to be tried first.
    return list.reduce((a, b) => (b.health.until < a.health.until ? b : a))
  }

  const attempts = async <T>(
    options: CallOptions,
    pinned: Endpoint | null,
    work: (endpoint: Endpoint) => Promise<T>,
  ): Promise<T> => {
    const signal = options.signal ? { signal: options.signal } : {}
    const tries = options.tries ?? 3
    /** Those that do not have the state that is asked for, and what the first of them said. */
    const lacking = new Map<Endpoint, ChainError>()
    for (let attempt = 1; ; attempt++) {
      const endpoint = pinned ?? choose(false, new Set(lacking.keys()))
      try {
        await check(endpoint, signal)
        const result = await work(endpoint)
        // Where it is the only one, nobody else finds out that it is well again.
        if (endpoints.length === 1 && endpoint.health.state !== 'closed') endpoint.health.close()
        return result
      } catch (error) {
        if (!(error instanceof ChainError)) throw error
        const lacks = lacksState(error)
        // One that stands for many, behind a balancer, may have it a moment later.
        const again = lacks && endpoints.length === 1
        if (lacks && !again) lacking.set(endpoint, error)
        const elsewhere =
          pinned === null &&
          !again &&
          (lacks || error.code === 'CHAIN_MISMATCH') &&
          endpoints.some((other) => other.foreign === null && !lacking.has(other))
        const retry = elsewhere || again || (error.retryable && error.code !== 'RPC_RANGE')
        const [lack = error] = lacking.values()
        if (!retry) throw error.code === 'CHAIN_MISMATCH' ? lack : error
        if (attempt >= tries + lacking.size + (elsewhere ? endpoints.length : 0)) throw error
        const next = pinned ?? choose(false, new Set(lacking.keys()))
        if (next !== endpoint && next.health.usable) continue
        await clock.sleep(backoffMs(attempt, random, retryAfterMs(error)), options.signal)
      }
    }
  }

  const rpcOf = (pinned: Endpoint | null): Rpc => ({
    chainId: settings.chainId,
    endpoint: () => (pinned ?? choose(false)).health.name,
    call: (method, params, options = {}) =>
      attempts(options, pinned, (endpoint) => {
        const send = options.large ? endpoint.large : endpoint.single
        const signal = options.signal ? { signal: options.signal } : {}
        return request(endpoint, method, 1, () => send({ method, params }, signal), options.signal)
      }),
    callMany: (calls, options = {}) =>
      attempts(options, pinned, async (endpoint) => {
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
  })
  const pin = (endpoint: Endpoint): PinnedRpc => ({
    ...rpcOf(endpoint),
    blame: (error) => lied(endpoint, error),
    elsewhere: () => {
      const other = choose(false, new Set([endpoint]))
      return other !== endpoint && other.health.usable ? pin(other) : null
    },
  })
  return {
    ...rpcOf(null),
    pin: ({ spread = false } = {}) => pin(choose(spread)),
    all: () => endpoints.map(pin),
    usable: () => endpoints.filter(({ health }) => health.usable).map(pin),
    well: () => {
      const first = choose(false)
      const others = endpoints.filter(({ health }) => health.usable && !health.lagging)
      return (others.includes(first) ? others : [first]).map(pin)
    },
    endpoints: () => endpoints.map(({ health }) => health.status()),
    ready: () => endpoints.some(({ health }) => health.usable),
    foreign: () => endpoints.every(({ foreign }) => foreign !== null),
    compareHeads(options) {
      // Those that were left alone are tried again.
      choose(false)
      const parties = endpoints
        .filter(({ health }) => health.usable)
        .map((endpoint) => ({
          rpc: pin(endpoint),
          health: endpoint.health,
          newest: async (signal?: AbortSignal) => {
            await check(endpoint, signal ? { signal } : {})
            return newestOf(endpoint, signal)
          },
        }))
      return heads.compare(parties, options)
    },
  }
}

/** What the endpoint asked for in a `Retry-After` header, in milliseconds; 0 when it asked for nothing. */
export function retryAfterMs(error: unknown): number {
  const asked = error instanceof ChainError ? error.details['retryAfterMs'] : undefined
  return typeof asked === 'number' ? asked : 0
}
