import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { ServiceContext } from '../service/context.ts'
import { ServiceError } from '../service/error.ts'
import { INCLUDES, prove, proveInclusion } from '../service/prove.ts'
import { MANY_INCLUDES, MAX_MANY, proveMany } from '../service/prove-many.ts'
import { deploymentTrustPolicy } from '../service/trust-policy.ts'
import { limitBody } from './body.ts'
import { sendBytes } from './conditional.ts'
import { noQuery } from './parameters.ts'
import type { ApiEnv } from './request.ts'
import { bytes } from './responses.ts'

const tags = ['Proofs']

const PARTS = ['all', ...INCLUDES] as const
type Part = (typeof PARTS)[number]

const query = z.strictObject({
  include: z
    .string()
    .refine(
      (text) => text.split(',').every((part) => PARTS.includes(part as Part)),
      `must be some of ${PARTS.join(', ')}, separated by commas`,
    )
    .optional()
    .openapi({
      description: `Some of ${PARTS.join(', ')}, separated by commas; \`all\` is all that is there but the event`,
      example: 'payload,key',
    }),
})

const proof = createRoute({
  method: 'get',
  path: '/v1/submissions/{id}/proof',
  operationId: 'getSubmissionProof',
  tags,
  summary:
    'Its proof bundle, as `dunes verify` takes it; the Dunes-Proof-Block header names the block of its evidence',
  request: { params: z.object({ id: z.string().max(200) }), query },
  responses: bytes('application/json', 'The bundle', 404, 409, 413, 422),
})
const tlogProof = createRoute({
  method: 'get',
  path: '/v1/submissions/{id}/proof.tlog',
  operationId: 'getSubmissionTlogProof',
  tags,
  summary: "Its entry's inclusion alone, as a C2SP tlog-proof, which verifiers of other logs read",
  request: { params: z.object({ id: z.string().max(200) }), query: noQuery },
  responses: bytes('text/plain; charset=utf-8', 'The proof', 404, 409),
})
/** Bytes of a request for many rows: as many ids as a bundle may have, and room for spaces. */
const MAX_REQUEST_BYTES = 128 * 1024

const many = createRoute({
  method: 'post',
  path: '/v1/proofs',
  operationId: 'proveMany',
  tags,
  summary: 'One proof bundle for many anchored submissions, as `dunes verify` takes it',
  request: {
    query: noQuery,
    body: {
      required: true,
      content: {
        'application/json': {
          schema: z
            .strictObject({
              ids: z.array(z.string().max(200)).min(1).max(MAX_MANY).optional(),
              indices: z.array(z.int().min(0)).min(1).max(MAX_MANY).optional(),
              include: z
                .union([z.literal('all'), z.array(z.enum(MANY_INCLUDES))])
                .optional()
                .openapi({ description: '`all`, or a list of what further claims need' }),
            })
            .refine(({ ids, indices }) => (ids === undefined) !== (indices === undefined), {
              message: 'must have either ids or indices',
            }),
        },
      },
    },
  },
  responses: bytes('application/json', 'The bundle', 404, 409, 413),
})
const trustPolicy = createRoute({
  method: 'get',
  path: '/trust-policy.json',
  operationId: 'getTrustPolicy',
  tags,
  summary:
    "The deployment's own trust policy, to publish and to compare; never take it from the party that you check",
  request: { query: noQuery },
  responses: bytes('application/json', 'The policy'),
})

/** The routes of this file by their operation ids. */
export const PROOF_ROUTES = {
  getSubmissionProof: proof,
  getSubmissionTlogProof: tlogProof,
  proveMany: many,
  getTrustPolicy: trustPolicy,
} as const

/** What a stranger checks, and what an operator publishes for checking it. */
export function proofRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.openapi(proof, async (c) => {
    const { include } = c.req.valid('query')
    const parts = (include?.split(',') ?? []) as Part[]
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
  app.use(
    many.path,
    limitBody(
      MAX_REQUEST_BYTES,
      () =>
        new ServiceError('PROOF_TOO_LARGE', `a request has at most ${MAX_REQUEST_BYTES} bytes`, {
          hint: `name at most ${MAX_MANY} submissions`,
        }),
    ),
  )
  app.openapi(many, async (c) => {
    const { ids, indices, include } = c.req.valid('json')
    const { bytes: bundle, block } = await proveMany(ctx, ids ? { ids } : { indices: indices ?? [] }, include)
    return c.body(bundle as Uint8Array<ArrayBuffer>, 200, {
      'Content-Type': 'application/json',
      'Content-Length': String(bundle.length),
      'Cache-Control': 'no-store',
      'Content-Disposition': 'inline; filename="proofs.json"',
      'Dunes-Proof-Block': `${block.number}; hash=${block.hash}`,
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
