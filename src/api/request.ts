import { randomUUID } from 'node:crypto'
import type { Context, MiddlewareHandler } from 'hono'
import { routePath } from 'hono/route'
import type { ServiceContext } from '../service/context.ts'

/** What middleware hands on to handlers. */
export interface ApiEnv {
  Variables: { requestId: string }
}

const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/

/** The id under which this request is logged and answered. */
export const requestId = (c: Context): string => c.get('requestId') as string

/** Whoever is at the other end of the connection; undefined where the server does not say. */
export function callerOf(c: Context): string | undefined {
  const { incoming } = (c.env ?? {}) as { incoming?: { socket?: { remoteAddress?: string } } }
  return incoming?.socket?.remoteAddress
}

/** What every answer carries unless its handler says otherwise: nothing here is a page that may load or frame anything. */
const HEADERS: readonly (readonly [string, string])[] = [
  ['X-Content-Type-Options', 'nosniff'],
  ['Referrer-Policy', 'no-referrer'],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
  ['Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'"],
  ['Cache-Control', 'no-cache'],
]

/** Gives the request an id (the caller's `X-Request-Id`, if it is a plain one), measures it, and sets the common headers. */
export function observe({ logger, metrics }: ServiceContext): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const given = c.req.header('X-Request-Id')
    const id = given !== undefined && REQUEST_ID.test(given) ? given : randomUUID()
    c.set('requestId', id)
    const start = performance.now()
    await next()
    c.res.headers.set('X-Request-Id', id)
    for (const [name, value] of HEADERS) if (!c.res.headers.has(name)) c.res.headers.set(name, value)
    const { method } = c.req
    const { status } = c.res
    const route = routePath(c, -1)
    const ms = performance.now() - start
    // The route, not the path: a label for every id would grow without end.
    metrics.requests.observe(
      {
        route: route.includes('*') && !route.startsWith('/tile') ? 'none' : route,
        method: METHODS.has(method) ? method : 'other',
        status: String(status),
      },
      ms / 1000,
    )
    logger.debug({ requestId: id, method, path: c.req.path, status, ms }, 'answered a request')
  }
}

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS'])
