import type { z } from 'zod'
import type { CATALOG_ROUTES } from '../api/catalog.ts'
import type { CHANGE_ROUTES } from '../api/changes.ts'
import type { CONTRIBUTOR_ROUTES } from '../api/contributors.ts'
import type { GRAPH_ROUTES } from '../api/graph.ts'
import type { LOG_ROUTES } from '../api/log.ts'
import type { OPERATION_ROUTES } from '../api/operations.ts'
import type { PAYLOAD_ROUTES } from '../api/payloads.ts'
import type { PROOF_ROUTES } from '../api/proof.ts'
import type { READING_ROUTES } from '../api/readings.ts'
import type { SUBMISSION_ROUTES } from '../api/submissions.ts'

/** Every operation that the client can call: the API's own routes, of which only the types are taken. */
export type Routes = typeof SUBMISSION_ROUTES &
  typeof READING_ROUTES &
  typeof GRAPH_ROUTES &
  typeof PROOF_ROUTES &
  typeof CONTRIBUTOR_ROUTES &
  typeof CATALOG_ROUTES &
  typeof PAYLOAD_ROUTES &
  typeof CHANGE_ROUTES &
  typeof LOG_ROUTES &
  typeof OPERATION_ROUTES

export type OperationId = keyof Routes

type Address<R> = R extends { method: infer M extends string; path: infer P extends string }
  ? `${Uppercase<M>} ${P}`
  : never

/** Where each operation is. The type checker holds it to the routes: an address that moves does not compile here. */
export const ADDRESSES: { readonly [K in OperationId]: Address<Routes[K]> } = {
  listSubmissions: 'GET /v1/submissions',
  getSubmission: 'GET /v1/submissions/{id}',
  getSubmissionPayload: 'GET /v1/submissions/{id}/payload',
  getSubmissionReceipt: 'GET /v1/submissions/{id}/receipt',
  getSubmissionLineage: 'GET /v1/submissions/{id}/lineage',
  getSubmissionProof: 'GET /v1/submissions/{id}/proof',
  getSubmissionTlogProof: 'GET /v1/submissions/{id}/proof.tlog',
  proveMany: 'POST /v1/proofs',
  getTrustPolicy: 'GET /trust-policy.json',
  listReadings: 'GET /v1/readings',
  getGraph: 'GET /v1/graph',
  listContributors: 'GET /v1/contributors',
  getContributor: 'GET /v1/contributors/{id}',
  proveContributor: 'GET /v1/contributors/{id}/completeness',
  listSensors: 'GET /v1/sensors',
  getSensor: 'GET /v1/sensors/{name}',
  listDatasets: 'GET /v1/datasets',
  getDataset: 'GET /v1/datasets/{name}',
  listAnchors: 'GET /v1/anchors',
  getPayload: 'GET /v1/payloads/{sha256}',
  putPayload: 'PUT /v1/payloads/{sha256}',
  followChanges: 'GET /v1/changes',
  getCheckpoint: 'GET /checkpoint',
  getVerifierKeys: 'GET /vkeys',
  getStatus: 'GET /v1/status',
  getHealth: 'GET /health',
}

/** What a schema takes; one without any field has an index signature, which would forbid all others. */
type InputOf<S> = S extends z.ZodType ? (string extends keyof z.input<S> ? object : z.input<S>) : object
/** A query value that is any text may be given as a number or a boolean as well. */
type Loose<Q> = {
  [K in keyof Q]: string extends NonNullable<Q[K]> ? Q[K] | number | boolean : Q[K]
}
type Part<R, Name extends string> = R extends { request: { [K in Name]?: infer S } } ? InputOf<S> : object
type Body<R> = R extends { request: { body: { content: infer C } } }
  ? C extends { 'application/json': { schema: infer S extends z.ZodType } }
    ? { body: z.input<S> }
    : { body: Uint8Array }
  : object

/** What an operation is called with: its path and query parameters by name, and its body. */
export type CallInput<K extends OperationId> = Part<Routes[K], 'params'> &
  Loose<Part<Routes[K], 'query'>> &
  Body<Routes[K]>

type OutputOf<C> = C extends { content: { 'application/json': { schema: infer S extends z.ZodType } } }
  ? z.output<S>
  : never
type Created<R> = R extends { 201: infer C } ? OutputOf<C> : never
/** What an operation answers: the value that its JSON says, or the bytes of what is a file. */
export type CallOutput<K extends OperationId> = Routes[K]['responses'] extends infer R
  ? 304 extends keyof R
    ? Uint8Array
    : R extends { 200: infer C }
      ? OutputOf<C> | Created<R>
      : never
  : never
