import { connect } from 'node:net'
import type { Bench } from './scratch.ts'

/** Asks for one path after another on a connection that stays open, with as little work as HTTP allows; answers head and body. */
export function openAsker(bench: Bench, url: string): (path: string) => Promise<string> {
  const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', noDelay: true })
  bench.closing(() => void socket.destroy())
  let received = ''
  let done: ((body: string) => void) | null = null
  socket.setEncoding('latin1')
  socket.on('data', (text: string) => {
    received += text
    const head = received.indexOf('\r\n\r\n')
    if (head < 0) return
    const length = Number(/content-length: (\d+)/i.exec(received.slice(0, head))?.[1])
    if (received.length < head + 4 + length) return
    const answer = received
    received = ''
    done?.(answer)
  })
  return (path) =>
    new Promise((resolve) => {
      done = resolve
      socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)
    })
}
