import { createHash } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { HeadSocket } from '../../../src/chain/head-socket.ts'
import { followLive, sourceOf, truth } from '../../support/follow.ts'
import { startTraffic, type TrafficChain } from '../../support/traffic.ts'
import { until } from '../../support/world.ts'

let chain: TrafficChain
beforeAll(async () => {
  chain = await startTraffic()
})
afterAll(() => chain.stop())

/** A WebSocket server that says what it likes (RFC 6455, unmasked text frames of at most 125 bytes). */
async function liar(speak: (say: (text: string) => void, socket: Socket) => void) {
  const sockets = new Set<Socket>()
  const server: Server = createServer()
  let connections = 0
  server.on('upgrade', (request, socket: Socket) => {
    connections++
    sockets.add(socket)
    socket.on('error', () => {})
    const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
    const accept = createHash('sha1').update(key).digest('base64')
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
    speak(
      (text) => socket.write(Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)])),
      socket,
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `ws://user:secret@127.0.0.1:${(server.address() as AddressInfo).port}/key`,
    connections: () => connections,
    stop: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

it('wakes the poller, which alone would look much later', async () => {
  const { source } = sourceOf(chain, { pollMs: 60_000, finality: { confirmations: 10_000 } })
  const live = followLive(source)
  await live.caughtUp(chain)
  const stop = new AbortController()
  const socket = new HeadSocket({ url: chain.anvil.url.replace('http', 'ws') }, { wake: () => source.wake() })
  const running = socket.run(stop.signal)
  await until('it to be connected', async () => (socket.status().connected ? true : undefined))
  await until('heads to be told', async () => {
    await chain.emptyBlocks(1)
    return socket.status().wakes > 0 ? true : undefined
  })
  await chain.submitBlock(2)
  await live.caughtUp(chain)
  expect(live.replay.events()).toEqual(await truth(chain))
  stop.abort()
  await running
  await live.stop()
})

it('is nothing that anybody relies on: it lies, floods and hangs up, and comes back', async () => {
  const { source } = sourceOf(chain, { pollMs: 20 })
  const live = followLive(source)
  const host = await liar((say, socket) => {
    for (let i = 0; i < 500; i++) say('{"method":"eth_subscription","params":{"result":{"number":"0xff"}}}')
    say('not json')
    setTimeout(() => socket.destroy(), 50)
  })
  let wakes = 0
  const socket = new HeadSocket(
    { url: host.url },
    {
      wake: () => {
        wakes++
        source.wake()
      },
      random: () => 0,
    },
  )
  const stop = new AbortController()
  const begun = Date.now()
  const running = socket.run(stop.signal)
  await chain.submitBlock(2)
  await live.caughtUp(chain)
  await until('it to come back', async () => (host.connections() >= 3 ? true : undefined))
  // One every ten milliseconds at most, of 500 that each connection tells.
  expect(wakes).toBeLessThanOrEqual(2 + (Date.now() - begun) / 10)
  expect(wakes).toBeGreaterThan(0)
  expect(JSON.stringify(socket.status())).not.toMatch(/secret|key/)
  expect(socket.status().failures).toBeGreaterThanOrEqual(2)
  expect(live.replay.events()).toEqual(await truth(chain))
  stop.abort()
  await running
  await live.stop()
  host.stop()
})

it('wakes for a head that comes right after another, a moment later', async () => {
  const host = await liar((say) => {
    for (let i = 0; i < 50; i++) say('{"method":"eth_subscription"}')
  })
  let now = 1_000_000
  let pass = () => {}
  const clock = {
    now: () => now,
    sleep: (ms: number) =>
      new Promise<void>((resolve) => {
        pass = () => {
          // Once: time stands still until somebody waits again.
          pass = () => {}
          now += ms
          resolve()
        }
      }),
  }
  const stop = new AbortController()
  const wokeAt: number[] = []
  const socket = new HeadSocket({ url: host.url }, { wake: () => wokeAt.push(now), clock })
  const running = socket.run(stop.signal)
  await until('the first', async () => (wokeAt.length > 0 ? true : undefined))
  await until('the second', async () => {
    pass()
    return wokeAt.length > 1 ? true : undefined
  })
  // The rest of what was said may come a moment later still.
  expect(wokeAt.slice(0, 2)).toEqual([1_000_000, 1_000_010])
  stop.abort()
  pass()
  await running
  host.stop()
})

it('notices a peer that says nothing any more', async () => {
  const host = await liar(() => {})
  const stop = new AbortController()
  const socket = new HeadSocket({ url: host.url, silentMs: 150 }, { wake: () => {}, random: () => 0 })
  const running = socket.run(stop.signal)
  await until('it to connect anew', async () => (host.connections() >= 2 ? true : undefined))
  stop.abort()
  await running
  host.stop()
})
