import { beforeAll, describe, expect, it, vi } from 'vitest'
import { fromBase64, type Hex, toBase64 } from '../../src/core/bytes.ts'
import { type Json, jcsBytes } from '../../src/core/json.ts'
import { mlDsa } from '../../src/core/ml-dsa-native.ts'
import { decodeAnyBundle, encodeBundle, isRowsBundle } from '../../src/proof/bundle.ts'
import { BundleError } from '../../src/proof/error.ts'
import { type ClaimName, verifyBundle } from '../../src/proof/verify.ts'
import { parseEntry } from '../../src/receipt/entry.ts'
import { seeded } from '../support/corrupt.ts'
import { anchorOf, withEvent } from '../support/event-block.ts'
import { type ProofWorld, proofWorld, type TestBlock } from '../support/proof-world.ts'

// Ten thousand verifications: half a minute on a machine of their own.
vi.setConfig({ testTimeout: 300_000 })

const FLIPS = 10_000
const SPLICES = 2_000

interface Good {
  bytes: Uint8Array
  /** What it proves, which a changed one never goes beyond. */
  proved: ReadonlySet<ClaimName>
}

let world: ProofWorld
/** A block whose head has 8 of the log's 12 leaves. */
let block: TestBlock
/** Bundles of every kind, by name. */
let kinds: Record<string, Good>

interface Verdict {
  proved: ClaimName[]
  failed: ClaimName[]
  /** Refused with the one error that reading a bundle has; any other is thrown. */
  refused: boolean
}

function verify(bytes: Uint8Array): Verdict {
  try {
    const { claims } = verifyBundle({
      bundle: bytes,
      policy: world.policy,
      trustedBlockHash: block.hash as Hex,
      mlDsa,
    })
    const named = (wanted: string) => claims.flatMap(({ name, status }) => (status === wanted ? [name] : []))
    return { proved: named('proved'), failed: named('failed'), refused: false }
  } catch (error) {
    if (!(error instanceof BundleError)) throw error
    return { proved: [], failed: [], refused: true }
  }
}

beforeAll(async () => {
  world = await proofWorld()
  const earlier = await anchorOf(world, 6)
  const latest = await anchorOf(world, 8, { seq: 5, number: 300 })
  block = await world.block({
    anchoredSize: 8,
    anchoredAt: { block: 300, time: 1_759_361_700 },
    ancestors: [earlier],
    receiptsRoot: latest.receiptsRoot,
  })
  const { header: _, ...own } = latest.evidence
  const made = {
    default: await world.bundle(block, { index: 3 }),
    'default under a smaller checkpoint': await world.bundle(block, { index: 3, checkpointSize: 6 }),
    'all claims': await world.bundle(block, { index: 5, checkpointSize: 6, full: true }),
    'not anchored yet': await world.bundle(block, { index: 10, checkpointSize: 12, full: true }),
    'many rows': await world.rows(block, { indices: [0, 3, 4], checkpointSize: 6, full: true }),
    'a whole history': await world.complete(block),
    'a history under a smaller checkpoint': await world.complete(block, { checkpointSize: 7 }),
    'the other history': await world.complete(block, { who: 1 }),
    "an earlier anchor's event": withEvent(
      await world.bundle(block, { index: 3, checkpointSize: 6 }),
      block,
      earlier,
    ),
    "the latest anchor's event": { ...(await world.bundle(block, { index: 7 })), anchoredEvent: own },
    "many rows with an earlier anchor's event": withEvent(
      await world.rows(block, { indices: [0, 3, 4], checkpointSize: 6 }),
      block,
      earlier,
    ),
  }
  kinds = Object.fromEntries(
    Object.entries(made).map(([name, bundle]) => {
      const bytes = encodeBundle(bundle)
      const { proved, failed, refused } = verify(bytes)
      expect([refused, failed], name).toEqual([false, name === 'not anchored yet' ? ['anchored'] : []])
      return [name, { bytes, proved: new Set(proved) }]
    }),
  )
  const all = new Set(Object.values(kinds).flatMap(({ proved }) => [...proved]))
  expect(all.size).toBe(7)
})

type Path = (string | number)[]

/** Where the leaves of a JSON value are: its texts and numbers. */
function leavesOf(value: Json, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path]
  return Object.entries(value).flatMap(([name, item]) =>
    leavesOf(item as Json, [...path, Array.isArray(value) ? Number(name) : name]),
  )
}
const at = (value: Json, path: Path): Json | undefined =>
  path.reduce<Json | undefined>(
    (inner, step) => (inner as Record<string | number, Json> | undefined)?.[step],
    value,
  )
/** A copy with what stands at `path` replaced. */
function withAt(value: Json, path: Path, part: Json): Json {
  const [step, ...rest] = path
  if (step === undefined) return part
  const inner = (value as Record<string | number, Json>)[step] as Json
  const next = withAt(inner, rest, part)
  if (!Array.isArray(value)) return { ...(value as object), [step]: next }
  // A list that is shorter takes the part as its last.
  return value.toSpliced(Math.min(step as number, value.length), 1, next)
}
const parse = (bytes: Uint8Array): Json => JSON.parse(new TextDecoder().decode(bytes))

