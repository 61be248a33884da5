import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { decodeUtf8, fromHex, toHex, utf8 } from '../../../src/core/bytes.ts'
import { nobleMlDsa } from '../../../src/core/ml-dsa.ts'
import { nativeMlDsa } from '../../../src/core/ml-dsa-native.ts'
import { parseMaml } from '../../../src/maml/parse.ts'
import { verifyMaml } from '../../../src/maml/sign.ts'
import { checkMu } from '../../../src/receipt/check.ts'
import { parseEntry } from '../../../src/receipt/entry.ts'
import { buildMu, parseMu } from '../../../src/receipt/mu.ts'
import { repairPayload } from '../../../src/receipt/repair.ts'
import { verifyEntry } from '../../../src/receipt/sign.ts'
import { type Golden, judgeGolden, makeGolden } from '../../vectors/receipt/golden.ts'
import { vector } from '../maml/fixture.ts'

const schema = vector('receipt/schema.maml.md')
const load = (name: string) => ({
  golden: JSON.parse(decodeUtf8(vector(`receipt/${name}.json`))) as Golden,
  payload: vector(`receipt/${name}.maml.md`),
  entry: vector(`receipt/${name}.entry`),
  mu: vector(`receipt/${name}.mu`),
})
const hashOf = (text: string) => `0x${createHash('sha256').update(text).digest('hex')}`

describe.each([
  ['accepted', null, 'accepted', false, 1],
  ['rejected', 'KEY_REVOKED', 'rejected', false, 2],
  ['malformed', 'MAML_MALFORMED', 'rejected', false, null],
  ['unobtainable', 'PAYLOAD_UNAVAILABLE', 'rejected', true, null],
])('the golden receipt %s', (name, reason, verdict, observed, readings) => {
  const { golden, payload, entry, mu } = load(name)

  it.each([nativeMlDsa, nobleMlDsa])('is made again, byte for byte ($name)', (mlDsa) => {
    const made = makeGolden(golden, judgeGolden(golden, payload, schema, mlDsa))
    expect(decodeUtf8(made)).toBe(decodeUtf8(entry))
    expect(toHex(buildMu(made, payload, parseMu(mu).signature))).toBe(toHex(mu))
    expect(checkMu(payload, mu)).toEqual([])
  })

  it('says what it should', () => {
    const parsed = parseEntry(entry)
    expect(parsed.entry).toMatchObject({ reason, verdict, observed, readings })
    const text = decodeUtf8(payload)
    const read = readings !== null
    expect(parsed.entry.mirrorSha256).toBe(read ? hashOf([...text].reverse().join('')) : null)
    expect(parsed).toMatchObject(
      read
        ? { data: 'atad_ytilauq_ria', original: 'air_quality_data', timestamp: '2025-10-01T23:30:00Z' }
        : { data: 'atad', original: 'data', timestamp: parsed.entry.settled.time },
    )
  })

  it.each([nativeMlDsa, nobleMlDsa])('is signed by the indexer ($name)', (mlDsa) => {
    const { signature, entryBytes } = parseMu(mu)
    expect(verifyEntry(entryBytes, signature as Uint8Array, fromHex(golden.indexerKey), mlDsa)).toBe(true)
  })
})

it('the golden payloads are signed as their receipts say, by either ML-DSA', () => {
  for (const mlDsa of [nativeMlDsa, nobleMlDsa]) {
    const accepted = load('accepted')
    const key = fromHex(accepted.golden.judge.publicKey)
    expect(verifyMaml(parseMaml(accepted.payload), key, mlDsa)).toBe(true)
    const rejected = load('rejected')
    const payload = parseMaml(rejected.payload)
    expect(verifyMaml(payload, key, mlDsa)).toBe(false)
    expect(verifyMaml(payload, fromHex(rejected.golden.judge.earlierKeys[0] as string), mlDsa)).toBe(true)
  }
})

it('the golden accepted payload comes back from its mirror', () => {
  const { payload, mu } = load('accepted')
  expect(repairPayload(mu)).toEqual(payload)
  expect(utf8(decodeUtf8(payload))).toEqual(payload)
})
