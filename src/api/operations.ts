import { createRoute, type OpenAPIHono } from '@hono/zod-openapi'
import { z } from 'zod'
import type { ServiceContext } from '../service/context.ts'
import { readReadiness, readStatus } from '../service/status.ts'
import { readTotals } from '../service/totals.ts'
import { noQuery } from './parameters.ts'
import type { ApiEnv } from './request.ts'
import { answer, COMMON, json } from './responses.ts'
import { Readiness, Status } from './schemas.ts'

const tags = ['Operation']

const statusOf = <P extends '/v1/status' | '/status', I extends string>(path: P, operationId: I) =>
  createRoute({
    method: 'get',
    path,
    operationId,
    tags,
    summary: 'How far everything is',
    request: { query: noQuery },
    responses: json(Status, 'The status'),
  })
const health = createRoute({
  method: 'get',
  path: '/health',
  operationId: 'getHealth',
  tags,
  summary: 'Whether the process is alive; asks nothing else',
  responses: json(z.object({ status: z.literal('ok') }), 'It is'),
})
const ready = createRoute({
  method: 'get',
  path: '/ready',
  operationId: 'getReadiness',
  tags,
  summary: 'Whether it serves as it should: 503 with reasons while it is behind or stalled',
  responses: { ...COMMON, 200: answer(Readiness, 'It does'), 503: answer(Readiness, 'It does not') },
})
const metrics = createRoute({
  method: 'get',
  path: '/metrics',
  operationId: 'getMetrics',
  tags,
  summary: 'Metrics in the Prometheus text format',
  responses: {
    200: { description: 'The metrics', content: { 'text/plain': { schema: z.string() } } },
    ...COMMON,
  },
})

/** Sets the gauges to the totals that the status tells. Without a database there are still the other metrics. */
async function countSubmissions(ctx: ServiceContext): Promise<void> {
  const { submissions } = ctx.metrics
  submissions.reset()
  const totals = await readTotals(ctx).catch(() => null)
  for (const [state, count] of Object.entries(totals ?? {}))
    if (typeof count === 'number') submissions.set({ state }, count)
}

/** The routes of this file by their operation ids. */
export const OPERATION_ROUTES = {
  getStatus: statusOf('/v1/status', 'getStatus'),
  getHealth: health,
} as const

/** What operators and orchestrators ask. */
export function operationRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.openapi(OPERATION_ROUTES.getStatus, async (c) => c.json(await readStatus(ctx), 200))
  app.openapi(statusOf('/status', 'getStatusShort'), async (c) => c.json(await readStatus(ctx), 200))
  app.openapi(health, (c) => c.json({ status: 'ok' } as const, 200, { 'Cache-Control': 'no-store' }))
  app.openapi(ready, async (c) => {
    const reasons = await readReadiness(ctx)
    c.header('Cache-Control', 'no-store')
    if (reasons.length > 0) return c.json({ ready: false, reasons }, 503)
    return c.json({ ready: true, reasons }, 200)
  })
  app.openapi(metrics, async (c) => {
    await countSubmissions(ctx)
    return c.text(await ctx.metrics.registry.metrics(), 200, {
      'Content-Type': ctx.metrics.registry.contentType,
      'Cache-Control': 'no-store',
    })
  })
}
