import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { ServiceContext } from '../service/context.ts'
import { findContributor, listContributors } from '../service/contributors.ts'
import type { ApiEnv } from './request.ts'
import { Contributor, ContributorDetail, json, noQuery, pageOf, pageQuery } from './schemas.ts'

const tags = ['Contributors']

const list = createRoute({
  method: 'get',
  path: '/v1/contributors',
  tags,
  summary: 'Contributors, newest first',
  request: { query: pageQuery },
  responses: json(pageOf(Contributor), 'One page'),
})
const one = createRoute({
  method: 'get',
  path: '/v1/contributors/{id}',
  tags,
  summary: 'One contributor with keys, sensors and counts',
  request: {
    params: z.object({
      id: z.string().max(200).openapi({ description: 'CAIP-10 account id or bare address' }),
    }),
    query: noQuery,
  },
  responses: json(ContributorDetail, 'The contributor'),
})

export function contributorRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.openapi(list, async (c) => c.json(await listContributors(ctx, c.req.valid('query')), 200))
  app.openapi(one, async (c) => c.json(await findContributor(ctx, c.req.valid('param').id), 200))
}
