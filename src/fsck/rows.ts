import type { Sql, TransactionSql } from 'postgres'
import type { Hex } from '../core/bytes.ts'
import type { Json } from '../core/json.ts'

/** A client or a transaction; what matters is that every query of one audit sees the same snapshot. */
export type Snapshot = Sql | TransactionSql

/**
 * A row as PostgreSQL's `to_jsonb` gives it: integers as numbers, `bytea` as text that begins with `\x`. Integers beyond 2^53 come out
 * rounded, which no honest row holds and which equals nothing that one could hold. Unlike typed columns, no value makes a
 * query fail.
 */
export type Row = Readonly<Record<string, Json>>

/** `bytea` of a row as 0x hex. */
export const hexOf = (value: Json | undefined): Hex =>
  typeof value === 'string' && value.startsWith('\\x') ? `0x${value.slice(2)}` : '0x'

/** `bytea` of a row as bytes. */
export const bytesOf = (value: Json | undefined): Uint8Array =>
  new Uint8Array(Buffer.from(typeof value === 'string' ? value.slice(2) : '', 'hex'))

/** A number of a row; NaN where there is none, which equals nothing. */
export const numberOf = (value: Json | undefined): number => (typeof value === 'number' ? value : Number.NaN)

export const textOf = (value: Json | undefined): string => (typeof value === 'string' ? value : '')

/** Rows of one query that selects a single `jsonb` column called `row`. */
export const jsonRows = (rows: readonly { [column: string]: unknown }[]): Row[] =>
  rows.map((row) => row['row'] as Row)

/** A page of a table in key order: most rows that one query reads. */
export const PAGE = 500
