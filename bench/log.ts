import { utf8 } from '../src/core/bytes.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { appendLeaves, emptyState } from '../src/log/append.ts'
import { ed25519Signer, mlDsa44Signer, openCheckpoint, signCheckpoint } from '../src/log/checkpoint.ts'
import { leafHash, verifyConsistency, verifyInclusion } from '../src/log/merkle.ts'
import { consistencyProof, inclusionProof, rootAt } from '../src/log/proof.ts'
import type { ReadTile } from '../src/log/read.ts'

const BATCH = 256
const LEAVES = 1_000_000
const ROUNDS = 300
const ENTRY_BYTES = 1200

/** Median microseconds of `rounds` runs of `work`, which is given the number of the run. */
async function medianMicros(rounds: number, work: (round: number) => unknown): Promise<number> {
  const times: number[] = []
  for (let round = 0; round < rounds; round++) {
    const start = performance.now()
    await work(round)
    times.push((performance.now() - start) * 1000)
  }
  return times.sort((a, b) => a - b)[rounds >> 1] as number
}

function must(check: { ok: boolean }): void {
  if (!check.ok) throw new Error('the bench built a proof that does not verify')
}

/**
 * Speed of the log in memory, one thread: hashing entries of 1,200 bytes into leaves, appending a million leaf hashes
 * in batches of 256, then building and verifying proofs and checkpoints at that size. `_per_s` are rates, `_us` medians.
 */
export async function benchLog(): Promise<Record<string, number>> {
  const entry = new Uint8Array(ENTRY_BYTES).fill(0x61)
  const hashed = 20_000
  let start = performance.now()
  for (let i = 0; i < hashed; i++) leafHash(entry)
  const leafHashesPerSecond = hashed / ((performance.now() - start) / 1000)

  const tiles = new Map<string, Uint8Array>()
  const read: ReadTile = ({ level, index }) => tiles.get(`${level}/${index}`)
  const leaf = (index: number) => leafHash(utf8(String(index)))
  let state = emptyState()
  let appending = 0
  while (state.size < LEAVES) {
    const count = Math.min(BATCH, LEAVES - state.size)
    const leaves = Array.from({ length: count }, (_, i) => leaf(state.size + i))
    start = performance.now()
    const next = appendLeaves(state, leaves)
    for (const { level, index, hashes } of next.tiles) tiles.set(`${level}/${index}`, hashes)
    appending += performance.now() - start
    state = next.state
  }

  const root = await rootAt(LEAVES, read)
  // A stride that is prime to the size spreads the rounds over the whole log, the same in each run.
  const place = (round: number) => (round * 618_033) % LEAVES
  const inclusions: Uint8Array[][] = []
  const consistencies: { size: number; root: Uint8Array; proof: Uint8Array[] }[] = []
  const buildInclusion = await medianMicros(ROUNDS, async (round) => {
    inclusions.push(await inclusionProof(place(round), LEAVES, read))
  })
  const verifyInclusionMicros = await medianMicros(ROUNDS, (round) => {
    const index = place(round)
    must(verifyInclusion(index, LEAVES, leaf(index), inclusions[round] as Uint8Array[], root))
  })
  for (let round = 0; round < ROUNDS; round++) {
    const size = place(round) + 1
    consistencies.push({ size, root: await rootAt(size, read), proof: [] })
  }
  const buildConsistency = await medianMicros(ROUNDS, async (round) => {
    const at = consistencies[round] as (typeof consistencies)[number]
    at.proof = await consistencyProof(at.size, LEAVES, read)
  })
  const verifyConsistencyMicros = await medianMicros(ROUNDS, (round) => {
    const at = consistencies[round] as (typeof consistencies)[number]
    must(verifyConsistency(at.size, LEAVES, at.proof, at.root, root))
  })

  const origin = 'dunes.example/bench'
  const signers = [
    ed25519Signer(origin, new Uint8Array(32).fill(1)),
    mlDsa44Signer(origin, new Uint8Array(32).fill(2), mlDsa),
  ]
  const checkpoint = { origin, size: LEAVES, root, timestamp: 0 }
  let note = ''
  const signMicros = await medianMicros(50, () => {
    note = signCheckpoint(checkpoint, signers)
  })
  const vkeys = signers.map(({ vkey }) => vkey)
  const openMicros = await medianMicros(50, () => must(openCheckpoint(note, { origin, vkeys, mlDsa })))

  return {
    log_leaf_hash_1200_bytes_per_s: leafHashesPerSecond,
    log_append_batches_of_256_per_s: LEAVES / (appending / 1000),
    log_inclusion_build_1m_us: buildInclusion,
    log_inclusion_verify_1m_us: verifyInclusionMicros,
    log_consistency_build_1m_us: buildConsistency,
    log_consistency_verify_1m_us: verifyConsistencyMicros,
    log_checkpoint_sign_us: signMicros,
    log_checkpoint_open_us: openMicros,
  }
}
