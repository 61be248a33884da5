import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import type { ServiceContext } from '../service/context.ts'
import { withCoverage } from '../service/coverage.ts'
import { explain } from '../service/explain.ts'
import { submissionPayload } from '../service/payloads.ts'
import { receiptFile } from '../service/receipt.ts'
import { findSubmission, listSubmissions } from '../service/submissions.ts'
import { submissionTable } from '../service/table.ts'
import { sendBytes, untrusted } from './conditional.ts'
import { formatOf, sendTable } from './export.ts'
import { pageLimit } from './limit.ts'
import { noQuery, submissionQuery } from './parameters.ts'
import type { ApiEnv } from './request.ts'
import { bytes, exportable, json } from './responses.ts'
import { Lineage, pageOf, Submission } from './schemas.ts'

const params = z.object({
  id: z.string().max(200).openapi({ description: 'Submission id, 0x and 64 hex digits' }),
})
const tags = ['Submissions']

const list = createRoute({
  method: 'get',
  path: '/v1/submissions',
  operationId: 'listSubmissions',
  tags,
  summary: 'Submissions, newest first',
  request: { query: submissionQuery },
  responses: exportable(pageOf(Submission), 'One page, or an export'),
})
const one = createRoute({
  method: 'get',
  path: '/v1/submissions/{id}',
  operationId: 'getSubmission',
  tags,
  summary: 'One submission',
  request: { params, query: noQuery },
  responses: json(Submission, 'The submission', 404),
})
const payload = createRoute({
  method: 'get',
  path: '/v1/submissions/{id}/payload',
  operationId: 'getSubmissionPayload',
  tags,
  summary: 'Its payload, byte for byte',
  request: { params, query: noQuery },
  responses: bytes('application/octet-stream', 'The payload', 404),
})
const receipt = createRoute({
  method: 'get',
  path: '/v1/submissions/{id}/receipt',
  operationId: 'getSubmissionReceipt',
  tags,
  summary:
    'Its .mu receipt: signed once anchored, before that unsigned; the Dunes-Receipt-Signature header says which',
  request: { params, query: noQuery },
  responses: bytes('text/plain; charset=utf-8', 'The receipt', 404, 409),
})
const lineage = createRoute({
  method: 'get',
  path: '/v1/submissions/{id}/lineage',
  operationId: 'getSubmissionLineage',
  tags,
  summary: 'Its way from the chain to the anchor in plain words, and the edges around it',
  request: { params, query: noQuery },
  responses: json(Lineage, 'The way', 404),
})

/** The routes of this file by their operation ids. */
export const SUBMISSION_ROUTES = {
  listSubmissions: list,
  getSubmission: one,
  getSubmissionPayload: payload,
  getSubmissionReceipt: receipt,
  getSubmissionLineage: lineage,
} as const

/** Submissions and what hangs on each; the proof has a file of its own. */
export function submissionRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.openapi(list, async (c) => {
    const { format: asked, ...query } = c.req.valid('query')
    const format = formatOf(asked, c.req.header('Accept'))
    if (format !== 'json')
      return sendTable(c, await submissionTable(ctx, query), format, 'submissions', ctx.logger) as never
    c.header('Vary', 'Accept', { append: true })
    const page = await listSubmissions(ctx, { ...query, limit: pageLimit(query.limit) })
    const { verdict, reason, outcome, dataset, sensor, contributor, state } = query
    // Of all submissions, those in a state are a stretch of the log like any other.
    const others = [verdict, reason, outcome, dataset, sensor, contributor && state].some(
      (value) => value !== undefined,
    )
    return c.json(await withCoverage(ctx, page, { ...query, others }, (item) => item), 200)
  })
  app.openapi(one, async (c) => c.json((await findSubmission(ctx, c.req.valid('param').id)).item, 200))
  app.openapi(payload, async (c) => {
    const { id, sha256, bytes: body } = await submissionPayload(ctx, c.req.valid('param').id)
    return sendBytes(c, body, {
      type: 'application/octet-stream',
      caching: 'immutable',
      etag: `"${sha256.slice(2)}"`,
      headers: untrusted(`${id}.maml.md`),
    })
  })
  app.openapi(receipt, async (c) => {
    const { id, bytes: body, signedBy, unsigned } = await receiptFile(ctx, c.req.valid('param').id)
    return sendBytes(c, body, {
      type: 'text/plain; charset=utf-8',
      caching: signedBy ? 'immutable' : 'revalidate',
      headers: {
        ...untrusted(`${id}.mu`),
        'Dunes-Receipt-Signature': signedBy ? `present; key-id=${signedBy}` : `absent; ${unsigned}`,
      },
    })
  })
  app.openapi(lineage, async (c) => c.json(await explain(ctx, c.req.valid('param').id), 200))
}
