import { sha256, utf8 } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { createMetrics } from '../../src/core/metrics.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import type { Sql } from '../../src/graph/connect.ts'
import { behindDatasetView } from '../../src/graph/dataset-view.ts'
import { ensureReadingTable } from '../../src/graph/readings.ts'
import { ensureQueryRole, QUERY_ROLE } from '../../src/graph/roles.ts'
import { parseSchemaFile } from '../../src/maml/schema.ts'
import { createServiceContext, type ServiceContext } from '../../src/service/context.ts'
import { createQuerySessions, type QuerySessions } from '../../src/service/query-sessions.ts'
import { deployment, fillGraph } from './graph.ts'
import type { TestDatabase } from './postgres.ts'

/** Two datasets with readings, without a chain, and a service that answers queries over them. */

export const PROGRESS = { submitted: 42, settled: 40, final: 38, logged: 36, anchored: 30 }
/** Readings of each accepted or rejected submission. */
export const READINGS = 5
const PASSWORD = 'a password of tests'

export const WEATHER_SCHEMA = utf8(`---
maml: 1.0
schema: weather_data.maml
dataset: weather
---
## Schema
\`\`\`json
{ "type": "object", "required": ["sensor_id", "timestamp"], "properties": {
  "sensor_id": { "type": "string" }, "timestamp": { "type": "string" },
  "temperature": { "type": "number" }, "rain": { "type": "boolean" }, "note": { "type": "string" },
  "tags": { "type": "array", "items": { "type": "string" } }, "state": { "type": "string" } } }
\`\`\`
`)

/** URL of a database as another role. */
export const asRole = (url: string, role: string, password: string): string =>
  url.replace(/^(postgres:\/\/)[^@]*@/, `$1${role}:${encodeURIComponent(password)}@`)

export interface QueryWorld {
  ctx: ServiceContext
  sessions: QuerySessions
  /** URL as the role for queries. */
  queryUrl: string
  stop(): Promise<void>
}

/**
 * Fills a migrated database. Submission `i` is rejected by quorum when `i % 3 = 2`, by its signature when `i % 10 = 4`, else accepted; those
 * that could be read have {@link READINGS} readings, one a minute from 2025-10-01T00:00:00Z on, with `air_quality = i`. Even ones
 * are of `alpha`, odd ones of `beta`. Each reading of `alpha` has one of `weather` at the same time in the same submission.
 */
export async function startQueries(database: TestDatabase): Promise<QueryWorld> {
  const { sql } = database
  await fillGraph(sql, PROGRESS)
  await fillReadings(sql)
  await ensureQueryRole(sql, { password: PASSWORD })
  const queryUrl = asRole(database.url, QUERY_ROLE, PASSWORD)
  const sessions = createQuerySessions(queryUrl, silentLogger)
  const ctx = createServiceContext({
    sql,
    logger: silentLogger,
    metrics: createMetrics(),
    clock: systemClock,
    mlDsa,
    deployment,
    queries: sessions,
  })
  return { ctx, sessions, queryUrl, stop: () => sessions.end() }
}

async function fillReadings(sql: Sql): Promise<void> {
  const file = parseSchemaFile(WEATHER_SCHEMA)
  await sql.begin(async (tx) => {
    await tx`insert into dataset (name, block) values ('weather', 1)`
    await tx`
      insert into dataset_version (dataset, version, schema_sha256, schema, schema_name, block, log_index)
      select id, 0, ${sha256(WEATHER_SCHEMA)}, ${WEATHER_SCHEMA}, 'weather_data.maml', 1, 0 from dataset where name = 'weather'`
    await behindDatasetView(tx, 'weather', () => ensureReadingTable(tx, 'weather', file))
    await tx`
      update submission set verdict = 'rejected', reason = 'QUORUM_REJECTED' where index is not null and index % 3 = 2`
    await tx`
      update submission set verdict = 'rejected', reason = 'SIGNATURE_INVALID'
      where index is not null and verdict is null and index % 10 = 4`
    await tx`update submission set verdict = 'accepted' where index is not null and verdict is null`
    await tx`
      insert into reading_helium_sensors (submission, position, sensor_id, timestamp, v_air_quality, v_temperature, v_humidity)
      select s.id, n, se.name, timestamptz '2025-10-01T00:00:00Z' + interval '1 minute' * (s.index * ${READINGS} + n), s.index,
             10 + s.index / 4.0, case when n = 0 then null else 50 + n end
      from submission s join sensor se on se.id = s.sensor, generate_series(0, ${READINGS - 1}) n
      where s.index is not null and s.reason is distinct from 'QUORUM_REJECTED'`
    await tx`
      insert into reading_weather (submission, position, sensor_id, timestamp, v_temperature, v_rain, v_note, v_tags, v_state)
      select submission, position, sensor_id, timestamp, v_temperature + 1, position % 2 = 0,
             case when position = 3 then 'it''s "wet" \\ ünïcode' end, jsonb_build_array('a', position), 'sunny'
      from reading_helium_sensors where sensor_id = 'alpha'`
    await tx`analyze reading_helium_sensors`
    await tx`analyze reading_weather`
  })
}
