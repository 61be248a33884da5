import { createHash } from 'node:crypto'
import { utf8 } from '../src/core/bytes.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { appendLeaves, emptyState } from '../src/log/append.ts'
import { ed25519Signer, mlDsa44Signer, openCheckpoint, signCheckpoint } from '../src/log/checkpoint.ts'
import { leafHash, nodeHash, verifyConsistency, verifyInclusion } from '../src/log/merkle.ts'
import { consistencyProof, inclusionProof, rootAt } from '../src/log/proof.ts'
import type { ReadTile } from '../src/log/read.ts'
import { against, againstTiming, type Figure, latency, measure, median, must, rate } from './measure.ts'

const BATCH = 256
const LEAVES = 1_000_000
/** The million is appended in so many runs, each with a rate of its own. */
const RUNS = 8
const PLACES = 300
const ENTRY_BYTES = 1200

/** The log in memory, on one thread: hashing, appending, proofs and checkpoints at a million leaves. */
export async function benchLog(): Promise<Figure[]> {
  const out: Figure[] = []
  const entry = new Uint8Array(ENTRY_BYTES).fill(0x61)
  const left = leafHash(utf8('left'))
  const node = new Uint8Array(65)
  const hashing = await measure({
    leaf: () => leafHash(entry),
    nativeLeaf: () => createHash('sha256').update(entry).digest(),
    node: () => nodeHash(left, left),
    nativeNode: () => createHash('sha256').update(node).digest(),
  })
  out.push(
    latency('leaf_hash_1200_bytes', 'us', hashing.leaf.micros, {
      comparedWith: [againstTiming(hashing.leaf, 'the same bytes, native SHA-256', hashing.nativeLeaf)],
      note: 'in JavaScript, as verifiers in browsers have it',
    }),
    latency('node_hash', 'us', hashing.node.micros, {
      comparedWith: [againstTiming(hashing.node, 'the same bytes, native SHA-256', hashing.nativeNode)],
    }),
  )

  const tiles = new Map<string, Uint8Array>()
  const read: ReadTile = ({ level, index }) => tiles.get(`${level}/${index}`)
  const leaf = (index: number) => leafHash(utf8(String(index)))
  const rates: number[] = []
  let state = emptyState()
  for (let run = 1; run <= RUNS; run++) {
    const end = (LEAVES / RUNS) * run
    const before = state.size
    let ms = 0
    while (state.size < end) {
      const leaves = Array.from({ length: Math.min(BATCH, end - state.size) }, (_, i) => leaf(state.size + i))
      const start = performance.now()
      const next = appendLeaves(state, leaves)
      for (const { level, index, hashes } of next.tiles) tiles.set(`${level}/${index}`, hashes)
      ms += performance.now() - start
      state = next.state
    }
    rates.push(((end - before) * 1000) / ms)
  }
  out.push(
    rate('log_append', 'leaves/s', rates, LEAVES, {
      comparedWith: [
        against(median(rates), 'node hashes a second (JavaScript)', '1/s', 1e6 / median(hashing.node.micros)),
        against(
          median(rates),
          'node hashes a second (native)',
          '1/s',
          1e6 / median(hashing.nativeNode.micros),
        ),
      ],
      note: `leaf hashes in batches of ${BATCH}, in memory; a tree has one node for each leaf`,
    }),
  )

  const root = await rootAt(LEAVES, read)
  // A stride that is prime to the size spreads the places over the whole log, the same in each run.
  const places = Array.from({ length: PLACES }, (_, n) => (n * 618_033) % LEAVES)
  const proofs = await Promise.all(
    places.map(async (index) => ({
      index,
      leaf: leaf(index),
      inclusion: await inclusionProof(index, LEAVES, read),
      size: index + 1,
      root: await rootAt(index + 1, read),
      consistency: await consistencyProof(index + 1, LEAVES, read),
    })),
  )
  const inTurn = <T>(work: (at: (typeof proofs)[number]) => T) => {
    let n = 0
    return () => work(proofs[n++ % PLACES]!)
  }
  const proving = await measure({
    buildInclusion: inTurn(({ index }) => inclusionProof(index, LEAVES, read)),
    verifyInclusion: inTurn(({ index, leaf: hash, inclusion }) =>
      must(verifyInclusion(index, LEAVES, hash, inclusion, root).ok, 'an inclusion proof does not verify'),
    ),
    buildConsistency: inTurn(({ size }) => consistencyProof(size, LEAVES, read)),
    verifyConsistency: inTurn(({ size, consistency, root: old }) =>
      must(verifyConsistency(size, LEAVES, consistency, old, root).ok, 'a consistency proof does not verify'),
    ),
  })
  const hashes = (proof: 'inclusion' | 'consistency') =>
    `${median(proofs.map((at) => at[proof].length))} hashes at the median`
  out.push(
    latency('inclusion_build_1m', 'us', proving.buildInclusion.micros, {
      note: `tiles in memory; ${hashes('inclusion')}`,
    }),
    latency('inclusion_verify_1m', 'us', proving.verifyInclusion.micros, {
      comparedWith: [againstTiming(proving.verifyInclusion, 'one node hash', hashing.node)],
    }),
    latency('consistency_build_1m', 'us', proving.buildConsistency.micros, {
      note: `tiles in memory; ${hashes('consistency')}`,
    }),
    latency('consistency_verify_1m', 'us', proving.verifyConsistency.micros, {
      comparedWith: [againstTiming(proving.verifyConsistency, 'one node hash', hashing.node)],
    }),
  )

  const origin = 'dunes.example/bench'
  const signers = [
    ed25519Signer(origin, new Uint8Array(32).fill(1)),
    mlDsa44Signer(origin, new Uint8Array(32).fill(2), mlDsa),
  ]
  const checkpoint = { origin, size: LEAVES, root, timestamp: 0 }
  const note = signCheckpoint(checkpoint, signers)
  const vkeys = signers.map(({ vkey }) => vkey)
  const signing = await measure({
    sign: () => signCheckpoint(checkpoint, signers),
    open: () => must(openCheckpoint(note, { origin, vkeys, mlDsa }).ok, 'a checkpoint does not open'),
  })
  out.push(
    latency('checkpoint_sign', 'us', signing.sign.micros, { note: 'Ed25519 and ML-DSA-44' }),
    latency('checkpoint_open', 'us', signing.open.micros, { note: 'both signatures verified' }),
  )
  return out
}
