import { readingColumns, valueColumn } from '../graph/readings.ts'
import { parseSchemaFile, type SchemaFile } from '../maml/schema.ts'
import type { ServiceContext } from './context.ts'

/** One column of a dataset as queries see it. */
export interface DatasetColumn {
  name: string
  /** PostgreSQL type. */
  type: string
  /** `value`: what a reading holds; `own`: what every dataset has. */
  kind: 'value' | 'own'
  /** From the schema for a value, written by whoever registered it. */
  description: string | null
}

/** The columns that every dataset has, whatever its schema says. */
const OWN: readonly Omit<DatasetColumn, 'kind'>[] = [
  { name: 'sensor_id', type: 'text', description: 'sensor that measured it' },
  { name: 'timestamp', type: 'timestamp with time zone', description: 'when, by the reading itself' },
  { name: 'contributor', type: 'text', description: 'CAIP-10 id of the account that submitted it' },
  { name: 'h3', type: 'text', description: 'H3 cell of the sensor' },
  { name: 'submission_id', type: 'text', description: 'submission that it came in' },
  { name: 'state', type: 'text', description: 'settled, final, logged or anchored' },
  { name: 'verdict', type: 'text', description: 'accepted or rejected' },
  { name: 'leaf_index', type: 'bigint', description: "the submission's leaf in the log" },
]

/** The columns of a dataset: those that all have, then its values by name. A dataset without a usable schema has no values. */
export async function datasetColumns({ sql }: ServiceContext, dataset: string): Promise<DatasetColumn[]> {
  const [columns, rows] = await Promise.all([
    readingColumns(sql, dataset),
    sql`select v.schema from dataset_version v join dataset d on d.id = v.dataset
        where d.name = ${dataset} and v.problem is null order by v.version desc limit 1`,
  ])
  const file = rows[0] ? readSchema(rows[0]['schema']) : null
  const described = new Map(
    [...(file?.schema.properties ?? [])].map(([name, schema]) => [
      name,
      typeof schema === 'boolean' ? null : (schema.description ?? null),
    ]),
  )
  const values = [...columns]
    .map(([column, type]): DatasetColumn => {
      const name = column.slice(valueColumn('').length)
      return { name, type, kind: 'value', description: described.get(name) ?? null }
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  return [...OWN.map((column) => ({ ...column, kind: 'own' as const })), ...values]
}

function readSchema(bytes: Uint8Array): SchemaFile | null {
  try {
    return parseSchemaFile(new Uint8Array(bytes))
  } catch {
    // It was read when it was registered; a version that cannot be read now only lacks its descriptions.
    return null
  }
}
