import { AjvJsonSchemaValidator } from '@modelcontextprotocol/server/validators/ajv'

/** Requests made from an OpenAPI document: most of them nearly right, all of them from one seed. */

type Schema = Record<string, unknown>
interface Parameter {
  name: string
  in: 'path' | 'query' | 'header'
  required?: boolean
  schema?: Schema
}
interface Media {
  schema?: Schema
}
interface Operation {
  operationId: string
  parameters?: Parameter[]
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, { content?: Record<string, Media> }>
}
export interface Document {
  paths: Record<string, Record<string, Operation>>
  components: Schema
}

export interface FuzzRequest {
  operation: string
  method: string
  path: string
  headers: Record<string, string>
  body: string | undefined
  /** Whether the body is sent without saying how long it is. */
  pieces: boolean
}

/** mulberry32: the same numbers from the same seed, everywhere. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

const HOSTILE = [
  '',
  ' ',
  '0',
  '-1',
  '1e9',
  '99999999999999999999',
  'null',
  'true',
  '[]',
  '{}',
  "'",
  '"',
  "' or 1=1 --",
  '../../etc/passwd',
  '%00',
  '%ff',
  '%2e%2e',
  '\u0000',
  '\ud83d\ude00',
  '\u202e',
  'é'.repeat(50),
  'a'.repeat(300),
  '0x',
  `0x${'0'.repeat(64)}`,
  `0x${'F'.repeat(64)}`,
  '2025-10-01T23:30:00Z',
  '0001-01-01T00:00:00Z',
  '9999-12-31T23:59:59.999999Z',
  '2025-02-30T00:00:00Z',
]

export class Fuzzer {
  readonly #random: () => number
  readonly #document: Document
  /** Real values by parameter name, so that requests get behind the first check. */
  readonly #known: Readonly<Record<string, readonly string[]>>
  readonly #bodies: Readonly<Record<string, readonly unknown[]>>
  readonly #operations: { method: string; path: string; operation: Operation }[]
  readonly #validators = new Map<string, (value: unknown) => string | null>()

  constructor(
    document: Document,
    seed: number,
    known: Readonly<Record<string, readonly string[]>>,
    bodies: Readonly<Record<string, readonly unknown[]>>,
  ) {
    this.#random = randomOf(seed)
    this.#document = document
    this.#known = known
    this.#bodies = bodies
    this.#operations = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => ({ method, path, operation })),
    )
  }

  #chance(share: number): boolean {
    return this.#random() < share
  }
  #pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.#random() * items.length)] as T
  }

  next(): FuzzRequest {
    const { method, path, operation } = this.#pick(this.#operations)
    const parameters = operation.parameters ?? []
    const query: string[] = []
    const headers: Record<string, string> = {}
    const filled = path.replace(/\{([^}]+)\}/g, (_, name: string) => {
      const parameter = parameters.find((p) => p.in === 'path' && p.name === name)
      // An empty segment, or dots, would be another address.
      const value = this.#value(`${operation.operationId}.${name}`, name, parameter?.schema ?? {})
      return /^\.*$/.test(value) ? 'x' : encodeURIComponent(value)
    })
    for (const { name, in: where, schema = {} } of parameters) {
      if (where === 'path' || this.#chance(0.65)) continue
      // Following for ever is for a test of its own.
      const value = name === 'wait' ? this.#pick(['0', '1', '-1', 'x']) : this.#value(name, name, schema)
      if (where === 'query') query.push(`${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
      else if (/^[\x20-\x7e]*$/.test(value)) headers[name] = value.trim()
    }
    if (this.#chance(0.05)) query.push(`${this.#pick(['colour', 'limit', 'cursor', '__proto__'])}=1`)
    if (query[0] !== undefined && this.#chance(0.03)) query.push(query[0])
    if (this.#chance(0.2))
      headers['Accept'] = this.#pick([
        '*/*',
        'text/csv',
        'application/jsonl',
        'application/json',
        'x',
        'text/html',
      ])
    if (this.#chance(0.1)) headers['If-None-Match'] = this.#pick(['*', '"x"', 'W/"x"', ','])
    if (this.#chance(0.05))
      headers['Origin'] = this.#pick(['http://localhost:1', 'https://evil.example', 'null', 'x'])
    if (this.#chance(0.05)) headers['X-Request-Id'] = this.#pick(['abc', 'x'.repeat(100), 'a b'])
    if (this.#chance(0.1)) headers['Accept-Encoding'] = this.#pick(['gzip', 'identity', '*;q=0', 'br'])
    const body = this.#body(operation, headers)
    return {
      operation: operation.operationId,
      method: this.#chance(0.02)
        ? this.#pick(['DELETE', 'OPTIONS', 'PATCH'])
        : method === 'get' && this.#chance(0.05)
          ? 'HEAD'
          : method.toUpperCase(),
      path: `${filled}${query.length > 0 ? `?${query.join('&')}` : ''}`,
      headers,
      body,
      pieces: body !== undefined && body !== '' && this.#chance(0.3),
    }
  }

  #value(key: string, name: string, schema: Schema): string {
    const known = this.#known[key] ?? this.#known[name]
    if (known && known.length > 0 && this.#chance(0.6)) return this.#pick(known)
    if (this.#chance(0.25)) return this.#pick(HOSTILE)
    if (Array.isArray(schema['enum'])) return String(this.#pick(schema['enum']))
    if (schema['type'] === 'integer') {
      const low = Number(schema['minimum'] ?? 0)
      const high = Number(schema['maximum'] ?? 1_000)
      return String(this.#pick([low - 1, low, low + 1, Math.floor((low + high) / 2), high, high + 1]))
    }
    return this.#pick([
      'helium_sensors',
      'helium_001',
      'nobody',
      '8928308280fffff',
      'eip155',
      'x',
      '1',
      'all',
    ])
  }

  #body(operation: Operation, headers: Record<string, string>): string | undefined {
    const types = Object.keys(operation.requestBody?.content ?? {})
    const [type] = types
    if (type === undefined) return undefined
    headers['Content-Type'] = this.#chance(0.05) ? this.#pick(['text/plain', 'application/xml', '']) : type
    if (type !== 'application/json') return this.#pick(HOSTILE)
    const known = this.#bodies[operation.operationId] ?? []
    const value = known.length > 0 && this.#chance(0.7) ? this.#pick(known) : this.#json(3)
    const text = JSON.stringify(this.#chance(0.3) ? this.#mutate(value) : value) ?? 'null'
    if (this.#chance(0.05)) return text.slice(0, Math.floor(this.#random() * text.length))
    return this.#chance(0.02) ? `${'['.repeat(5_000)}${']'.repeat(5_000)}` : text
  }

  #json(depth: number): unknown {
    const leaf = () => this.#pick<unknown>([null, true, 0, -1, 1.5, 9e15, ...HOSTILE])
    if (depth === 0 || this.#chance(0.4)) return leaf()
    if (this.#chance(0.3))
      return Array.from({ length: Math.floor(this.#random() * 4) }, () => this.#json(depth - 1))
    return Object.fromEntries(
      Array.from({ length: Math.floor(this.#random() * 4) }, () => [
        this.#pick(['ids', 'indices', 'include', 'query', 'maml_schema', 'x', '__proto__']),
        this.#json(depth - 1),
      ]),
    )
  }

  #mutate(value: unknown): unknown {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return this.#json(1)
    const entries = Object.entries(value)
    if (this.#chance(0.3))
      entries.push([this.#pick(['x', 'cursor', 'verdict', 'proofs', 'include']), this.#json(1)])
    else if (entries.length > 0) {
      const at = Math.floor(this.#random() * entries.length)
      if (this.#chance(0.3)) entries.splice(at, 1)
      else entries[at] = [(entries[at] as [string, unknown])[0], this.#json(2)]
    }
    return Object.fromEntries(entries)
  }

  /** What an answer does that the document does not say; null where it is as described. */
  async complaint(request: FuzzRequest, response: Response): Promise<string | null> {
    const bytes = new Uint8Array(await response.arrayBuffer())
    const { status } = response
    if (status >= 500) return `answered ${status}: ${new TextDecoder().decode(bytes).slice(0, 300)}`
    const found = this.#operations.find(({ operation }) => operation.operationId === request.operation)
    if (['DELETE', 'OPTIONS', 'PATCH'].includes(request.method))
      return [403, 405].includes(status) ? null : `answered ${status} to a method that is not documented`
    const described = found?.operation.responses[String(status)]
    if (!described) return `answered ${status}, which is not documented`
    if (response.headers.get('x-request-id') === null) return 'has no request id'
    if (request.method === 'HEAD' || status === 304) return bytes.length === 0 ? null : 'has a body'
    const type = (response.headers.get('content-type') ?? '').split(';')[0] as string
    const media = Object.entries(described.content ?? {}).find(([name]) => name.split(';')[0] === type)
    if (!media) return `answered ${status} as ${type}, which is not documented`
    if (!/json$/.test(type) || type === 'application/jsonl' || media[1].schema?.['format'] === 'binary')
      return null
    return this.#validator(
      `${request.operation} ${status} ${type}`,
      media[1].schema ?? {},
    )(JSON.parse(new TextDecoder().decode(bytes)))
  }

  #validator(key: string, schema: Schema): (value: unknown) => string | null {
    let check = this.#validators.get(key)
    if (!check) {
      const validate = ajv.getValidator<unknown>({
        ...schema,
        components: this.#document.components,
      } as never)
      check = (value) => {
        const result = validate(value)
        return result.valid ? null : `answered a body that breaks its schema: ${result.errorMessage}`
      }
      this.#validators.set(key, check)
    }
    return check
  }
}

const ajv = new AjvJsonSchemaValidator()
