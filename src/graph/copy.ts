import type { Readable, Writable } from 'node:stream'
import type { TransactionSql } from 'postgres'
import type { Db } from './cursor.ts'

/** What stands before the rows of PostgreSQL's binary COPY format, and after them. */
const HEADER = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)])
const TRAILER = Buffer.from([0xff, 0xff])
/** Microseconds from 1970 to 2000, where PostgreSQL's timestamps begin. */
const EPOCH_2000 = 946_684_800_000_000n

/**
 * Rows in PostgreSQL's binary COPY format (https://www.postgresql.org/docs/18/sql-copy.html): call `row`, then one method for each
 * column in order. Bytes go out as they are, without becoming hex and back: the cheapest way to add many rows.
 */
export class CopyRows {
  #buffer = Buffer.allocUnsafe(1 << 14)
  #at = 0
  #rows = 0

  constructor() {
    this.#at = HEADER.copy(this.#buffer, 0)
  }

  get rows(): number {
    return this.#rows
  }

  #need(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + bytes))
    this.#buffer.copy(larger, 0, 0, this.#at)
    this.#buffer = larger
  }

  row(columns: number): this {
    this.#need(2)
    this.#at = this.#buffer.writeInt16BE(columns, this.#at)
    this.#rows++
    return this
  }

  null(): this {
    this.#need(4)
    this.#at = this.#buffer.writeInt32BE(-1, this.#at)
    return this
  }

  bool(value: boolean): this {
    this.#need(5)
    this.#at = this.#buffer.writeInt32BE(1, this.#at)
    this.#buffer[this.#at++] = value ? 1 : 0
    return this
  }

  int2(value: number): this {
    this.#need(6)
    this.#at = this.#buffer.writeInt32BE(2, this.#at)
    this.#at = this.#buffer.writeInt16BE(value, this.#at)
    return this
  }

  int4(value: number): this {
    this.#need(8)
    this.#at = this.#buffer.writeInt32BE(4, this.#at)
    this.#at = this.#buffer.writeInt32BE(value, this.#at)
    return this
  }

  /** A safe integer. */
  int8(value: number): this {
    this.#need(12)
    this.#at = this.#buffer.writeInt32BE(8, this.#at)
    // Two's complement in two words: a bigint for each value would cost more than all the rest.
    this.#at = this.#buffer.writeInt32BE(Math.floor(value / 0x1_0000_0000), this.#at)
    this.#at = this.#buffer.writeUInt32BE(value >>> 0, this.#at)
    return this
  }

  float8(value: number): this {
    this.#need(12)
    this.#at = this.#buffer.writeInt32BE(8, this.#at)
    this.#at = this.#buffer.writeDoubleBE(value, this.#at)
    return this
  }

  /** Whole seconds since 1970 (negative before it) and microseconds after them. */
  timestamptz(seconds: number, microseconds: number): this {
    this.#need(12)
    this.#at = this.#buffer.writeInt32BE(8, this.#at)
    const micros = BigInt(seconds) * 1_000_000n + BigInt(microseconds) - EPOCH_2000
    this.#at = this.#buffer.writeBigInt64BE(micros, this.#at)
    return this
  }

  bytes(value: Uint8Array): this {
    this.#need(4 + value.length)
    this.#at = this.#buffer.writeInt32BE(value.length, this.#at)
    this.#buffer.set(value, this.#at)
    this.#at += value.length
    return this
  }

  /** Bytes from lower-case 0x hex. */
  hex(value: string): this {
    const length = value.length / 2 - 1
    this.#need(4 + length)
    this.#at = this.#buffer.writeInt32BE(length, this.#at)
    this.#at += this.#buffer.write(value.slice(2), this.#at, length, 'hex')
    return this
  }

  /** Text, and what PostgreSQL reads like text: no NUL, no lone surrogate. */
  text(value: string): this {
    // UTF-8 takes at most three bytes for a UTF-16 unit.
    this.#need(4 + 3 * value.length)
    const length = this.#buffer.write(value, this.#at + 4, 'utf8')
    this.#buffer.writeInt32BE(length, this.#at)
    this.#at += 4 + length
    return this
  }

  /** JSON text for a `jsonb` column. */
  jsonb(value: string): this {
    this.#need(5 + 3 * value.length)
    const length = this.#buffer.write(value, this.#at + 5, 'utf8')
    this.#buffer.writeInt32BE(length + 1, this.#at)
    // The one version of the format.
    this.#buffer[this.#at + 4] = 1
    this.#at += 5 + length
    return this
  }

  /** All rows with their header and trailer. Nothing can be added afterwards. */
  finish(): Uint8Array {
    this.#need(2)
    this.#at += TRAILER.copy(this.#buffer, this.#at)
    return this.#buffer.subarray(0, this.#at)
  }
}

/** What the driver's queries have besides their types. */
interface Running<Stream> {
  writable(): Promise<Stream>
  readable(): Promise<Stream>
  resolve: (stream: Stream) => void
  reject: (error: unknown) => void
}

/**
 * Runs a query that answers with a stream, which `take` is given. The driver has answered by the time that the server refuses a row or
 * the connection is lost: it tells nobody of the one, and of the other it tells the stream, perhaps before a promise could hand it over.
 */
function streamed<Stream extends Readable | Writable, Result>(
  query: unknown,
  way: 'readable' | 'writable',
  take: (stream: Stream, resolve: (result: Result) => void) => void,
): Promise<Result> {
  const running = query as Running<Stream>
  return new Promise((resolve, reject) => {
    const { resolve: answer, reject: fail } = running
    running.resolve = (stream) => {
      // It answers once more when all is done, with a result that is no stream.
      if (!Array.isArray(stream)) stream.on('error', reject)
      answer(stream)
    }
    running.reject = (error) => {
      fail(error)
      reject(error)
    }
    running[way]().then((stream) => take(stream, resolve), reject)
  })
}

/**
 * `COPY target FROM STDIN` within a transaction; `target` is a table with its columns and must not come from a stranger. Without rows it
 * does nothing. Rejects with the server's error.
 */
export function copyIn(tx: TransactionSql, target: string, rows: CopyRows): Promise<void> {
  if (rows.rows === 0) return Promise.resolve()
  const query = tx.unsafe(`copy ${target} from stdin (format binary)`)
  return streamed<Writable, void>(query, 'writable', (stream, resolve) => stream.end(rows.finish(), resolve))
}

/**
 * The columns of each row of `query`, which must not come from a stranger, in PostgreSQL's binary format: `bytea` as it is, integers
 * big-endian, null for null. Each is memory of its own, so that keeping one keeps nothing else.
 */
export function copyOut(sql: Db, query: string): Promise<(Uint8Array | null)[][]> {
  const running = sql.unsafe(`copy (${query}) to stdout (format binary)`)
  return streamed<Readable, (Uint8Array | null)[][]>(running, 'readable', (stream, resolve) => {
    const rows: (Uint8Array | null)[][] = []
    let first = true
    stream.on('end', () => resolve(rows))
    // The server sends each row as one message, the header before the first one and the trailer by itself.
    stream.on('data', (message: Buffer) => {
      let at = first ? HEADER.length : 0
      first = false
      while (at < message.length) {
        const columns = message.readInt16BE(at)
        at += 2
        if (columns < 0) return
        const row: (Uint8Array | null)[] = []
        for (let i = 0; i < columns; i++) {
          const length = message.readInt32BE(at)
          at += 4
          row.push(length < 0 ? null : new Uint8Array(message.subarray(at, at + Math.max(0, length))))
          at += Math.max(0, length)
        }
        rows.push(row)
      }
    })
  })
}
