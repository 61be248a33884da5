import type { Sql } from '../graph/connect.ts'
import { readCatalog } from '../graph/dataset-view.ts'
import type { ServiceContext } from './context.ts'

/** A dataset as queries see it. */
export interface Dataset {
  /** Names of its view's columns, in order. */
  columns: readonly string[]
  /** Name of the newest valid schema. */
  schema: string
  /** Names that its schema has had. */
  schemas: readonly string[]
}

/** Milliseconds for which the list of datasets is taken as it was: registering one takes a block anyway. */
const FRESH_MS = 1_000

const remembered = new WeakMap<Sql, { at: number; datasets: Promise<Map<string, Dataset>> }>()

/** The datasets that can be queried, by name. */
export function knownDatasets({ sql, clock }: ServiceContext): Promise<ReadonlyMap<string, Dataset>> {
  const now = clock.now()
  const known = remembered.get(sql)
  if (known && now - known.at < FRESH_MS && now >= known.at) return known.datasets
  const datasets = read(sql)
  remembered.set(sql, { at: now, datasets })
  datasets.catch(() => remembered.delete(sql))
  return datasets
}

async function read(sql: Sql): Promise<Map<string, Dataset>> {
  const [columns, versions] = await Promise.all([
    readCatalog(sql),
    sql`
      select d.name, array_agg(v.schema_name order by v.version desc) as schemas
      from dataset d join dataset_version v on v.dataset = d.id
      where v.schema_name is not null group by d.name`,
  ])
  const schemas = new Map(versions.map((row) => [row['name'] as string, row['schemas'] as string[]]))
  return new Map(
    [...columns].map(([name, list]): [string, Dataset] => {
      const all = [...new Set(schemas.get(name) ?? [])]
      return [name, { columns: list, schema: all[0] ?? '', schemas: all }]
    }),
  )
}
