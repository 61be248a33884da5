import { setTimeout as delay } from 'node:timers/promises'
import { encodeFunctionData } from 'viem'
import { sensorRegistryAbi } from '../src/chain/abi.ts'
import type { Hex } from '../src/core/bytes.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { parseMaml } from '../src/maml/parse.ts'
import { verifyMaml } from '../src/maml/sign.ts'
import { payloadClaim } from '../src/service/registry-client.ts'
import type { World } from '../test/support/world.ts'
import { startApi } from './api-process.ts'
import { openAsker } from './asker.ts'
import { against, type Figure, latency, median, must } from './measure.ts'
import { type Databases, prepare, startParts, startPipeline } from './parts.ts'
import type { Bench } from './scratch.ts'

/**
 * How the indexer hears of a block: over WebSocket (and by a look every second, should it be lost), or by looking every so many
 * milliseconds: in tests and by default.
 */
const WAYS = [
  { name: 'socket', pollMs: 1_000, socket: true, rounds: 100 },
  { name: 'poll_20', pollMs: 20, socket: false, rounds: 60 },
  { name: 'poll_250', pollMs: 250, socket: false, rounds: 20 },
] as const
/** Milliseconds between two looks for the verdict: what the figures may be too high by. */
const LOOK_MS = 2
const PATIENCE_MS = 30_000

/**
 * From the block that settles a submission to its verdict in the answer of the REST API, one submission at a time, blocks mined at
 * once. The API is a process of its own, as `dunes serve` is. The verdict comes after the payload was fetched over HTTP, hashed, parsed and its signature and readings checked.
 */
export async function benchLive(bench: Bench, databases: Databases): Promise<Figure[]> {
  bench.progress('ingest: latency of single submissions')
  const { world, host } = await startParts(bench)
  const { sql, url, drop } = await databases.fresh()
  bench.closing(drop)
  await sql`create table floor (n bigserial primary key, bytes bytea)`
  const key = new Map(world.stations.map((station) => [station, mlDsa.publicKey(65, station.seed)]))
  const out: Figure[] = []
  let n = 0
  const ask = openAsker(bench, (await startApi(bench, url, world.deployment)).url)
  const spreadMs = (pollMs: number) => Math.min(pollMs, 250)
  for (const { name, pollMs, socket, rounds } of WAYS) {
    const indexer = startPipeline({ world, host, sql, mlDsa, pollMs, socket })
    const fromSent: number[] = []
    const fromMined: number[] = []
    const floor: number[] = []
    bench.closing(indexer.stop)
    for (let round = -3; round < rounds; round++) {
      bench.check()
      const { station, bytes, uri } = prepare(world, host, n++, 1)
      const claim = await station.client.submit(payloadClaim(station.sensor, bytes, uri))
      const { events } = await claim.send()
      const id = events.find((event) => event.type === 'submitted')?.id
      must(id !== undefined, 'a submission was not mined')
      const [first, second] = world.validators
      await (await first!.attest(id, true)).send()
      // Spread over the indexer's turns, the same in each run.
      await delay((n * 7) % spreadMs(pollMs))
      const sent = performance.now()
      await attestSync(world, second!.account, id)
      const mined = performance.now()
      for (;;) {
        const answer = await ask(`/v1/submissions/${id}`)
        const verdict = /"verdict":"([a-z]+)"/.exec(answer)?.[1]
        if (verdict !== undefined) {
          must(verdict === 'accepted', 'a submission was rejected')
          break
        }
        if (indexer.failed()) throw indexer.failed()
        must(performance.now() - mined < PATIENCE_MS, 'a submission got no verdict')
        await delay(LOOK_MS)
      }
      const seen = performance.now()
      const begun = performance.now()
      await world.rpc('eth_getBlockByNumber', ['latest', true])
      const fetched = new Uint8Array(await (await fetch(uri)).arrayBuffer())
      must(verifyMaml(parseMaml(fetched), key.get(station)!, mlDsa), 'a payload is not signed')
      await sql`insert into floor (bytes) values (${fetched})`
      const ended = performance.now()
      // The first three warm up.
      if (round < 0) continue
      fromSent.push(seen - sent)
      fromMined.push(seen - mined)
      floor.push(ended - begun)
    }
    await indexer.stop()
    out.push(
      latency(`live_mined_to_visible_${name}`, 'ms', fromMined, {
        comparedWith: [
          against(
            median(fromMined),
            'one block asked for, one GET, one verify, one INSERT',
            'ms',
            median(floor),
          ),
        ],
        note: `${socket ? 'the node tells of each block over WebSocket' : `the indexer looks every ${pollMs} ms`}; from the answer that the settling transaction is mined to the verdict over REST`,
      }),
      latency(`live_sent_to_visible_${name}`, 'ms', fromSent, {
        note: 'the same, from before that transaction is sent: mining and the RPC answer are in it',
      }),
    )
  }
  return out
}

/** Attests and answers once it is mined, in one call to the node. */
async function attestSync(world: World, from: Hex, id: Hex): Promise<void> {
  const data = encodeFunctionData({ abi: sensorRegistryAbi, functionName: 'attest', args: [id, true] })
  const transaction = { from, to: world.deployment.registry, data, gas: '0x7a120' }
  const receipt = await world.rpc<{ status: Hex }>('eth_sendTransactionSync', [transaction])
  must(receipt.status === '0x1', 'an attestation reverted')
}
