import type { TransactionSql } from 'postgres'
import { fromHex, type Hex } from '../core/bytes.ts'
import { CopyRows, copyIn } from './copy.ts'

/** What a column takes: `hex` is bytes as lower-case 0x hex. Each also takes null. */
type ColumnKind = 'int8' | 'int4' | 'int2' | 'bool' | 'bytes' | 'hex' | 'text'
export type Cell = number | boolean | Uint8Array | string | null

const SQL_TYPES: Readonly<Record<ColumnKind, string>> = {
  int8: 'bigint',
  int4: 'integer',
  int2: 'smallint',
  bool: 'boolean',
  bytes: 'bytea',
  hex: 'bytea',
  text: 'text',
}

/** From so many rows on COPY is worth its two round trips. */
const COPY_ROWS = 24

/** A table's columns in the order in which rows give them. Names must not come from a stranger. */
export type Columns = Readonly<Record<string, ColumnKind>>

/** Adds rows that are all new: few by one `INSERT`, many by binary `COPY`. Rejects where one is there already. */
export async function insertRows(
  tx: TransactionSql,
  table: string,
  columns: Columns,
  rows: readonly (readonly Cell[])[],
): Promise<void> {
  if (rows.length === 0) return
  const names = Object.keys(columns)
  const kinds = Object.values(columns)
  const target = `${table} (${names.join(', ')})`
  if (isCopied(rows)) {
    const copy = new CopyRows()
    for (const row of rows) {
      copy.row(kinds.length)
      for (let i = 0; i < kinds.length; i++) put(copy, kinds[i] as ColumnKind, row[i] as Cell)
    }
    return copyIn(tx, target, copy)
  }
  let n = 0
  const values = rows.map(() => `(${kinds.map((kind) => `$${++n}::${SQL_TYPES[kind]}`).join(', ')})`)
  const parameters = rows.flatMap((row) =>
    row.map((cell, i) => (kinds[i] === 'hex' && cell !== null ? fromHex(cell as Hex) : cell)),
  )
  await tx.unsafe(`insert into ${target} values ${values.join(', ')}`, parameters as never[], {
    prepare: true,
  })
}

/** Whether {@link insertRows} adds so many rows by COPY. */
export const isCopied = (rows: readonly unknown[]): boolean => rows.length >= COPY_ROWS

/**
 * Has the statements of this transaction planned once for a session, and not anew for each array that they are given: of few rows
 * planning costs more than all else, and of many rows a look into an index for each is what they are made for.
 */
export async function planOnce(tx: TransactionSql): Promise<void> {
  await tx`set local plan_cache_mode = force_generic_plan`
}

type Job = () => Promise<unknown>

/**
 * Runs jobs that each send to the same transaction, in order: together, so that they wait for one answer, or in turn where one of them
 * `copies`, as nothing may be sent beside a COPY.
 */
export async function sendTogether<const Jobs extends readonly Job[]>(
  copies: boolean,
  jobs: Jobs,
): Promise<{ -readonly [K in keyof Jobs]: Awaited<ReturnType<Jobs[K]>> }> {
  const results: unknown[] = []
  if (copies) for (const job of jobs) results.push(await job())
  else results.push(...(await Promise.all(jobs.map((job) => job()))))
  return results as { -readonly [K in keyof Jobs]: Awaited<ReturnType<Jobs[K]>> }
}

function put(copy: CopyRows, kind: ColumnKind, cell: Cell): void {
  if (cell === null) copy.null()
  else if (kind === 'hex') copy.hex(cell as string)
  else if (kind === 'int8') copy.int8(cell as number)
  else if (kind === 'int4') copy.int4(cell as number)
  else if (kind === 'int2') copy.int2(cell as number)
  else if (kind === 'bytes') copy.bytes(cell as Uint8Array)
  else if (kind === 'bool') copy.bool(cell as boolean)
  else copy.text(cell as string)
}
