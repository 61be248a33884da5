import { readFileSync } from 'node:fs'
import { keyPossessionDigest } from '../../src/chain/record.ts'
import type { BlockRef, ChainBlock, ChainEvent } from '../../src/chain/source.ts'
import { type Hex, sha256, toHex, utf8 } from '../../src/core/bytes.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { applyBlocks, applyFinal } from '../../src/graph/apply.ts'
import type { Sql } from '../../src/graph/connect.ts'
import { claimDatabase, type Deployment } from '../../src/graph/cursor.ts'
import { loadLogState, writeLeaves } from '../../src/graph/log-store.ts'
import { ed25519Signer, signCheckpoint } from '../../src/log/checkpoint.ts'
import { provePossession } from '../../src/maml/possession.ts'

/** A graph without a chain: events made up and applied as the indexer applies them. */

export const CHAIN = 'eip155:31337'
export const ORIGIN = 'graph.example/log'
export const SCHEMA = new Uint8Array(
  readFileSync(new URL('../../anvil/schemas/iot_data.maml.md', import.meta.url)),
)
export const SIGNER = ed25519Signer(ORIGIN, new Uint8Array(32).fill(9))

const address = (fill: number): Hex => toHex(new Uint8Array(20).fill(fill))
export const hashOf = (text: string): Hex => toHex(sha256(utf8(text)))
const block = (number: number): BlockRef => ({
  number,
  hash: hashOf(`block ${number}`),
  time: 1_700_000_000 + number,
})

export const deployment: Deployment = {
  chain: CHAIN,
  registry: address(0xa1),
  anchor: address(0xa2),
  origin: ORIGIN,
  startBlock: 1,
  startHash: block(1).hash,
}

/** Two contributors with keys, and a third that is registered nowhere. */
export const ALICE = { account: address(0xa), seed: new Uint8Array(32).fill(1), sensor: 'alpha' }
export const BOB = { account: address(0xb), seed: new Uint8Array(32).fill(2), sensor: 'beta' }
export const STRANGER = { account: address(0xc), seed: new Uint8Array(32).fill(3), sensor: 'gamma' }

/** How many submissions there are, and how many of them have come how far; each number is at most the one before. */
export interface Progress {
  submitted: number
  settled: number
  final: number
  logged: number
  anchored: number
}

/** Submission `i` of {@link fillGraph}: Alice's when `i` is even, else Bob's; every third is rejected by quorum. */
export const submissionId = (i: number): Hex => hashOf(`submission ${i}`)
export const entryOf = (i: number): Uint8Array => utf8(`entry ${i}\n`)

/** Claims the database and fills it up to `progress`. */
export async function fillGraph(sql: Sql, progress: Progress): Promise<void> {
  await claimDatabase(sql, deployment)
  const context = { chainId: 31337n, registry: deployment.registry, mlDsa }
  let logIndex = 0
  const at = () => ({ tx: hashOf(`tx ${logIndex}`), logIndex: logIndex++ })
  const blocks = new Map<number, ChainEvent[]>()
  const emit = (number: number, event: ChainEvent) =>
    blocks.set(number, [...(blocks.get(number) ?? []), event])

  emit(1, {
    ...at(),
    type: 'datasetUpdated',
    name: 'helium_sensors',
    version: 0,
    schemaSha256: toHex(sha256(SCHEMA)),
    schema: SCHEMA,
  })
  for (const { account, seed, sensor } of [ALICE, BOB]) {
    const publicKey = mlDsa.publicKey(65, seed)
    const digest = keyPossessionDigest({
      chainId: 31337n,
      registry: deployment.registry,
      account,
      keyIndex: 0,
    })
    const possession = provePossession(seed, digest, mlDsa)
    emit(1, {
      ...at(),
      type: 'keyRegistered',
      contributor: account,
      keyIndex: 0,
      keyId: toHex(sha256(publicKey)),
      publicKey,
      possession,
    })
    emit(1, {
      ...at(),
      type: 'sensorRegistered',
      contributor: account,
      name: sensor,
      dataset: 'helium_sensors',
      h3Cell: 0x8928308280fffffn,
    })
    emit(1, { ...at(), type: 'validatorAdded', account })
  }
  const senders = [ALICE, BOB] as const
  for (let i = 0; i < progress.submitted; i++) {
    const sender = senders[i % 2] as typeof ALICE
    emit(10 + i, {
      ...at(),
      type: 'submitted',
      id: submissionId(i),
      contributor: sender.account,
      nonce: Math.floor(i / 2),
      sensor: sender.sensor,
      dataset: 'helium_sensors',
      schemaSha256: toHex(sha256(SCHEMA)),
      payloadHash: hashOf(`payload ${i}`),
      payloadBytes: 100 + i,
      uriBytes: i === 0 ? Uint8Array.of(0x68, 0xff) : utf8(`https://host.example/${i}`),
      keyId: toHex(sha256(mlDsa.publicKey(65, sender.seed))),
      quorum: 1,
    })
  }
  for (let i = 0; i < progress.settled; i++) {
    const contributor = (senders[i % 2] as typeof ALICE).account
    const valid = i % 3 !== 2
    const validator = (senders[(i + 1) % 2] as typeof ALICE).account
    emit(1000 + 10 * i, { ...at(), type: 'attested', id: submissionId(i), validator, valid })
    emit(1000 + 10 * i, {
      ...at(),
      type: 'settled',
      id: submissionId(i),
      contributor,
      index: i,
      seq: Math.floor(i / 2),
      outcome: valid ? 'validated' : 'rejected',
      record: hashOf(`record ${i}`),
      acc: hashOf(`acc ${i}`),
    })
  }
  if (progress.anchored > 0) {
    emit(Math.max(9_000, 1000 + 10 * progress.settled), {
      ...at(),
      type: 'anchored',
      seq: 1,
      size: progress.anchored,
      root: hashOf('anchored root'),
      previousSize: 0,
      previousRoot: hashOf('empty'),
      chain: hashOf('chain'),
    })
  }
  const numbers = [...blocks.keys()].sort((a, b) => a - b)
  const run = numbers.map(
    (number): ChainBlock => ({
      ...block(number),
      parentHash: block(number - 1).hash,
      events: blocks.get(number) ?? [],
    }),
  )
  await applyBlocks(sql, run, context)
  // Anchors are applied last in a run; this one belongs under the last final block.
  await sql`update anchor set block = 900`
  if (progress.logged > 0) await logEntries(sql, progress.logged)
  if (progress.final > 0) await applyFinal(sql, block(1000 + 10 * (progress.final - 1)))
}

async function logEntries(sql: Sql, count: number): Promise<void> {
  await sql.begin(async (tx) => {
    const rows = await tx`select id, index from submission where index < ${count} order by index`
    const leaves = rows.map((row) => ({ submission: row['id'] as number, entry: entryOf(row['index']) }))
    const { head } = await writeLeaves(tx, await loadLogState(tx), leaves)
    const note = signCheckpoint({ origin: ORIGIN, size: head.size, root: head.root, timestamp: 1 }, [SIGNER])
    await tx`insert into checkpoint (size, root, note) values (${head.size}, ${head.root}, ${note})`
  })
}
