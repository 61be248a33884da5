import { isIP, type Socket } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'

/** How a connection to the database is encrypted; null for not at all. */
export interface DatabaseTls {
  /** Whether the server's certificate must be good for its name. */
  readonly verify: boolean
  /** Whether a server without TLS will do. */
  readonly optional: boolean
  /** TLS from the first byte on, without asking for it. */
  readonly direct: boolean
}

/** https://www.postgresql.org/docs/18/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-SSLREQUEST */
export const SSL_REQUEST = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47)
const YES = 'S'.charCodeAt(0)

/** Takes libpq's `sslmode`, `ssl`, `sslrootcert` and `sslnegotiation` out of a URL's parameters; null without TLS. */
export function takeTls(parameters: URLSearchParams): DatabaseTls | null {
  const take = (name: string): string | null => {
    const value = parameters.get(name)
    parameters.delete(name)
    return value
  }
  const [sslmode, ssl, direct] = [take('sslmode'), take('ssl'), take('sslnegotiation') === 'direct']
  const mode = take('sslrootcert') === 'system' ? 'verify-full' : (sslmode ?? ssl ?? 'disable')
  if (mode === 'disable' || mode === 'false' || mode === '0') return null
  return { verify: mode.startsWith('verify'), optional: mode === 'prefer', direct }
}

/**
 * Encrypts a connected socket as `tls` says. The driver could do it, but a TLS socket tells of a close because of an error, and then the driver
 * forgets what was asked meanwhile; see `DatabaseSocket`. Rejects where the server speaks no TLS, or its certificate is not good.
 */
export async function encrypt(socket: Socket, host: string, tls: DatabaseTls): Promise<Socket> {
  if (!tls.direct) {
    const answer = await new Promise<Buffer>((resolve, reject) => {
      socket.once('data', resolve)
      socket.once('error', reject)
      socket.once('close', () => reject(new Error('it hung up when asked for TLS')))
      socket.write(SSL_REQUEST)
    })
    socket.removeAllListeners('error').removeAllListeners('close')
    // More than the one byte would be what somebody in between put there.
    const yes = answer.length === 1 && answer[0] === YES
    if (!yes && tls.optional) return socket
    if (!yes) throw new Error('it does not speak TLS, which the database URL asks for')
  }
  return new Promise((resolve, reject) => {
    const secured: TLSSocket = connect({
      socket,
      rejectUnauthorized: tls.verify,
      ...(isIP(host) === 0 && { servername: host }),
      ...(tls.direct && { ALPNProtocols: ['postgresql'] }),
    })
    const emit = secured.emit.bind(secured) as (event: string | symbol, ...values: unknown[]) => boolean
    secured.emit = (event: string | symbol, ...values: unknown[]) =>
      event === 'close' ? emit('close', false) : emit(event, ...values)
    secured.once('error', reject)
    secured.once('close', () => reject(new Error('it hung up while TLS began')))
    secured.once('secureConnect', () => {
      secured.removeAllListeners('error').removeAllListeners('close')
      resolve(secured)
    })
  })
}
