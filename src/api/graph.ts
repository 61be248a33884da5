import { createRoute, type OpenAPIHono } from '@hono/zod-openapi'
import type { ServiceContext } from '../service/context.ts'
import { readGraph } from '../service/graph.ts'
import { graphQuery } from './parameters.ts'
import type { ApiEnv } from './request.ts'
import { json } from './responses.ts'
import { Graph } from './schemas.ts'

const graph = createRoute({
  method: 'get',
  path: '/v1/graph',
  operationId: 'getGraph',
  tags: ['Graph'],
  summary:
    'What belongs to what, as columns: around one submission, contributor, sensor or dataset, or of the newest submissions',
  request: { query: graphQuery },
  responses: json(Graph, 'The part of the graph', 404),
})

/** The routes of this file by their operation ids. */
export const GRAPH_ROUTES = { getGraph: graph } as const

export function graphRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.openapi(graph, async (c) => c.json(await readGraph(ctx, c.req.valid('query')), 200))
}
