import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { proveCompleteness } from '../service/completeness.ts'
import type { ServiceContext } from '../service/context.ts'
import { findContributor, listContributors } from '../service/contributors.ts'
import { sendBytes } from './conditional.ts'
import { noQuery, pageQuery } from './parameters.ts'
import type { ApiEnv } from './request.ts'
import { bytes, json } from './responses.ts'
import { Contributor, ContributorDetail, pageOf } from './schemas.ts'

const tags = ['Contributors']
const params = z.object({
  id: z.string().max(200).openapi({ description: 'CAIP-10 account id or bare address' }),
})

const list = createRoute({
  method: 'get',
  path: '/v1/contributors',
  operationId: 'listContributors',
  tags,
  summary: 'Contributors, newest first',
  request: { query: pageQuery },
  responses: json(pageOf(Contributor), 'One page'),
})
const one = createRoute({
  method: 'get',
  path: '/v1/contributors/{id}',
  operationId: 'getContributor',
  tags,
  summary: 'One contributor with keys, sensors and counts',
  request: {
    params,
    query: noQuery,
  },
  responses: json(ContributorDetail, 'The contributor', 404),
})
const seq = (description: string) =>
  z
    .string()
    .regex(/^(0|[1-9][0-9]{0,14})$/, 'must be an integer from 0')
    .transform(Number)
    .optional()
    .openapi({ type: 'integer', minimum: 0, description })
const completeness = createRoute({
  method: 'get',
  path: '/v1/contributors/{id}/completeness',
  operationId: 'proveContributor',
  tags,
  summary:
    'A proof bundle of all its settled submissions, or of a range of them: nothing left out. The Dunes-Completeness header sums it up',
  request: {
    params,
    query: z.strictObject({
      from: seq('First seq; from the very first where left out'),
      to: seq('Last seq; to the newest settled one where left out'),
    }),
  },
  responses: bytes('application/json', 'The bundle', 404, 409, 413),
})

/** The routes of this file by their operation ids. */
export const CONTRIBUTOR_ROUTES = {
  listContributors: list,
  getContributor: one,
  proveContributor: completeness,
} as const

export function contributorRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.openapi(list, async (c) => c.json(await listContributors(ctx, c.req.valid('query')), 200))
  app.openapi(one, async (c) => c.json(await findContributor(ctx, c.req.valid('param').id), 200))
  app.openapi(completeness, async (c) => {
    const proof = await proveCompleteness(ctx, c.req.valid('param').id, c.req.valid('query'))
    const { account, block, fromSeq, endSeq, anchored, settled, submitted } = proof
    const range = endSeq > fromSeq ? `${fromSeq}-${endSeq - 1}` : 'none'
    return sendBytes(c, proof.bytes, {
      type: 'application/json',
      caching: 'revalidate',
      headers: {
        'Content-Disposition': `inline; filename="${account}.json"`,
        'Dunes-Proof-Block': `${block.number}; hash=${block.hash}`,
        'Dunes-Completeness': `seq=${range}; anchored=${anchored}; settled=${settled}; submitted=${submitted}; pending=${submitted - settled}`,
      },
    })
  })
}
