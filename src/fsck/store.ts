import { DatabaseSync } from 'node:sqlite'
import type { Hex } from '../core/bytes.ts'

/** A key as registered; `proved` is its possession verified here. */
export interface StoredKey {
  readonly publicKey: Uint8Array
  readonly proved: boolean
}

/** A submission until it is settled. */
export interface StoredSubmission {
  readonly id: Hex
  readonly contributor: Hex
  readonly sensor: string
  readonly dataset: string
  readonly schemaSha256: Hex
  readonly payload: { readonly sha256: Hex; readonly bytes: number }
  readonly uri: Hex
  readonly keyId: Hex
  readonly block: number
  readonly logIndex: number
  /** How many keys the contributor had registered. */
  readonly keys: number
}

/** A contributor's counters: submissions made, submissions settled, and the fold over these. */
export interface StoredHead {
  readonly submitted: number
  readonly seq: number
  readonly acc: Hex
}

/** Raised when the tables below change: an older file is begun anew. */
const VERSION = 1

const TABLES = `
  create table if not exists meta (name text primary key, value text not null) strict;
  create table if not exists key (account text, idx integer, public_key blob not null, proved integer not null, revoked integer,
    primary key (account, idx)) strict, without rowid;
  create table if not exists schema (sha256 text primary key, bytes blob not null) strict;
  create table if not exists dataset (name text primary key, version integer not null, sha256 text not null) strict;
  create table if not exists sensor (name text primary key, account text not null, dataset text not null) strict;
  create table if not exists head (account text primary key, value text not null) strict;
  create table if not exists submission (id text primary key, value text not null) strict;
  create table if not exists accepted (account text, signed text, primary key (account, signed)) strict, without rowid;
  create table if not exists gone (account text primary key) strict;
  create table if not exists policy (first integer primary key, hash text not null) strict;
  create table if not exists anchor (size integer primary key, seq integer not null, root text not null) strict;`

/**
 * What an audit from the chain must remember, in a SQLite file: so its memory stays bounded however long the log is, and an
 * interrupted run goes on from its last commit.
 */
export class Store {
  readonly #db: DatabaseSync
  readonly #subject: string

  /** Opens the file, or begins it anew where it is not one of this audit's. */
  constructor(path: string, subject: string) {
    this.#db = new DatabaseSync(path)
    this.#db.exec('pragma journal_mode = wal; pragma synchronous = normal')
    this.#db.exec(TABLES)
    this.#subject = JSON.stringify([VERSION, subject])
    if (this.meta('subject') !== this.#subject) this.clear()
  }

  /** Forgets everything. */
  clear(): void {
    for (const table of [
      'meta',
      'key',
      'schema',
      'dataset',
      'sensor',
      'head',
      'submission',
      'accepted',
      'gone',
      'policy',
      'anchor',
    ])
      this.#db.exec(`delete from ${table}`)
    this.setMeta('subject', this.#subject)
  }

  begin(): void {
    this.#db.exec('begin')
  }

  commit(): void {
    this.#db.exec('commit')
  }

  /** Undoes what was not committed and closes the file. */
  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #one(
    query: string,
    ...values: (string | number | Uint8Array | null)[]
  ): Record<string, unknown> | undefined {
    return this.#db.prepare(query).get(...values)
  }

  #run(query: string, ...values: (string | number | Uint8Array | null)[]): void {
    this.#db.prepare(query).run(...values)
  }

  meta(name: string): string | null {
    return (this.#one('select value from meta where name = ?', name)?.['value'] as string | undefined) ?? null
  }

  setMeta(name: string, value: string): void {
    this.#run('insert or replace into meta values (?, ?)', name, value)
  }

  addKey(account: Hex, index: number, key: StoredKey): void {
    this.#run(
      'insert or replace into key values (?, ?, ?, ?, null)',
      account,
      index,
      key.publicKey,
      key.proved ? 1 : 0,
    )
  }

  revokeKey(account: Hex, index: number, block: number): void {
    this.#run('update key set revoked = ? where account = ? and idx = ?', block, account, index)
  }

