import type { Row } from 'postgres'
import { accountId } from '../chain/ids.ts'
import { type Hex, toHex } from '../core/bytes.ts'
import type { ServiceContext } from './context.ts'
import { type Coverage, uncovered } from './coverage.ts'
import { notFound } from './error.ts'
import { makePage, type Page, type PageQuery, pageBounds } from './page.ts'

/** A sensor as it is registered. */
export interface SensorItem {
  name: string
  dataset: string
  /** CAIP-10 id of its owner. */
  contributor: string
  /** H3 cell as 15 hex digits without 0x, the spelling of H3's own libraries. */
  h3: string
  registered_block: number
  links: Record<'self' | 'submissions' | 'contributor' | 'dataset', string>
}

export interface SensorQuery extends PageQuery {
  dataset?: string | undefined
}

/** One version of a dataset's schema. */
export interface DatasetVersionItem {
  version: number
  schema_sha256: Hex
  /** The name inside the schema file; null where the bytes are no schema file, and `problem` says why. */
  schema_name: string | null
  problem: string | null
  registered_block: number
}

/** A dataset with the version in force. */
export interface DatasetItem {
  name: string
  current: DatasetVersionItem
  links: Record<'self' | 'submissions' | 'sensors', string>
}

/** A dataset with all its versions, newest first, and the text of the schema file in force. */
export interface DatasetDetail extends DatasetItem {
  versions: DatasetVersionItem[]
  sensors: number
  schema: string
}

const SENSORS = 'sensors'
const DATASETS = 'datasets'

const sensorColumns = ({ sql }: ServiceContext) => sql`
  select s.id, s.name, s.h3::text as h3, s.block, d.name as dataset, c.account
  from sensor s join dataset d on d.id = s.dataset join contributor c on c.id = s.contributor`

/** One page of sensors, newest first. */
export async function listSensors(
  ctx: ServiceContext,
  query: SensorQuery,
): Promise<Page<SensorItem> & Coverage> {
  const { sql } = ctx
  const { before, rows: limit } = pageBounds(SENSORS, query)
  const rows = await sql`
    ${sensorColumns(ctx)}
    where s.id < ${before} ${query.dataset === undefined ? sql`` : sql`and d.name = ${query.dataset}`}
    order by s.id desc limit ${limit}`
  return uncovered(
    makePage(
      SENSORS,
      rows,
      query,
      (row) => row['id'] as number,
      (row) => presentSensor(row, ctx.deployment.chain),
    ),
  )
}

/** One sensor by name. Throws `NOT_FOUND`. */
export async function findSensor(ctx: ServiceContext, name: string): Promise<SensorItem> {
  const [row] = await ctx.sql`${sensorColumns(ctx)} where s.name = ${name}`
  if (!row) throw notFound('sensor', name)
  return presentSensor(row, ctx.deployment.chain)
}

/** An H3 cell that Postgres keeps as a signed integer, as H3's own libraries write it: 15 digits, as the first bit of a cell is zero. */
export const h3Text = (signed: string): string => BigInt.asUintN(64, BigInt(signed)).toString(16)

function presentSensor(row: Row, chain: string): SensorItem {
  const contributor = accountId(chain, toHex(row['account']))
  return {
    name: row['name'],
    dataset: row['dataset'],
    contributor,
    h3: h3Text(row['h3']),
    registered_block: row['block'],
    links: {
      self: `/v1/sensors/${row['name']}`,
      submissions: `/v1/submissions?sensor=${row['name']}`,
      contributor: `/v1/contributors/${contributor}`,
      dataset: `/v1/datasets/${row['dataset']}`,
    },
  }
}

/** One page of datasets, newest first. */
export async function listDatasets(
  ctx: ServiceContext,
  query: PageQuery,
): Promise<Page<DatasetItem> & Coverage> {
  const { before, rows: limit } = pageBounds(DATASETS, query)
  const rows = await ctx.sql`
    select d.id, d.name, v.version, v.schema_sha256, v.schema_name, v.problem, v.block
    from dataset d
    cross join lateral (select * from dataset_version where dataset = d.id order by version desc limit 1) v
    where d.id < ${before} order by d.id desc limit ${limit}`
  return uncovered(makePage(DATASETS, rows, query, (row) => row['id'] as number, presentDataset))
}

/** One dataset with every version. Throws `NOT_FOUND`. */
export async function findDataset({ sql }: ServiceContext, name: string): Promise<DatasetDetail> {
  const rows = await sql`
    select d.name, v.version, v.schema_sha256, v.schema_name, v.problem, v.block,
           (select count(*) from sensor where dataset = d.id) as sensors,
           case when row_number() over (order by v.version desc) = 1 then v.schema end as schema
    from dataset d join dataset_version v on v.dataset = d.id
    where d.name = ${name} order by v.version desc`
  const [current] = rows
  if (!current) throw notFound('dataset', name)
  return {
    ...presentDataset(current),
    versions: rows.map(presentVersion),
    sensors: current['sensors'],
    // Registered bytes may be anything; a reader who needs them exactly takes them from the chain's event.
    schema: new TextDecoder('utf-8', { ignoreBOM: true }).decode(current['schema']),
  }
}

const presentVersion = (row: Row): DatasetVersionItem => ({
  version: row['version'],
  schema_sha256: toHex(row['schema_sha256']),
  schema_name: row['schema_name'],
  problem: row['problem'],
  registered_block: row['block'],
})

const presentDataset = (row: Row): DatasetItem => ({
  name: row['name'],
  current: presentVersion(row),
  links: {
    self: `/v1/datasets/${row['name']}`,
    submissions: `/v1/submissions?dataset=${row['name']}`,
    sensors: `/v1/sensors?dataset=${row['name']}`,
  },
})
