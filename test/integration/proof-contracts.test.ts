import { keccak_256 } from '@noble/hashes/sha3.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blockHeaderRlp, type RawHeader } from '../../src/chain/header.ts'
import { keyPossessionDigest } from '../../src/chain/record.ts'
import { anchorSlots, registrySlots } from '../../src/chain/slots.ts'
import { fromHex, type Hex, sha256, toHex, utf8 } from '../../src/core/bytes.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { appendLeaves, emptyState } from '../../src/log/append.ts'
import { ed25519Signer, mlDsa44Signer, signCheckpoint } from '../../src/log/checkpoint.ts'
import { leafHash } from '../../src/log/merkle.ts'
import { consistencyProof, inclusionProof, rootAt } from '../../src/log/proof.ts'
import { formatTlogProof } from '../../src/log/tlog-proof.ts'
import { formatVkey } from '../../src/log/vkey.ts'
import { buildMaml } from '../../src/maml/build.ts'
import { provePossession } from '../../src/maml/possession.ts'
import { signMaml } from '../../src/maml/sign.ts'
import { accountEvidence, assembleBundle, type RpcAccountProof } from '../../src/proof/build.ts'
import type { TrustPolicy } from '../../src/proof/trust-policy.ts'
import { verifyBundle } from '../../src/proof/verify.ts'
import { type Entry, encodeEntry, readLines } from '../../src/receipt/entry.ts'
import { mirrorBytes } from '../../src/receipt/mirror.ts'
import { signEntry } from '../../src/receipt/sign.ts'
import { CHAIN_ID, type Chain, DEFAULTS, startChain } from '../support/contracts.ts'

const seed = (fill: number) => new Uint8Array(32).fill(fill)
const TIME = '2025-10-01T23:30:00Z'
const URI = 'https://payloads.example/reading'

/** The deployed contracts, a settled and anchored submission on them, and its receipt: no part of it is made up. */
let chain: Chain
let policy: TrustPolicy
let entries: Uint8Array[]
let payload: Uint8Array
let possession: Uint8Array
const publicKey = mlDsa.publicKey(65, seed(1))
const signers = [ed25519Signer(DEFAULTS.origin, seed(2)), mlDsa44Signer(DEFAULTS.origin, seed(3), mlDsa)]
const tiles = new Map<string, Uint8Array>()
const readTile = ({ level, index }: { level: number; index: number }) => tiles.get(`${level}/${index}`)

beforeAll(async () => {
  chain = await startChain()
  const { registry, anchor, accounts } = chain
  const [admin, first, second] = accounts as [Hex, Hex, Hex]
  const contributor = accounts[5]!
  const digest = keyPossessionDigest({
    chainId: CHAIN_ID,
    registry: registry.address,
    account: contributor,
    keyIndex: 0,
  })
  possession = provePossession(seed(1), digest, mlDsa)
  const schema = utf8('schema')
  await chain.send(contributor, registry, 'registerKey', [toHex(publicKey), toHex(possession)])
  await chain.send(admin, registry, 'registerDataset', ['helium_sensors', toHex(schema)])
  await chain.send(contributor, registry, 'registerSensor', ['helium_001', 'helium_sensors', 0n])
  payload = signMaml(
    buildMaml({ readings: [{ sensor_id: 'helium_001', air_quality: 85, timestamp: TIME }] }),
    seed(1),
    mlDsa,
  )
  entries = []
  for (let index = 0; index < 3; index++) {
    const submitted = await chain.send(contributor, registry, 'submit', [
      'helium_001',
      toHex(sha256(payload)),
      BigInt(payload.length),
      URI,
    ])
    const submission = submitted.events[0]!.args['id'] as Hex
    await chain.send(first, registry, 'attest', [submission, true])
    const settled = await chain.send(second, registry, 'attest', [submission, true])
    const { acc } = settled.events.find(({ name }) => name === 'SubmissionSettled')!.args as { acc: Hex }
    const entry: Entry = {
      v: 1,
      origin: DEFAULTS.origin,
      chain: `eip155:${CHAIN_ID}`,
      registry: registry.address,
      index,
      submission,
      contributor,
      seq: index,
      acc,
      sensor: 'helium_001',
      dataset: 'helium_sensors',
      schemaSha256: toHex(sha256(schema)),
      uriSha256: toHex(sha256(utf8(URI))),
      payload: { sha256: toHex(sha256(payload)), bytes: payload.length },
      payloadSig: { alg: 'ML-DSA-65', keyId: toHex(sha256(publicKey)), sha256: toHex(sha256(possession)) },
      readings: 1,
      submitted: { block: submitted.block, logIndex: 0 },
      settled: {
        tx: toHex(sha256(utf8('tx'))),
        block: settled.block,
        blockHash: toHex(sha256(utf8('block'))),
        logIndex: 0,
        time: TIME,
      },
      outcome: 'validated',
      verdict: 'accepted',
      reason: null,
      observed: false,
      mirrorSha256: toHex(sha256(mirrorBytes(payload))),
    }
    entries.push(encodeEntry(entry, readLines(['air_quality'], TIME)))
  }
  for (const { level, index, hashes } of appendLeaves(emptyState(), entries.map(leafHash)).tiles) {
    tiles.set(`${level}/${index}`, hashes)
  }
  await chain.send(admin, anchor, 'anchor', [2n, toHex(await rootAt(2, readTile)), []])
  policy = {
    chain: `eip155:${CHAIN_ID}`,
    registry: registry.address,
    anchor: anchor.address,
    codeHashes: chain.deployment.codeHashes,
    origin: DEFAULTS.origin,
    checkpointVkeys: signers.map(({ vkey }) => formatVkey(vkey)),
    receiptKeys: [{ pub: toHex(mlDsa.publicKey(65, seed(4))), fromIndex: 0, toIndex: null }],
    layoutVersion: 1,
  }
})
afterAll(() => chain.stop())

