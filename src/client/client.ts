import { DunesError } from '../core/error.ts'
import { ADDRESSES, type CallInput, type CallOutput, type OperationId } from './routes.ts'

/** Milliseconds that one request may take unless told. */
const TIMEOUT_MS = 15_000

export interface ClientOptions {
  /** The global one unless given. */
  fetch?: typeof fetch
  timeoutMs?: number
}

export interface CallOptions {
  headers?: Readonly<Record<string, string>>
  signal?: AbortSignal
}

/** An answer with its body read. */
export interface Answer {
  status: number
  headers: Headers
  body: Uint8Array
}

/**
 * What the API refused, under the code of its problem document, or `API_UNREACHABLE`, or `API_REFUSED` where something else than the
 * API answered.
 */
export class ApiCallError extends DunesError {
  override readonly name = 'ApiCallError'
}

export interface Client {
  /** Calls an operation and answers its value, or the bytes of a file. Throws {@link ApiCallError}. */
  call<K extends OperationId>(
    operation: K,
    input: CallInput<K>,
    options?: CallOptions,
  ): Promise<CallOutput<K>>
  /** Calls an operation and answers bytes, status and headers. Throws {@link ApiCallError}. */
  send<K extends OperationId>(operation: K, input: CallInput<K>, options?: CallOptions): Promise<Answer>
}

/** A client of the REST API at `baseUrl`, with the types of the server's own routes. Runs in a browser as well. */
export function createClient(baseUrl: string, options: ClientOptions = {}): Client {
  const { timeoutMs = TIMEOUT_MS } = options
  const send: Client['send'] = async (operation, input, { headers = {}, signal } = {}) => {
    const { url, method, body, type } = requestOf(baseUrl, operation, input)
    const limit = AbortSignal.timeout(timeoutMs)
    let answer: Answer
    try {
      const response = await (options.fetch ?? fetch)(url, {
        method,
        headers: { Accept: 'application/json', ...(type && { 'Content-Type': type }), ...headers },
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
        ...(body && { body: body as string | Uint8Array<ArrayBuffer> }),
      })
      answer = {
        status: response.status,
        headers: response.headers,
        body: new Uint8Array(await response.arrayBuffer()),
      }
    } catch (cause) {
      throw new ApiCallError('API_UNREACHABLE', `the API at ${new URL(url).host} does not answer`, {
        hint: 'start one with `npm start`, or name one with --api-url',
        retryable: true,
        exitCode: 3,
        cause,
      })
    }
    if (answer.status < 400) return answer
    const problem = readProblem(answer.body)
    throw new ApiCallError(
      problem.code ?? 'API_REFUSED',
      problem.detail ?? `the API answered ${answer.status}`,
      {
        ...(problem.hint ? { hint: problem.hint } : {}),
        retryable: answer.status >= 500 || answer.status === 429,
        exitCode: answer.status >= 500 ? 3 : 2,
        details: { status: answer.status, url },
      },
    )
  }
  return {
    send,
    async call(operation, input, callOptions) {
      const { headers, body } = await send(operation, input, callOptions)
      // A bundle is JSON and a file: who wants its bytes must get them as they are.
      const value = isValue(operation, headers) ? JSON.parse(new TextDecoder().decode(body)) : body
      return value as never
    },
  }
}

/** Operations whose JSON is a file: the same bytes as `dunes verify` takes. */
const FILES: ReadonlySet<OperationId> = new Set([
  'getSubmissionProof',
  'proveContributor',
  'proveMany',
  'getTrustPolicy',
])

const isValue = (operation: OperationId, headers: Headers): boolean =>
  !FILES.has(operation) && (headers.get('content-type') ?? '').startsWith('application/json')

function requestOf(
  baseUrl: string,
  operation: OperationId,
  input: object,
): { url: string; method: string; body: string | Uint8Array | undefined; type: string | undefined } {
  const { body, ...given } = input as { body?: unknown } & Record<string, unknown>
  const [method = '', template = ''] = ADDRESSES[operation].split(' ')
  const rest = new Map(Object.entries(given).filter(([, value]) => value !== undefined))
  const path = template.replace(/\{([^}]+)\}/g, (_, name: string) => {
    const value = rest.get(name)
    rest.delete(name)
    return encodeURIComponent(String(value))
  })
  const query = new URLSearchParams([...rest].map(([name, value]) => [name, String(value)])).toString()
  const bytes = body instanceof Uint8Array
  return {
    url: `${baseUrl.replace(/\/$/, '')}${path}${query && `?${query}`}`,
    method,
    body: body === undefined ? undefined : bytes ? body : JSON.stringify(body),
    type: body === undefined ? undefined : bytes ? 'application/octet-stream' : 'application/json',
  }
}

function readProblem(body: Uint8Array): { code?: string; detail?: string; hint?: string } {
  try {
    const problem: unknown = JSON.parse(new TextDecoder().decode(body))
    return typeof problem === 'object' && problem !== null ? problem : {}
  } catch {
    return {}
  }
}
