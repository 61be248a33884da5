import { generateKeyPairSync } from 'node:crypto'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { selfSigned } from './certificate.ts'

export interface DatabaseTcp {
  /** The database's URL over TCP through here. */
  url: string
  /** From now on nothing is passed on, and nobody is told: what is connected stays so, what connects is taken. */
  freeze(): void
  /** Ends what was frozen at the server, as it would find out by itself, and passes on what connects from now on. */
  thaw(): void
  /** From now on what connects is passed on to the server of another URL. */
  move(databaseUrl: string): void
  /** Resets every connection, without a goodbye. */
  reset(): void
  stop(): Promise<void>
}

const SSL_REQUEST_BYTES = 8

const parse = (databaseUrl: string) =>
  new URL(databaseUrl.replace(/^postgres:/, 'http:').replace('@/', '@localhost/'))
const socketOf = (databaseUrl: string) => `${parse(databaseUrl).searchParams.get('host')}/.s.PGSQL.5432`

/** TCP, or TLS over it, in front of the unix socket of the test server that `databaseUrl` names. */
export async function startDatabaseTcp(
  databaseUrl: string,
  options: { tls?: boolean } = {},
): Promise<DatabaseTcp> {
  const target = parse(databaseUrl)
  let path = socketOf(databaseUrl)
  const key = generateKeyPairSync('ed25519').privateKey
  const secure = {
    isServer: true,
    key: key.export({ type: 'pkcs8', format: 'pem' }),
    cert: selfSigned('localhost', key),
  }
  const pairs = new Set<{ client: Socket; inner: Socket; server: Socket }>()
  let frozen = false
  const listener = createServer(async (client) => {
    client.on('error', () => {})
    if (frozen) return void held.add(client)
    let inner = client
    if (options.tls) {
      const request = await new Promise<Buffer | null>((resolve) => {
        client.once('data', resolve)
        client.once('close', () => resolve(null))
      })
      if (request?.length !== SSL_REQUEST_BYTES) return void client.destroy()
      client.write('S')
      inner = new TLSSocket(client, secure)
      inner.on('error', () => client.destroy())
    }
    const server = createConnection(path)
    const pair = { client, inner, server }
    pairs.add(pair)
    server.on('error', () => client.destroy())
    for (const socket of [client, server])
      socket.on('close', () => {
        // A frozen proxy does not notice either.
        if (frozen) return
        pairs.delete(pair)
        client.destroy()
        server.destroy()
      })
    inner.pipe(server).pipe(inner)
  })
  const held = new Set<Socket>()
  const end = () => {
    for (const { client, server } of pairs) {
      client.destroy()
      server.destroy()
    }
    for (const client of held) client.destroy()
    pairs.clear()
    held.clear()
  }
  await new Promise<void>((done) => listener.listen(0, '127.0.0.1', done))
  const { port } = listener.address() as AddressInfo
  const mode = options.tls ? '?sslmode=require' : ''
  return {
    url: `postgres://${target.username}:${target.password}@127.0.0.1:${port}${target.pathname}${mode}`,
    freeze() {
      frozen = true
      for (const { client, inner, server } of pairs) {
        inner.unpipe(server).pause()
        server.unpipe(inner).pause()
        client.pause()
      }
    },
    thaw() {
      frozen = false
      end()
    },
    move(databaseUrl) {
      path = socketOf(databaseUrl)
    },
    reset() {
      for (const { client } of pairs) client.resetAndDestroy()
    },
    async stop() {
      frozen = false
      end()
      await new Promise((done) => listener.close(done))
    },
  }
}
