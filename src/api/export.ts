import type { Context } from 'hono'
import { utf8 } from '../core/bytes.ts'
import type { Logger } from '../core/logger.ts'
import type { Table, TableRow } from '../service/table.ts'
import { untrusted } from './conditional.ts'

/** The forms in which a list is given out. */
export const FORMATS = ['json', 'csv', 'jsonl'] as const
export type Format = (typeof FORMATS)[number]

export const EXPORT_TYPES = { csv: 'text/csv', jsonl: 'application/jsonl' } as const

/** Media types by which `Accept` asks for each form. */
const ACCEPTED: Readonly<Record<string, Format>> = {
  'application/json': 'json',
  'text/csv': 'csv',
  'application/jsonl': 'jsonl',
  'application/x-ndjson': 'jsonl',
}

/** The form that is asked for: by `format`, else by the first media type in `Accept` that names one, else JSON. */
export function formatOf(format: Format | undefined, accept: string | undefined): Format {
  if (format) return format
  for (const part of (accept ?? '').split(',')) {
    const found = ACCEPTED[part.split(';')[0]?.trim().toLowerCase() ?? '']
    if (found) return found
  }
  return 'json'
}

/** A field of RFC 4180: quoted where it must be. Nothing and an empty text are both an empty field. */
function csvField(value: TableRow[string] | undefined): string {
  if (value === null || value === undefined) return ''
  const text = String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

const csvLine = (fields: readonly (TableRow[string] | undefined)[]): string =>
  `${fields.map(csvField).join(',')}\r\n`

/**
 * Streams a table as CSV (RFC 4180, with a header line) or as JSON lines. A page is made when the client has taken the one before.
 * When something breaks half-way the connection is cut, so that half an export never looks like a whole one; each row's `cursor` leads
 * on from it.
 */
export function sendTable(
  c: Context,
  { columns, pages }: Table,
  format: 'csv' | 'jsonl',
  name: string,
  logger: Logger,
): Response {
  const encode = (rows: readonly TableRow[]): string =>
    format === 'csv'
      ? rows.map((row) => csvLine(columns.map((column) => row[column]))).join('')
      : rows.map((row) => `${jsonLine(row)}\n`).join('')
  let head = format === 'csv' ? csvLine(columns) : ''
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        for (;;) {
          const { done, value } = await pages.next()
          const text = head + (done ? '' : encode(value))
          head = ''
          if (text !== '') controller.enqueue(utf8(text))
          if (done) controller.close()
          if (done || text !== '') return
        }
      } catch (error) {
        logger.warn({ err: error }, 'cut an export off')
        controller.error(error)
      }
    },
    async cancel() {
      await pages.return(undefined)
    },
  })
  c.header('Vary', 'Accept', { append: true })
  return c.body(body, 200, {
    'Content-Type':
      format === 'csv' ? `${EXPORT_TYPES.csv}; charset=utf-8; header=present` : EXPORT_TYPES.jsonl,
    'Cache-Control': 'no-store',
    ...untrusted(`${name}.${format}`),
  })
}

/** Values of a reading are JSON already. */
const jsonLine = ({ values, ...row }: TableRow): string =>
  typeof values === 'string' ? `${JSON.stringify(row).slice(0, -1)},"values":${values}}` : JSON.stringify(row)
