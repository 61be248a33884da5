import { MamlError } from '../maml/error.ts'
import { parseSchemaFile } from '../maml/schema.ts'
import type { Findings } from './findings.ts'
import type { Snapshot } from './rows.ts'

/** Every dataset with a valid schema has its table of readings, and no other table of that kind is there. */
export async function checkReadingTables(db: Snapshot, findings: Findings): Promise<void> {
  const present = new Set(
    (
      await db`
        select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = current_schema() and c.relkind = 'r' and c.relname like 'reading\\_%'`
    ).map((row) => row['name'] as string),
  )
  const query = db`
    select d.name, v.schema from dataset d join dataset_version v on v.dataset = d.id order by d.id, v.version`
  const wanted = new Set<string>()
  await query.cursor(16, (rows) => {
    for (const { name, schema } of rows) if (isSchema(new Uint8Array(schema))) wanted.add(`reading_${name}`)
  })
  for (const name of wanted)
    if (!present.has(name)) findings.add(name, 'the table', 'table', 'a table', 'nothing')
  for (const name of present)
    if (!wanted.has(name)) findings.add(name, 'the table', 'table', 'nothing', 'a table')
}

function isSchema(bytes: Uint8Array): boolean {
  try {
    parseSchemaFile(bytes)
    return true
  } catch (error) {
    if (error instanceof MamlError) return false
    throw error
  }
}
