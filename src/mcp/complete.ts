import { fromHex, toHex } from '../core/bytes.ts'
import { listDatasets } from '../service/catalog.ts'
import type { ServiceContext } from '../service/context.ts'

/** Values offered for one argument, at most (the protocol's own limit). */
const MAX_VALUES = 100

/** Offers values that begin with what was typed. */
export type Completer = (typed: string, ctx: ServiceContext) => Promise<string[]>

export const completeDataset: Completer = async (typed, ctx) => {
  const { items } = await listDatasets(ctx, { limit: 200 })
  return items
    .map(({ name }) => name)
    .filter((name) => name.startsWith(typed))
    .slice(0, MAX_VALUES)
}

export const completeSensor: Completer = async (typed, { sql }) => {
  if (!/^[a-z0-9_]{0,32}$/.test(typed)) return []
  const rows = await sql`
    select name from sensor where starts_with(name, ${typed}) order by name limit ${MAX_VALUES}`
  return rows.map((row) => row['name'] as string)
}

/** Ids of submissions in order; of all of them, the newest ones. */
export const completeSubmission: Completer = async (typed, { sql }) => {
  const digits = typed.replace(/^(0x?)?/, '').toLowerCase()
  if (!/^[0-9a-f]{0,64}$/.test(digits)) return []
  const rows =
    digits === ''
      ? await sql`select submission_id from submission order by id desc limit 20`
      : await sql`
          select submission_id from submission
          where submission_id between ${fromHex(`0x${digits.padEnd(64, '0')}`)} and ${fromHex(`0x${digits.padEnd(64, 'f')}`)}
          order by submission_id limit ${MAX_VALUES}`
  return rows.map((row) => toHex(row['submission_id']))
}
