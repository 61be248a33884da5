import { z } from 'zod'
import { listDatasets } from '../../service/catalog.ts'
import { coverageInWords, coverageShape } from '../coverage.ts'
import { answer, Untrusted, untrusted } from '../result.ts'
import { tool } from '../tool.ts'

export const listDatasetsTool = tool({
  name: 'list_datasets',
  title: 'List datasets',
  description:
    'Lists the datasets that can be queried, newest first. A dataset is a table of sensor readings; its schema is registered on-chain. Begin here, then call describe_dataset.',
  input: z.strictObject({
    limit: z.int().min(1).max(100).default(50).describe('Datasets of one page'),
    cursor: z.string().max(64).optional().describe('next_cursor of the page before'),
  }),
  output: z.object({
    datasets: z.array(
      z.object({
        name: z.string().describe('The table that a query names after FROM'),
        maml_schema: z.string().nullable().describe('What query_sensor_data takes as maml_schema'),
        version: z.int(),
        schema_sha256: z.string(),
        problem: z.string().nullable().describe('Why its schema cannot be used; null where it can'),
        resource: z.string(),
      }),
    ),
    next_cursor: z.string().nullable(),
    truncated: z.boolean(),
    ...coverageShape,
    untrusted: Untrusted,
  }),
  async run({ limit, cursor }, { ctx }) {
    const page = await listDatasets(ctx, { limit, cursor })
    const datasets = page.items.map(({ name, current }) => ({
      name,
      maml_schema: current.schema_name,
      version: current.version,
      schema_sha256: current.schema_sha256,
      problem: current.problem,
      resource: `dunes://datasets/${name}`,
    }))
    return answer(
      {
        datasets,
        next_cursor: page.next_cursor,
        truncated: page.next_cursor !== null,
        ...coverageInWords(page),
        untrusted: untrusted('datasets[].problem'),
      },
      datasets.length === 0
        ? 'No dataset is registered.'
        : `${datasets.length} dataset${datasets.length === 1 ? '' : 's'}: ${datasets.map(({ name }) => name).join(', ')}.`,
    )
  },
})
