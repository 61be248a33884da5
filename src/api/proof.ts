import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { ServiceContext } from '../service/context.ts'
import { INCLUDES, type Include, prove, proveInclusion } from '../service/prove.ts'
import { deploymentTrustPolicy } from '../service/trust-policy.ts'
import { sendBytes } from './conditional.ts'
import type { ApiEnv } from './request.ts'
import { bytes, noQuery } from './schemas.ts'

const tags = ['Proofs']

const query = z.strictObject({
  include: z
    .string()
    .refine(
      (text) => text === 'all' || text.split(',').every((part) => INCLUDES.includes(part as Include)),
      `must be all, or some of ${INCLUDES.join(', ')}, separated by commas`,
    )
    .optional()
    .openapi({
      description: `\`all\`, or some of ${INCLUDES.join(', ')}, separated by commas`,
      example: 'payload,key',
    }),
})

const proof = createRoute({
  method: 'get',
  path: '/v1/submissions/{id}/proof',
  tags,
  summary:
    'Its proof bundle, as `dunes verify` takes it; the Dunes-Proof-Block header names the block of its evidence',
  request: { params: z.object({ id: z.string().max(200) }), query },
  responses: bytes('application/json', 'The bundle'),
})
const tlogProof = createRoute({
  method: 'get',
  path: '/v1/submissions/{id}/proof.tlog',
  tags,
  summary: "Its entry's inclusion alone, as a C2SP tlog-proof, which verifiers of other logs read",
  request: { params: z.object({ id: z.string().max(200) }), query: noQuery },
  responses: bytes('text/plain; charset=utf-8', 'The proof'),
})
const trustPolicy = createRoute({
  method: 'get',
  path: '/trust-policy.json',
  tags,
  summary:
    "The deployment's own trust policy, to publish and to compare; never take it from the party that you check",
  request: { query: noQuery },
  responses: bytes('application/json', 'The policy'),
})

/** What a stranger checks, and what an operator publishes for checking it. */
export function proofRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.openapi(proof, async (c) => {
    const { include } = c.req.valid('query')
    const parts = include === 'all' ? 'all' : ((include?.split(',') ?? []) as Include[])
    const { id, bytes: bundle, block } = await prove(ctx, c.req.valid('param').id, parts)
    // The bytes are the file: a client that parses and prints them again still has to print canonical JSON.
    return sendBytes(c, bundle, {
      type: 'application/json',
      caching: 'revalidate',
      headers: {
        'Content-Disposition': `inline; filename="${id}.json"`,
        'Dunes-Proof-Block': `${block.number}; hash=${block.hash}`,
      },
    })
  })
  app.openapi(tlogProof, async (c) => {
    const { id, text } = await proveInclusion(ctx, c.req.valid('param').id)
    return sendBytes(c, text, {
      type: 'text/plain; charset=utf-8',
      caching: 'revalidate',
      headers: { 'Content-Disposition': `inline; filename="${id}.tlog-proof"` },
    })
  })
  app.openapi(trustPolicy, async (c) =>
    sendBytes(c, `${JSON.stringify(await deploymentTrustPolicy(ctx), null, 2)}\n`, {
      type: 'application/json',
      caching: 'revalidate',
    }),
  )
}
