import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import { createResolve } from '../../../src/payload/resolve.ts'

const A = 1
const AAAA = 28

/** A name server (RFC 1035) that answers A and AAAA questions with `records`, or not at all where there is no entry. */
async function nameServer(records: Partial<Record<number, readonly Uint8Array[]>>) {
  const socket = createSocket('udp4')
  const questions: string[] = []
  socket.on('message', (message, sender) => {
    let end = 12
    const labels: string[] = []
    for (let length = message[end] ?? 0; length > 0; length = message[end] ?? 0) {
      labels.push(message.toString('latin1', end + 1, end + 1 + length))
      end += 1 + length
    }
    const type = message.readUInt16BE(end + 1)
    questions.push(`${labels.join('.')} ${type}`)
    const found = records[type]
    if (found === undefined) return
    const head = Buffer.from(message.subarray(0, 12))
    head.writeUInt16BE(0x8180, 2)
    head.writeUInt16BE(found.length, 6)
    head.writeUInt32BE(0, 8)
    const answers = found.map((data) =>
      Buffer.concat([Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, data.length]), data]),
    )
    socket.send(Buffer.concat([head, message.subarray(12, end + 5), ...answers]), sender.port, sender.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  onTestFinished(() => void socket.close())
  return { questions, resolve: createResolve([`127.0.0.1:${socket.address().port}`]) }
}

const V4 = [Uint8Array.of(192, 0, 2, 1), Uint8Array.of(192, 0, 2, 2)]
const V6 = [Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)]

test('both kinds of address, in turn', async () => {
  const { resolve, questions } = await nameServer({ [A]: V4, [AAAA]: V6 })
  expect(await resolve('Host.Example.')).toEqual(['192.0.2.1', '2001:db8::1', '192.0.2.2'])
  expect(questions.map((question) => question.toLowerCase()).sort()).toEqual([
    'host.example 1',
    'host.example 28',
  ])
})

test('no records, no addresses', async () => {
  const { resolve } = await nameServer({ [A]: [], [AAAA]: [] })
  expect(await resolve('host.example')).toEqual([])
})

test('a server that ignores AAAA questions costs two short tries, not twenty seconds', async () => {
  const { resolve } = await nameServer({ [A]: V4 })
  const began = performance.now()
  expect(await resolve('host.example')).toEqual(['192.0.2.1', '192.0.2.2'])
  expect(performance.now() - began).toBeLessThan(4500)
})

test('localhost is asked of nobody', async () => {
  const { resolve, questions } = await nameServer({ [A]: V4, [AAAA]: V6 })
  for (const name of ['localhost', 'LocalHost.', 'x.localhost'])
    expect(await resolve(name)).toEqual(['127.0.0.1', '::1'])
  expect(questions).toEqual([])
})
