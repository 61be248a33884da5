import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
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

/** The request and the answer as the server has them; nothing where an app is asked without one. */
const serverOf = (c: Context): { incoming?: IncomingMessage; outgoing?: ServerResponse } => c.env ?? {}

/** Whoever is at the other end of the connection; undefined where the server does not say. */
export const callerOf = (c: Context): string | undefined => serverOf(c).incoming?.socket?.remoteAddress

/** Gives the request an id (the caller's `X-Request-Id`, if it is a plain one), tells it, and measures the request. */
export function observe({ logger, metrics }: ServiceContext): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const given = c.req.header('X-Request-Id')
    const id = given !== undefined && REQUEST_ID.test(given) ? given : randomUUID()
    c.set('requestId', id)
    serverOf(c).outgoing?.setHeader('X-Request-Id', id)
    const start = performance.now()
    await next()
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
