import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { finished } from 'node:stream/promises'
import { createApi } from '../src/api/app.ts'
import { listen } from '../src/api/listen.ts'
import { recordHash } from '../src/chain/record.ts'
import { createRpc } from '../src/chain/rpc.ts'
import { anchorSlots, registrySlots } from '../src/chain/slots.ts'
import { fromHex, type Hex, sha256, toHex, u64be, u256be, utf8 } from '../src/core/bytes.ts'
import { systemClock } from '../src/core/clock.ts'
import { silentLogger } from '../src/core/logger.ts'
import { createMetrics } from '../src/core/metrics.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import type { Sql } from '../src/graph/connect.ts'
import { claimDatabase } from '../src/graph/cursor.ts'
import { signCheckpoint } from '../src/log/checkpoint.ts'
import { leafHash, nodeHash } from '../src/log/merkle.ts'
import { rootAt } from '../src/log/proof.ts'
import type { ReadTile } from '../src/log/read.ts'
import { FULL_TILE_BYTES, levelCount, TILE_WIDTH, tilePath, tileWidth } from '../src/log/tile.ts'
import { formatVkey } from '../src/log/vkey.ts'
import { parseTrustPolicy } from '../src/proof/trust-policy.ts'
import { objections, verifyBundle } from '../src/proof/verify.ts'
import { encodeEntry, readLines } from '../src/receipt/entry.ts'
import { createServiceContext } from '../src/service/context.ts'
import { ORIGIN, SIGNERS, startWorld, type World } from '../test/support/world.ts'
import { against, type Figure, latency, median, must, rate } from './measure.ts'
import { startDatabases } from './parts.ts'
import { type Bench, opened } from './scratch.ts'

const SIZE = 10_000_000
/** Leaves that are real submissions with rows, records and entries, spread over the whole log. */
const ROWS = 5_000
/** Different tiles of leaves besides those with real ones. Trees do not care; the disk holds every one in full. */
const PATTERNS = 64
const ASKED = 1_500
/** Connections that fetch tiles at once, and seconds for which they do. */
const CONNECTIONS = 16
const SECONDS = 2
const ROUNDS = 5

/** A stride prime to the size spreads the places evenly, the same in each run. */
const placeOf = (n: number): number => (n * 6_180_339 + 5) % SIZE

interface Row {
  id: Hex
  index: number
  entry: Uint8Array
  record: Hex
  payload: Hex
  uri: Uint8Array
}

const word = (fill: number): Hex => toHex(new Uint8Array(32).fill(fill))
const SUBMITTED_BLOCK = 5
const KEY_ID = word(0x55)
const SCHEMA_SHA256 = word(0x51)

function makeRow(world: World, index: number, seq: number): Row {
  const { registry } = world.deployment
  const { client, sensor } = world.stations[0]!
  const id = toHex(sha256(utf8(`submission ${index}`)))
  const payload = toHex(sha256(utf8(`payload ${index}`)))
  const uri = utf8(`https://payloads.example/${index}`)
  const fields = {
    chainId: 31337,
    registry,
    id,
    contributor: client.account,
    sensor,
    dataset: 'helium_sensors',
    schemaSha256: SCHEMA_SHA256,
    payloadHash: payload,
    payloadBytes: 5_000,
    uriSha256: toHex(sha256(uri)),
    keyId: KEY_ID,
    submittedBlock: SUBMITTED_BLOCK,
    seq,
    index,
    outcome: 'validated' as const,
  }
  const entry = encodeEntry(
    {
      v: 1,
      origin: ORIGIN,
      chain: 'eip155:31337',
      registry,
      index,
      submission: id,
      contributor: client.account,
      seq,
      acc: word(0x56),
      sensor,
      dataset: fields.dataset,
      schemaSha256: SCHEMA_SHA256,
      uriSha256: fields.uriSha256,
      payload: { sha256: payload, bytes: fields.payloadBytes },
      payloadSig: { alg: 'ML-DSA-65', keyId: KEY_ID, sha256: word(0x52) },
      readings: 1,
      submitted: { block: SUBMITTED_BLOCK, logIndex: 0 },
      settled: {
        tx: word(0x53),
        block: SUBMITTED_BLOCK + 1,
        blockHash: word(0x54),
        logIndex: 1,
        time: '2025-10-01T23:31:00Z',
      },
      outcome: 'validated',
      verdict: 'accepted',
      reason: null,
      observed: false,
      mirrorSha256: word(0x57),
    },
    readLines(['air_quality'], '2025-10-01T23:30:00Z'),
  )
  return { id, index, entry, record: recordHash(fields), payload, uri }
}

