import { OpenAPIHono } from '@hono/zod-openapi'
import { createMcpEndpoint, type McpEndpoint } from '../mcp/http.ts'
import type { ServiceContext } from '../service/context.ts'
import { catalogRoutes } from './catalog.ts'
import { changeRoutes } from './changes.ts'
import { contributorRoutes } from './contributors.ts'
import { docsRoutes } from './docs.ts'
import { graphRoutes } from './graph.ts'
import { checkHost, checkOrigin } from './host.ts'
import { logRoutes } from './log.ts'
import { allowedMethods } from './methods.ts'
import { operationRoutes } from './operations.ts'
import { pageRoutes } from './pages.ts'
import { payloadRoutes } from './payloads.ts'
import { ApiError, problemResponse } from './problem.ts'
import { proofRoutes } from './proof.ts'
import { queryRoutes } from './query.ts'
import { readingRoutes } from './readings.ts'
import { type ApiEnv, callerOf, observe } from './request.ts'
import { submissionRoutes } from './submissions.ts'

export interface ApiSettings {
  /** Host names besides localhost and addresses under which this server may be asked, without ports. */
  allowedHosts?: readonly string[]
  /** Origins of web pages that may ask this server; none unless told (no CORS). */
  allowedOrigins?: readonly string[]
  /** What answers at /mcp; this server's own tools unless given. */
  mcp?: McpEndpoint
}

/** The REST API (docs/api.md) over the use cases of src/service. Every error is a problem document (RFC 9457). */
export function createApi(
  ctx: ServiceContext,
  { allowedHosts = [], allowedOrigins = [], mcp = createMcpEndpoint(ctx) }: ApiSettings = {},
): OpenAPIHono<ApiEnv> {
  const app = new OpenAPIHono<ApiEnv>({
    defaultHook: (result) => {
      if (result.success) return
      const issues = result.error.issues.map(({ path, message }) => ({ at: path.join('.'), message }))
      const [first] = issues
      throw new ApiError(
        'REQUEST_INVALID',
        `${result.target}: ${first?.at ? `${first.at}: ` : ''}${first?.message}`,
        {
          hint: 'docs/api.md and /openapi.json name the parameters of each address',
          details: { in: result.target, issues },
        },
      )
    },
  })
  app.use(observe(ctx))
  app.onError((error, c) => problemResponse(error, c, ctx.logger))
  app.use(checkHost(allowedHosts))
  app.use(checkOrigin(allowedOrigins))
  submissionRoutes(app, ctx)
  readingRoutes(app, ctx)
  graphRoutes(app, ctx)
  proofRoutes(app, ctx)
  queryRoutes(app, ctx)
  contributorRoutes(app, ctx)
  catalogRoutes(app, ctx)
  payloadRoutes(app, ctx)
  changeRoutes(app, ctx)
  logRoutes(app, ctx)
  operationRoutes(app, ctx)
  pageRoutes(app)
  app.all('/mcp', (c) => mcp.fetch(c.req.raw, callerOf(c)))
  docsRoutes(app, ctx)

  const methodsAt = allowedMethods(app)
  app.notFound((c) => {
    const allowed = methodsAt(c.req.path)
    const error =
      allowed.length === 0
        ? new ApiError('ROUTE_NOT_FOUND', `there is nothing at ${c.req.path}`, {
            hint: '/docs lists all addresses',
          })
        : new ApiError('METHOD_NOT_ALLOWED', `${c.req.method} is not allowed at ${c.req.path}`, {
            hint: `use ${allowed.join(' or ')}`,
            headers: { Allow: allowed.join(', ') },
          })
    // Answered and not thrown: what is thrown here would pass by the middleware that sets headers.
    return problemResponse(error, c, ctx.logger)
  })
  return app
}