/** A bundle about leaf `index` under the latest block, with a checkpoint of `size`. */
async function prove(index: number, size: number, anchored: number) {
  const entry = entries[index]!
  const { submission } = JSON.parse(new TextDecoder().decode(entry).split('\n')[1]!) as Entry
  const block = (await chain.rpc('eth_getBlockByNumber', ['latest', false])) as RawHeader
  const proofOf = async (address: Hex, slots: Hex[]) =>
    accountEvidence((await chain.rpc('eth_getProof', [address, slots, block.number])) as RpcAccountProof)
  const [older, newer] = [size, anchored].sort((a, b) => a - b) as [number, number]
  const bundle = assembleBundle({
    entry,
    payload,
    publicKey,
    possession: { keyIndex: 0, signature: possession },
    receiptSig: signEntry(entry, seed(4), mlDsa),
    uri: URI,
    tlogProof: formatTlogProof({
      index,
      hashes: await inclusionProof(index, size, readTile),
      checkpoint: signCheckpoint(
        { origin: DEFAULTS.origin, size, root: await rootAt(size, readTile), timestamp: 1_759_361_400 },
        signers,
      ),
      extra: null,
    }),
    ...(older !== newer && { consistency: await consistencyProof(older, newer, readTile) }),
    evidence: {
      header: blockHeaderRlp(block),
      accounts: [
        await proofOf(policy.registry, [registrySlots.record(submission)]),
        await proofOf(policy.anchor, [anchorSlots.root(), anchorSlots.counts()]),
      ],
    },
  })
  const verification = verifyBundle({ bundle, policy, trustedBlockHash: block.hash, mlDsa })
  return {
    ...verification,
    statuses: Object.fromEntries(verification.claims.map(({ name, status }) => [name, status])),
    block,
  }
}

const everything = {
  included: 'proved',
  onChain: 'proved',
  anchored: 'proved',
  appendOnly: 'proved',
  contributorSigned: 'proved',
  receiptSigned: 'proved',
  complete: 'not claimed',
}

describe('a bundle about the deployed contracts', () => {
  it('proves every claim, through a checkpoint at the head and below it', async () => {
    expect((await prove(0, 2, 2)).statuses).toEqual(everything)
    expect((await prove(1, 2, 2)).statuses).toEqual(everything)
    const smaller = await prove(0, 1, 2)
    expect(smaller.statuses).toEqual(everything)
    expect(smaller.facts.anchor).toMatchObject({ size: 2, seq: 1, root: toHex(await rootAt(2, readTile)) })
    expect(smaller.facts.block).toMatchObject({
      hash: smaller.block.hash,
      number: Number(smaller.block.number),
    })
  })

  it('does not call anchored what the head does not hold yet, and does once it is anchored', async () => {
    expect((await prove(2, 3, 2)).statuses).toEqual({ ...everything, anchored: 'failed' })
    const root = toHex(await rootAt(3, readTile))
    const proof = (await consistencyProof(2, 3, readTile)).map(toHex)
    await chain.send(chain.accounts[0]!, chain.anchor, 'anchor', [3n, root, proof])
    expect((await prove(2, 3, 3)).statuses).toEqual(everything)
    expect((await prove(0, 2, 3)).statuses).toEqual(everything)
  })

  it("pins the code that is really there: the policy's hash is of the code, not of the artifact", async () => {
    const code = (await chain.rpc('eth_getCode', [policy.anchor, 'latest'])) as Hex
    expect(toHex(keccak_256(fromHex(code)))).toBe(policy.codeHashes.anchor)
  })
})
