import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { listAnchors } from '../service/anchors.ts'
import { findDataset, findSensor, listDatasets, listSensors } from '../service/catalog.ts'
import type { ServiceContext } from '../service/context.ts'
import { noQuery, pageQuery, sensorQuery } from './parameters.ts'
import type { ApiEnv } from './request.ts'
import { json } from './responses.ts'
import { Anchor, Dataset, DatasetDetail, name, pageOf, Sensor } from './schemas.ts'

const params = z.object({ name })

const sensors = createRoute({
  method: 'get',
  path: '/v1/sensors',
  operationId: 'listSensors',
  tags: ['Sensors'],
  summary: 'Sensors, newest first',
  request: { query: sensorQuery },
  responses: json(pageOf(Sensor), 'One page'),
})
const sensor = createRoute({
  method: 'get',
  path: '/v1/sensors/{name}',
  operationId: 'getSensor',
  tags: ['Sensors'],
  summary: 'One sensor',
  request: { params, query: noQuery },
  responses: json(Sensor, 'The sensor', 404),
})
const datasets = createRoute({
  method: 'get',
  path: '/v1/datasets',
  operationId: 'listDatasets',
  tags: ['Datasets'],
  summary: 'Datasets, newest first',
  request: { query: pageQuery },
  responses: json(pageOf(Dataset), 'One page'),
})
const dataset = createRoute({
  method: 'get',
  path: '/v1/datasets/{name}',
  operationId: 'getDataset',
  tags: ['Datasets'],
  summary: 'One dataset with the versions of its schema',
  request: { params, query: noQuery },
  responses: json(DatasetDetail, 'The dataset', 404),
})
const anchors = createRoute({
  method: 'get',
  path: '/v1/anchors',
  operationId: 'listAnchors',
  tags: ['Log'],
  summary: 'Anchors, newest first',
  request: { query: pageQuery },
  responses: json(pageOf(Anchor), 'One page'),
})

/** The routes of this file by their operation ids. */
export const CATALOG_ROUTES = {
  listSensors: sensors,
  getSensor: sensor,
  listDatasets: datasets,
  getDataset: dataset,
  listAnchors: anchors,
} as const

/** Sensors, datasets and anchors: what is registered or anchored on-chain. */
export function catalogRoutes(app: OpenAPIHono<ApiEnv>, ctx: ServiceContext): void {
  app.openapi(sensors, async (c) => c.json(await listSensors(ctx, c.req.valid('query')), 200))
  app.openapi(sensor, async (c) => c.json(await findSensor(ctx, c.req.valid('param').name), 200))
  app.openapi(datasets, async (c) => c.json(await listDatasets(ctx, c.req.valid('query')), 200))
  app.openapi(dataset, async (c) => c.json(await findDataset(ctx, c.req.valid('param').name), 200))
  app.openapi(anchors, async (c) => c.json(await listAnchors(ctx, c.req.valid('query')), 200))
}
