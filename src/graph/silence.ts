import { type NetConnectOpts, Socket } from 'node:net'
import { SSL_REQUEST } from './database-tls.ts'

/** How often sockets are looked at, as a part of the silence that is waited for. */
const LOOKS = 6
/** Longest silence between two questions to a server that is well, in milliseconds. */
const LONGEST_MS = 3_600_000

/**
 * Cuts a connection whose server is gone without a word: host down, network parted, proxy frozen. The system itself gives up only after a
 * quarter of an hour where something was sent, and never where a proxy still takes the bytes. No statement has a deadline for this, as some take
 * long: once `socket` is silent for `silenceMs`, a connection of its own asks whether anybody is there, and without a word within
 * `answerMs` the socket is destroyed with `gone`. A server that is well is asked again after twice the silence, and so on.
 */
export function watchSilence(
  socket: Socket,
  target: NetConnectOpts,
  { silenceMs, answerMs, gone }: { silenceMs: number; answerMs: number; gone: (why: string) => Error },
): void {
  let heard = socket.bytesRead
  let said = socket.bytesWritten
  let since = Date.now()
  let wait = silenceMs
  /** Whether something was said since it was last known to be well. */
  let asked = false
  let asking = false
  const start = () => {
    since = Date.now()
    wait = silenceMs
  }
  const look = async () => {
    if (socket.destroyed) return clearInterval(timer)
    if (socket.bytesRead !== heard) {
      heard = socket.bytesRead
      said = socket.bytesWritten
      asked = false
      start()
    } else if (!asked && socket.bytesWritten !== said) {
      asked = true
      start()
    }
    said = socket.bytesWritten
    if (asking || Date.now() - since < wait) return
    asking = true
    const why = await silentFor(target, answerMs)
    asking = false
    if (socket.destroyed || socket.bytesRead !== heard) return
    if (why !== null) socket.destroy(gone(why))
    asked = false
    wait = Math.min(LONGEST_MS, 2 * (Date.now() - since))
  }
  const timer = setInterval(() => void look(), silenceMs / LOOKS)
  timer.unref()
}

/** Null where anything answers on a new connection, whatever it says; else why not. */
function silentFor(target: NetConnectOpts, answerMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const probe = new Socket()
    const done = (why: string | null) => {
      clearTimeout(timer)
      probe.destroy()
      resolve(why)
    }
    const timer = setTimeout(() => done(`silent for ${answerMs / 1000} s on a new connection, too`), answerMs)
    probe.once('data', () => done(null))
    // A server that hangs up, or whose places are taken, is there, and says itself what is wrong.
    probe.once('end', () => done(null))
    probe.once('error', (error) => done(error.message))
    probe.connect(target, () => probe.write(SSL_REQUEST))
  })
}
