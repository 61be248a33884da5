import type { Hono } from 'hono'
import type { ApiEnv } from './request.ts'

/**
 * The methods that an address takes, in the order in which its routes were added; empty where there is no such address.
 * Call it once all routes are there.
 */
export function allowedMethods(app: Hono<ApiEnv>): (path: string) => string[] {
  const routes = app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => ({ method, form: formOf(path) }))
  return (path) => {
    const found = new Set(routes.filter(({ form }) => form.test(path)).map(({ method }) => method))
    if (found.has('GET')) found.add('HEAD')
    return [...found]
  }
}

/** A route's path as a regular expression: `:name` is one segment, a final `*` the rest. */
const formOf = (path: string): RegExp =>
  new RegExp(
    `^${path
      .split('/')
      .map((part) =>
        part === '*' ? '.+' : part.startsWith(':') ? '[^/]+' : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'),
      )
      .join('/')}$`,
  )
