import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Faults } from './faults.ts'

/**
 * What stands between one engine and PostgreSQL: a unix socket that passes the protocol on
 * (https://www.postgresql.org/docs/18/protocol-message-formats.html), sees each COMMIT go by, and cuts where it is told to.
 */
export interface DatabaseProxy {
  /** The database's URL through here. */
  url: string
  /** Cuts every connection and takes no more, as when the engine's process is gone. */
  sever(): void
  stop(): void
}

export interface ProxyOptions {
  /** Path of the server's unix socket. */
  target: string
  /** The URL without its host. */
  urlAt: (directory: string) => string
  faults: Faults
  /** Told to kill the engine at once; its connections are cut by then. */
  kill: () => void
}

const FRONTEND_BIND = 0x42
const FRONTEND_PARSE = 0x50
const FRONTEND_QUERY = 0x51
const FRONTEND_SYNC = 0x53

type Doom = 'cut before' | 'cut after' | 'kill before' | 'kill inside' | 'serialization'

export async function startDatabaseProxy(options: ProxyOptions): Promise<DatabaseProxy> {
  const { faults } = options
  const directory = mkdtempSync(join(tmpdir(), 'dunes-sim-'))
  const pairs = new Set<{ client: Socket; server: Socket }>()
  let away = 0
  let gone = false
  const cutAll = () => {
    for (const { client, server } of [...pairs]) {
      client.destroy()
      server.destroy()
    }
    pairs.clear()
  }

  const doomOfCommit = (): Doom | null => {
    if (faults.strikes('database cut before a commit')) return 'cut before'
    if (faults.strikes('database cut after a commit')) return 'cut after'
    if (faults.strikes('database serialization failure')) return 'serialization'
    if (faults.strikes('kill before a commit')) return 'kill before'
    if (faults.strikes('kill inside a commit')) return 'kill inside'
    return null
  }

  const listener: Server = createServer((client) => {
    if (gone || away > 0) {
      away--
      return void client.destroy()
    }
    const server = new Socket()
    const pair = { client, server }
    pairs.add(pair)
    const cut = () => {
      pairs.delete(pair)
      client.destroy()
      server.destroy()
    }
    const kill = () => {
      cutAll()
      options.kill()
    }
    for (const socket of [client, server]) {
      socket.on('error', cut)
      socket.on('close', cut)
    }
    /** What the answer to a doomed COMMIT does; null while nothing is doomed. */
    let awaiting: Doom | null = null
    /** Set while the client's messages up to its Sync are left out, because a ROLLBACK went instead. */
    let swallowing = false
    let begun = false
    let rest: Buffer = Buffer.alloc(0)
    let answers: Buffer = Buffer.alloc(0)
    const commits = new Set<string>()

    const isCommit = (type: number, body: Buffer): boolean => {
      if (type === FRONTEND_QUERY) return /^\s*commit\b/i.test(body.toString('latin1'))
      if (type === FRONTEND_PARSE) {
        const end = body.indexOf(0)
        const name = body.toString('latin1', 0, end)
        const query = body.toString('latin1', end + 1, body.indexOf(0, end + 1))
        if (/^\s*commit\b/i.test(query)) commits.add(name)
        else commits.delete(name)
        return false
      }
      if (type !== FRONTEND_BIND) return false
      const portalEnd = body.indexOf(0)
      return commits.has(body.toString('latin1', portalEnd + 1, body.indexOf(0, portalEnd + 1)))
    }

    client.on('data', (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      const out: Buffer[] = []
      for (;;) {
        // The start-up packet has no type byte.
        const head = begun ? 1 : 0
        if (rest.length < head + 4) break
        const length = head + rest.readUInt32BE(head)
        if (rest.length < length) break
        const message = rest.subarray(0, length)
        rest = rest.subarray(length)
        if (!begun) {
          begun = true
          out.push(message)
          continue
        }
        const type = message[0] as number
        if (swallowing) {
          if (type === FRONTEND_SYNC) swallowing = false
          continue
        }
        if (faults.strikes('database cut')) return void cut()
        if (faults.strikes('database away')) {
          away = 4
          return void cutAll()
        }
        if (isCommit(type, message.subarray(5))) {
          const doom = doomOfCommit()
          if (doom === 'cut before') return void cut()
          if (doom === 'kill before') return void kill()
          awaiting = doom
          if (doom === 'serialization') {
            swallowing = type !== FRONTEND_QUERY
            out.push(ROLLBACK)
            continue
          }
        }
        out.push(message)
      }
      if (out.length > 0) server.write(Buffer.concat(out))
    })
    server.on('data', (chunk: Buffer) => {
      if (awaiting === null) return void client.write(chunk)
      // The server has said something about the COMMIT: it is done, and the engine does not learn it.
      if (awaiting === 'cut after') return void cut()
      if (awaiting === 'kill inside') return void kill()
      answers = Buffer.concat([answers, chunk])
      // ReadyForQuery ends the answer to the ROLLBACK.
      if (answers.length < READY.length || !answers.subarray(-READY.length).equals(READY)) return
      answers = Buffer.alloc(0)
      awaiting = null
      client.write(SERIALIZATION_FAILURE)
    })
    server.connect(options.target)
  })
  await new Promise<void>((done) => listener.listen(join(directory, '.s.PGSQL.5432'), done))
  const sever = () => {
    gone = true
    cutAll()
  }
  return {
    url: options.urlAt(directory),
    sever,
    stop() {
      sever()
      listener.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

const packet = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5)
  head.write(type, 'latin1')
  head.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
const ROLLBACK = packet('Q', Buffer.from('rollback\0'))
const READY = packet('Z', Buffer.from('I'))
const SERIALIZATION_FAILURE = Buffer.concat([
  packet(
    'E',
    Buffer.from('SERROR\0VERROR\0C40001\0Mcould not serialize access due to concurrent update\0\0'),
  ),
  READY,
])