  revokedAt(account: Hex, index: number): number | null | undefined {
    return this.#one('select revoked from key where account = ? and idx = ?', account, index)?.['revoked'] as
      | number
      | null
      | undefined
  }

  keyCount(account: Hex): number {
    return this.#one('select count(*) as n from key where account = ?', account)?.['n'] as number
  }

  /** The first `count` keys of an account, oldest first. */
  keys(account: Hex, count: number): StoredKey[] {
    return this.#db
      .prepare('select public_key, proved from key where account = ? order by idx limit ?')
      .all(account, count)
      .map((row) => ({
        publicKey: new Uint8Array(row['public_key'] as Uint8Array),
        proved: row['proved'] === 1,
      }))
  }

  addSchema(name: string, version: number, sha256: Hex, bytes: Uint8Array): void {
    this.#run('insert or ignore into schema values (?, ?)', sha256, bytes)
    this.#run('insert or replace into dataset values (?, ?, ?)', name, version, sha256)
  }

  /** SHA-256 of the schema in force for a dataset. */
  schemaOf(dataset: string): Hex | null {
    return (
      (this.#one('select sha256 from dataset where name = ?', dataset)?.['sha256'] as Hex | undefined) ?? null
    )
  }

  schemaBytes(sha256: Hex): Uint8Array | null {
    const row = this.#one('select bytes from schema where sha256 = ?', sha256)
    return row ? new Uint8Array(row['bytes'] as Uint8Array) : null
  }

  addSensor(name: string, account: Hex, dataset: string): void {
    this.#run('insert or replace into sensor values (?, ?, ?)', name, account, dataset)
  }

  sensor(name: string): { account: Hex; dataset: string } | null {
    return (this.#one('select account, dataset from sensor where name = ?', name) ?? null) as {
      account: Hex
      dataset: string
    } | null
  }

  head(account: Hex): StoredHead | null {
    const row = this.#one('select value from head where account = ?', account)
    return row ? (JSON.parse(row['value'] as string) as StoredHead) : null
  }

  setHead(account: Hex, head: StoredHead): void {
    this.#run('insert or replace into head values (?, ?)', account, JSON.stringify(head))
  }

  addSubmission(submission: StoredSubmission): void {
    this.#run('insert or replace into submission values (?, ?)', submission.id, JSON.stringify(submission))
  }

  /** Takes a submission out, as it is settled. */
  takeSubmission(id: Hex): StoredSubmission | null {
    const row = this.#one('delete from submission where id = ? returning value', id)
    return row ? (JSON.parse(row['value'] as string) as StoredSubmission) : null
  }

  pending(): number {
    return this.#one('select count(*) as n from submission')?.['n'] as number
  }

  isAccepted(account: Hex, signed: Hex): boolean {
    return this.#one('select 1 from accepted where account = ? and signed = ?', account, signed) !== undefined
  }

  addAccepted(account: Hex, signed: Hex): void {
    this.#run('insert or ignore into accepted values (?, ?)', account, signed)
  }

  /** Whether some payload of the account could not be had, so that a later one may repeat it unseen. */
  isGone(account: Hex): boolean {
    return this.#one('select 1 from gone where account = ?', account) !== undefined
  }

  addGone(account: Hex): void {
    this.#run('insert or ignore into gone values (?)', account)
  }

  addPolicy(first: number, hash: Hex): void {
    this.#run('insert or replace into policy values (?, ?)', first, hash)
  }

  policies(): { firstIndex: number; hash: Hex }[] {
    return this.#db
      .prepare('select first, hash from policy order by first')
      .all()
      .map((row) => ({ firstIndex: row['first'] as number, hash: row['hash'] as Hex }))
  }

  addAnchor(size: number, seq: number, root: Hex): void {
    this.#run('insert or replace into anchor values (?, ?, ?)', size, seq, root)
  }

  anchorAt(size: number): { seq: number; root: Hex } | null {
    return (this.#one('select seq, root from anchor where size = ?', size) ?? null) as {
      seq: number
      root: Hex
    } | null
  }
}