const perfect = (tile: Uint8Array): Uint8Array => {
  let nodes = Array.from({ length: TILE_WIDTH }, (_, i) => tile.subarray(i * 32, i * 32 + 32))
  while (nodes.length > 1)
    nodes = Array.from({ length: nodes.length / 2 }, (_, i) => nodeHash(nodes[2 * i]!, nodes[2 * i + 1]!))
  return nodes[0]!
}

/** Every tile of the tree in memory: the real leaves where they are, patterns everywhere else. */
function buildTiles(rows: readonly Row[]): Map<string, Uint8Array> {
  const patterns = Array.from({ length: PATTERNS }, (_, p) => {
    const tile = new Uint8Array(FULL_TILE_BYTES)
    for (let i = 0; i < TILE_WIDTH; i++) tile.set(sha256(u64be(p * TILE_WIDTH + i)), i * 32)
    return { tile, root: perfect(tile) }
  })
  const own = new Map<number, Row[]>()
  for (const row of rows) {
    const at = Math.floor(row.index / TILE_WIDTH)
    own.set(at, [...(own.get(at) ?? []), row])
  }
  const tiles = new Map<string, Uint8Array>()
  let below: Uint8Array[] = []
  for (let level = 0; level < levelCount(SIZE); level++) {
    const roots: Uint8Array[] = []
    for (let index = 0; ; index++) {
      const width = tileWidth(level, index, SIZE)
      if (width === 0) break
      const pattern = patterns[index % PATTERNS]!
      const mine = level === 0 ? own.get(index) : undefined
      let tile = pattern.tile
      if (mine) {
        tile = tile.slice()
        for (const row of mine) tile.set(leafHash(row.entry), (row.index % TILE_WIDTH) * 32)
      } else if (level > 0) {
        tile = new Uint8Array(width * 32)
        for (let i = 0; i < width; i++) tile.set(below[index * TILE_WIDTH + i]!, i * 32)
      }
      tiles.set(`${level}/${index}`, tile.subarray(0, width * 32))
      if (width === TILE_WIDTH) roots.push(level === 0 && !mine ? pattern.root : perfect(tile))
    }
    below = roots
  }
  return tiles
}