/** A leaf with one bit of what it encodes flipped, spelled as the format spells it. */
function flipped(leaf: Json, bit: number): Json {
  const flip = (bytes: Uint8Array): Uint8Array => {
    const out = bytes.slice()
    const place = bit % (8 * out.length)
    out[place >> 3]! ^= 1 << (place & 7)
    return out
  }
  if (typeof leaf === 'number') return leaf ^ (1 << (bit % 20))
  const text = leaf as string
  if (text === '') return 'x'
  if (/^0x(?:[0-9a-f]{2})+$/.test(text))
    return `0x${Buffer.from(flip(Buffer.from(text.slice(2), 'hex'))).toString('hex')}`
  if (text.length > 40 && /^[A-Za-z0-9+/]+=*$/.test(text)) return toBase64(flip(fromBase64(text)))
  // A checkpoint or a tlog-proof: bytes within one of its base64 words, else a character.
  const words = [...text.matchAll(/[A-Za-z0-9+/]{40,}=*/g)].filter(({ 0: word }) => word.length % 4 === 0)
  const word = words[bit % (words.length + 1)]
  if (word) {
    const { 0: found, index } = word
    return text.slice(0, index) + toBase64(flip(fromBase64(found))) + text.slice(index + found.length)
  }
  const place = bit % text.length
  return text.slice(0, place) + String.fromCharCode(text.charCodeAt(place) ^ 1) + text.slice(place + 1)
}

describe(`each of ${FLIPS} flipped bits`, () => {
  it('makes a claim fail or the bundle unreadable, and proves nothing new', () => {
    const random = seeded(Number(process.env['SEED'] ?? 20_261_123))
    const below = (n: number) => Math.floor(random() * n)
    const names = Object.keys(kinds)
    const values = new Map(names.map((name) => [name, parse(kinds[name]!.bytes)]))
    const places = new Map(names.map((name) => [name, leavesOf(values.get(name)!)]))
    const seen = { refused: 0, failed: 0 }
    for (let made = 0; made < FLIPS; made++) {
      const name = names[made % names.length]!
      const { bytes, proved } = kinds[name]!
      let damaged: Uint8Array
      let where: string
      if (made % 4 === 0) {
        // Anywhere in the file.
        const bit = below(8 * bytes.length)
        damaged = bytes.slice()
        damaged[bit >> 3]! ^= 1 << (bit & 7)
        where = `bit ${bit} of the file`
      } else {
        // In what a field holds, encoded anew, so that it reads well. Fields are few and nodes many: each has its chance.
        const paths = places.get(name)!
        const path = paths[below(paths.length)]!
        const bit = below(1 << 24)
        damaged = jcsBytes(withAt(values.get(name)!, path, flipped(at(values.get(name)!, path)!, bit)))
        where = `${path.join('.')}, bit ${bit}`
      }
      const verdict = verify(damaged)
      if (verdict.refused) seen.refused++
      else seen.failed++
      if (!verdict.refused && verdict.failed.length === 0) expect.fail(`${name}, ${where}: nothing failed`)
      for (const claim of verdict.proved)
        if (!proved.has(claim)) expect.fail(`${name}, ${where}: ${claim} became proved`)
    }
    // Both ends are met often: damage that no parser sees reaches the claims.
    expect(Math.min(seen.refused, seen.failed)).toBeGreaterThan(FLIPS / 10)
  })
})

describe(`${SPLICES} splices of two good bundles`, () => {
  it('prove nothing that neither proves', () => {
    const random = seeded(Number(process.env['SEED'] ?? 20_261_124))
    const below = (n: number) => Math.floor(random() * n)
    const names = Object.keys(kinds)
    let held = 0
    for (let made = 0; made < SPLICES; made++) {
      const [a, b] = [names[below(names.length)]!, names[below(names.length)]!]
      const [into, from] = [parse(kinds[a]!.bytes), parse(kinds[b]!.bytes)]
      // Some part of the one, as deep as a leaf or as high as a field, takes the other's place.
      let spliced = into
      for (let n = 1 + below(3); n > 0; n--) {
        const all = leavesOf(from)
        const leaf = all[below(all.length)]!
        const path = leaf.slice(0, 1 + below(leaf.length))
        const parent = at(spliced, path.slice(0, -1))
        if (typeof parent !== 'object' || parent === null) continue
        spliced = withAt(spliced, path, at(from, path) as Json)
      }
      const bytes = jcsBytes(spliced)
      const { proved } = verify(bytes)
      const either = new Set([...kinds[a]!.proved, ...kinds[b]!.proved])
      for (const claim of proved) expect(either.has(claim), `${a} with ${b}: ${claim}`).toBe(true)
      if (!proved.includes('anchored')) continue
      held++
      // Whatever it was put together from: what it calls anchored is among the 8 leaves that are.
      const bundle = decodeAnyBundle(bytes)
      const entries = isRowsBundle(bundle) ? (bundle.rows?.entries ?? []) : [bundle.entry]
      for (const entry of entries) expect(parseEntry(entry).entry.index).toBeLessThan(8)
    }
    expect(held).toBeGreaterThan(100)
  })
})
