import { z } from 'zod'
import { findDataset } from '../../service/catalog.ts'
import { type DatasetColumn, datasetColumns } from '../../service/dataset-columns.ts'
import { listReadings } from '../../service/readings.ts'
import { answer, clip, Untrusted, untrusted } from '../result.ts'
import { tool } from '../tool.ts'

/** Characters of a schema file that are shown; `dunes://datasets/{name}` has all of it. */
const MAX_SCHEMA = 12_000
/** Columns that are shown; SQL knows them all. */
const MAX_COLUMNS = 128

export const describeDatasetTool = tool({
  name: 'describe_dataset',
  title: 'Describe a dataset',
  description:
    'Describes one dataset: its columns with types, units and ranges as the schema gives them, how many sensors feed it, its newest reading, and an example of a query.',
  input: z.strictObject({
    dataset: z
      .string()
      .regex(/^[a-z0-9_]{1,32}$/, 'must be the name of a dataset, such as helium_sensors')
      .describe('Name from list_datasets'),
  }),
  output: z.object({
    name: z.string(),
    maml_schema: z.string().nullable(),
    version: z.int(),
    problem: z.string().nullable(),
    sensors: z.int().describe('Registered sensors'),
    columns: z.array(z.object({ name: z.string(), type: z.string(), description: z.string().nullable() })),
    columns_truncated: z.boolean(),
    newest_reading: z
      .string()
      .nullable()
      .describe('When the latest accepted reading was measured; null before there is one'),
    schema: z.string().describe('Text of the schema file in force'),
    schema_truncated: z.boolean(),
    example: z.record(z.string(), z.unknown()).describe('Arguments for query_sensor_data'),
    resource: z.string(),
    untrusted: Untrusted,
  }),
  async run({ dataset }, { ctx }) {
    const [found, columns, newest] = await Promise.all([
      findDataset(ctx, dataset),
      datasetColumns(ctx, dataset),
      listReadings(ctx, { dataset, limit: 1 }),
    ])
    const shown = columns.slice(0, MAX_COLUMNS)
    const value = columns.find(({ kind }) => kind === 'value')?.name
    const latest = newest.items[0]
    const at = latest?.timestamp
    return answer(
      {
        name: found.name,
        maml_schema: found.current.schema_name,
        version: found.current.version,
        problem: found.current.problem,
        sensors: found.sensors,
        columns: shown.map(present),
        columns_truncated: shown.length < columns.length,
        newest_reading: at ?? null,
        schema: found.schema.slice(0, MAX_SCHEMA).toWellFormed(),
        schema_truncated: found.schema.length > MAX_SCHEMA,
        example: {
          query: `SELECT ${value ?? 'sensor_id'} FROM ${found.name}${at ? ` WHERE timestamp = '${at}'` : ' LIMIT 10'}`,
          maml_schema: found.current.schema_name ?? '',
          signature_verification: 'CRYSTALS-Dilithium',
        },
        resource: `dunes://datasets/${found.name}`,
        untrusted: untrusted('schema', 'columns[].description', 'problem'),
      },
      `${found.name}: ${found.sensors} sensors, columns ${shown.map(({ name, type }) => `${name} ${type}`).join(', ')}.`.slice(
        0,
        2_000,
      ),
    )
  },
})

const present = ({ name, type, description }: DatasetColumn) => ({
  name,
  type,
  description: description === null ? null : (clip(description).value as string),
})