/** Puts log, submissions and anchor into the database as an indexer of ten million settled submissions has them. */
async function fill(sql: Sql, world: World, rows: readonly Row[], tiles: Map<string, Uint8Array>) {
  const read: ReadTile = ({ level, index }) => tiles.get(`${level}/${index}`)
  const root = await rootAt(SIZE, read)
  const { registry, anchor } = world.deployment
  for (const { id, record } of rows)
    await world.rpc('anvil_setStorageAt', [registry, registrySlots.record(id), record])
  await world.rpc('anvil_setStorageAt', [anchor, anchorSlots.root(), toHex(root)])
  const counts = BigInt(SIZE) | (1n << 64n) | (6n << 128n) | (5n << 176n)
  await world.rpc('anvil_setStorageAt', [anchor, anchorSlots.counts(), toHex(u256be(counts))])
  await world.mine(2)
  const block = await world.rpc<{ number: Hex; hash: Hex; timestamp: Hex }>('eth_getBlockByNumber', [
    'latest',
    false,
  ])
  await claimDatabase(sql, world.deployment)
  const place = [Number(block.number), fromHex(block.hash), Number(block.timestamp)] as const
  await sql`
    insert into cursor (head_number, head_hash, head_time, final_number, final_hash, final_time)
    values (${place[0]}, ${place[1]}, ${place[2]}, ${place[0]}, ${place[1]}, ${place[2]})`
  const { client, sensor } = world.stations[0]!
  await sql`insert into contributor (id, account, block) values (-1, ${fromHex(client.account)}, 1)`
  await sql`insert into dataset (id, name, block) values (-2, 'helium_sensors', 1)`
  await sql`insert into sensor (id, name, dataset, contributor, h3, block) values (-3, ${sensor}, -2, -1, 1, 1)`
  const hex = (values: readonly Uint8Array[]) => values.map((value) => toHex(value).slice(2))
  await sql`
    insert into submission (id, submission_id, contributor, sensor, dataset, schema_sha256, payload_sha256, payload_bytes, uri, key_id,
      nonce, quorum, submitted_block, submitted_log, submitted_tx, submitted_time, index, seq, outcome, record, acc,
      settled_block, settled_hash, settled_log, settled_tx, settled_time, verdict)
    select i + 1, decode(id, 'hex'), -1, -3, -2, ${fromHex(SCHEMA_SHA256)}, decode(payload, 'hex'), 5000, decode(uri, 'hex'),
      ${fromHex(KEY_ID)}, n - 1, 2, ${SUBMITTED_BLOCK}, 0, ${fromHex(word(1))}, 1, i, n - 1, 1, decode(record, 'hex'),
      ${fromHex(word(2))}, ${SUBMITTED_BLOCK + 1}, ${fromHex(word(3))}, 1, ${fromHex(word(4))}, 2, 'accepted'
    from unnest(${rows.map(({ index }) => index)}::bigint[], ${rows.map(({ id }) => id.slice(2))}::text[],
      ${rows.map(({ payload }) => payload.slice(2))}::text[], ${hex(rows.map(({ uri }) => uri))}::text[],
      ${rows.map(({ record }) => record.slice(2))}::text[]) with ordinality as t(i, id, payload, uri, record, n)`
  await sql`
    insert into leaf (index, submission, entry) select i, i + 1, decode(e, 'hex')
    from unnest(${rows.map(({ index }) => index)}::bigint[], ${hex(rows.map(({ entry }) => entry))}::text[]) as t(i, e)`
  const all = [...tiles]
  for (let at = 0; at < all.length; at += 500) {
    const some = all.slice(at, at + 500)
    const keys = some.map(([key]) => key.split('/').map(Number) as [number, number])
    await sql`
      insert into tile (level, index, hashes) select l, i, decode(h, 'hex')
      from unnest(${keys.map(([level]) => level)}::smallint[], ${keys.map(([, index]) => index)}::bigint[],
        ${hex(some.map(([, bytes]) => bytes))}::text[]) as t(l, i, h)`
  }
  await sql`insert into log_head (size, root) values (${SIZE}, ${root})`
  const note = signCheckpoint({ origin: ORIGIN, size: SIZE, root, timestamp: 0 }, SIGNERS)
  await sql`insert into checkpoint (size, root, note) values (${SIZE}, ${root}, ${note})`
  await sql`
    insert into anchor (seq, size, root, previous_size, chain_hash, block, block_hash, time, tx, log_index)
    values (1, ${SIZE}, ${root}, 0, ${fromHex(word(6))}, 6, ${fromHex(word(7))}, 5, ${fromHex(word(8))}, 0)`
  await sql`analyze`
  return block.hash
}

/** One GET on a kept connection: less of a client than `fetch`, so that the server is what is measured. */
function get(
  agent: Agent,
  url: string,
): Promise<{ status: number; headers: IncomingHttpHeaders; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      finished(response).then(
        () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks),
          }),
        reject,
      )
    })
    sent.on('error', reject)
    sent.end()
  })
}

