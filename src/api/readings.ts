import { createRoute, type OpenAPIHono } from '@hono/zod-openapi'
import type { ServiceContext } from '../service/context.ts'
import { withCoverage } from '../service/coverage.ts'
import { listReadings } from '../service/readings.ts'
import { readingTableOf } from '../service/table.ts'
import { formatOf, sendTable } from './export.ts'
import { pageLimit } from './limit.ts'
import { readingQuery } from './parameters.ts'
import type { ApiEnv } from './request.ts'
import { exportable } from './responses.ts'
import { pageOf, Reading } from './schemas.ts'

const list = createRoute({
  method: 'get',
  path: '/v1/readings',
  operationId: 'listReadings',
  tags: ['Readings'],
  summary: 'Readings, the latest measured first; of accepted submissions unless `verdict` says otherwise',
  request: { query: readingQuery },
  responses: exportable(pageOf(Reading), 'One page, or an export'),
})

const nowhere = () => ({ index: null, seq: null })

/** The routes of this file by their operation ids. */
export const READING_ROUTES = { listReadings: list } as const

export function readingRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.openapi(list, async (c) => {
    const { format: asked, ...query } = c.req.valid('query')
    const format = formatOf(asked, c.req.header('Accept'))
    if (format !== 'json')
      return sendTable(c, await readingTableOf(ctx, query), format, 'readings', ctx.logger) as never
    c.header('Vary', 'Accept', { append: true })
    const page = await listReadings(ctx, { ...query, limit: pageLimit(query.limit) })
    // Ordered by their own time, readings are no stretch of anything.
    const { contributor, sensor } = query
    return c.json(await withCoverage(ctx, page, { contributor, sensor, others: true }, nowhere), 200)
  })
}