/** Proofs and tiles of a log of ten million leaves, by the API over HTTP from PostgreSQL. */
export async function benchServe(bench: Bench): Promise<Figure[]> {
  const databases = await startDatabases(bench)
  const world = await opened(bench, startWorld(1))
  const { sql } = await databases.fresh()
  bench.closing(() => sql.end({ timeout: 5 }))
  bench.progress(`serve: making a log of ${SIZE} leaves`)
  const rows = Array.from({ length: ROWS }, (_, n) => makeRow(world, placeOf(n), n))
  const blockHash = await fill(sql, world, rows, buildTiles(rows))
  bench.check()
  const rpc = createRpc({ urls: [world.rpcUrl], chainId: 31337 })
  const ctx = createServiceContext({
    sql,
    deployment: world.deployment,
    rpc,
    checkpointVkeys: SIGNERS.map(({ vkey }) => formatVkey(vkey)),
    logger: silentLogger,
    metrics: createMetrics(),
    clock: systemClock,
    mlDsa,
  })
  const app = createApi(ctx, { allowedHosts: [] })
  // What the tiles are compared with: bytes at hand, behind the same server and middleware.
  const file = new Uint8Array(FULL_TILE_BYTES)
  app.get('/file', (c) =>
    c.body(file, 200, {
      'Content-Type': 'application/octet-stream',
      'Content-Length': String(file.length),
      'Cache-Control': 'public, max-age=31536000, immutable',
      ETag: '"file"',
    }),
  )
  const api = await listen(app, { port: 0 })
  bench.closing(() => api.close())
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  bench.closing(() => agent.destroy())

  bench.progress('serve: proofs, one at a time')
  const policy = parseTrustPolicy((await get(agent, `${api.url}/trust-policy.json`)).body)
  const asked = async (path: (row: Row) => string, count = ASKED) => {
    const micros: number[] = []
    let last: Buffer = Buffer.alloc(0)
    // Every row once at most, so that no tile of leaves was read before.
    for (let n = 0; n < count; n++) {
      const row = rows[n % ROWS]!
      const begun = performance.now()
      const { status, body } = await get(agent, api.url + path(row))
      micros.push(performance.now() - begun)
      must(status === 200, `${path(row)} is answered ${status}: ${body}`)
      last = body
      if (n % 100 === 0) bench.check()
    }
    return { ms: micros.slice(100), last }
  }
  const inclusion = await asked(({ id }) => `/v1/submissions/${id}/proof.tlog`)
  const item = await asked(({ id }) => `/v1/submissions/${id}`)
  const bundle = await asked(({ id }) => `/v1/submissions/${id}/proof`)
  const { claims } = verifyBundle({ bundle: bundle.last, policy, trustedBlockHash: blockHash, mlDsa })
  must(objections(claims).length === 0, 'a served bundle does not verify')
  const evidence: number[] = []
  for (const { id } of rows.slice(0, 200)) {
    const begun = performance.now()
    await rpc.call('eth_getProof', [world.deployment.registry, [registrySlots.record(id)], 'latest'])
    evidence.push(performance.now() - begun)
  }
  const out = [
    latency('inclusion_served_10m', 'ms', inclusion.ms, {
      comparedWith: [
        against(median(inclusion.ms), 'the submission itself, asked of the same API', 'ms', median(item.ms)),
      ],
      note: 'GET .../proof.tlog of leaves spread over the log, one at a time; the tile of leaves comes from PostgreSQL each time',
    }),
    latency('bundle_served_10m', 'ms', bundle.ms, {
      comparedWith: [
        against(median(bundle.ms), 'eth_getProof of the record alone, from anvil', 'ms', median(evidence)),
      ],
      note: `GET .../proof, ${bundle.last.length} bytes with the default claims; waits for the chain's own proof`,
    }),
  ]
  out.push(...(await benchTiles(bench, agent, api.url)))
  return out
}

/** Tiles, beside a static body of the same size. */
async function benchTiles(bench: Bench, agent: Agent, url: string): Promise<Figure[]> {
  bench.progress('serve: tiles, many at a time')
  const full = Array.from({ length: 1_000 }, (_, index) =>
    tilePath({ level: 0, index: index * 39, width: TILE_WIDTH }),
  )
  const run = async (next: (n: number) => string) => {
    let done = 0
    const end = performance.now() + SECONDS * 1000
    const worker = async () => {
      while (performance.now() < end) {
        const { status, body } = await get(agent, next(done++))
        must(status === 200 && body.length === FULL_TILE_BYTES, 'a tile is not answered')
      }
    }
    const begun = performance.now()
    await Promise.all(Array.from({ length: CONNECTIONS }, worker))
    return (done * 1000) / (performance.now() - begun)
  }
  const tiles: number[] = []
  const files: number[] = []
  for (let round = -1; round < ROUNDS; round++) {
    bench.check()
    const tileRate = await run((n) => `${url}/${full[n % full.length]}`)
    const fileRate = await run(() => `${url}/file`)
    if (round < 0) continue
    tiles.push(tileRate)
    files.push(fileRate)
  }
  return [
    rate('tiles_served', 'requests/s', tiles, ROUNDS, {
      comparedWith: [
        against(median(tiles), 'a static body of that size from the same server', '1/s', median(files)),
      ],
      note: `${CONNECTIONS} connections, 1,000 different tiles in turn; client and server share one thread`,
    }),
  ]
}
