// Writes the golden files of this folder: `node test/vectors/receipt/generate.ts`. ML-DSA signing is hedged (FIPS 204
// section 3.4), so files that hold a signature are kept as they are while they still say what is wanted here. Change
// nothing else either without a new leaf policy: entries that were once written must be written the same for ever.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { concat, equalBytes, type Hex, sha256, toHex, utf8 } from '../../../src/core/bytes.ts'
import { nativeMlDsa } from '../../../src/core/ml-dsa-native.ts'
import { buildMaml } from '../../../src/maml/build.ts'
import { parseMaml } from '../../../src/maml/parse.ts'
import { signMaml } from '../../../src/maml/sign.ts'
import { buildMu, parseMu } from '../../../src/receipt/mu.ts'
import { signEntry } from '../../../src/receipt/sign.ts'
import { type Golden, judgeGolden, makeGolden } from './golden.ts'

const at = (name: string) => new URL(name, import.meta.url)
const readBytes = (name: string) => (existsSync(at(name)) ? new Uint8Array(readFileSync(at(name))) : null)
const named = (name: string): Hex => toHex(sha256(utf8(name)))
const seed = (fill: number) => new Uint8Array(32).fill(fill)
const publicKey = (fill: number) => toHex(nativeMlDsa.publicKey(65, seed(fill)))

const [KEY, EARLIER, INDEXER] = [1, 2, 4]
const CONTRIBUTOR: Hex = `0x${'c0'.repeat(20)}`
const SCHEMA = new Uint8Array(readFileSync(new URL('../../../anvil/schemas/iot_data.maml.md', import.meta.url)))
writeFileSync(at('schema.maml.md'), SCHEMA)

const frontMatter = {
  maml: '1.0',
  schema: 'iot_data.maml',
  dataset: 'helium_sensors',
  sensor: 'helium_001',
  contributor: `eip155:31337:${CONTRIBUTOR}`,
  created: '2025-10-01T23:30:00Z',
}
const reading = { sensor_id: 'helium_001', air_quality: 85, timestamp: '2025-10-01T23:30:00Z' }
const later = { sensor_id: 'helium_001', air_quality: 0, timestamp: '2025-10-01T23:30:00.250Z' }

function signed(name: string, unsigned: Uint8Array, key: number): Uint8Array {
  const kept = readBytes(name)
  if (kept && equalBytes(parseMaml(kept).signedBytes, unsigned)) return kept
  return signMaml(unsigned, seed(key), nativeMlDsa)
}

function write(name: string, index: number, payload: Uint8Array, change: Partial<Golden['judge']>): void {
  const golden: Golden = {
    judge: {
      uriRefused: false,
      obtained: true,
      publicKey: publicKey(KEY),
      possessionValid: true,
      earlierKeys: [publicKey(EARLIER)],
      submittedTime: 1_759_361_402,
      ...change,
    },
    settled: {
      origin: 'dunes.example/logs/devnet',
      chain: 'eip155:31337',
      registry: `0x${'5e'.repeat(20)}`,
      index,
      submission: named(`${name} submission`),
      contributor: CONTRIBUTOR,
      seq: index,
      acc: named(`${name} acc`),
      sensor: 'helium_001',
      dataset: 'helium_sensors',
      schemaSha256: toHex(sha256(SCHEMA)),
      uriSha256: toHex(sha256(utf8(`https://sensors.example/${name}.maml.md`))),
      payload: { sha256: toHex(sha256(payload)), bytes: payload.length },
      keyId: toHex(sha256(nativeMlDsa.publicKey(65, seed(KEY)))),
      submitted: { block: 10 + index, logIndex: 0 },
      settled: {
        tx: named(`${name} tx`),
        block: 20 + index,
        blockHash: named(`${name} block`),
        logIndex: 1,
        time: 1_759_361_404 + index,
      },
      outcome: 'validated',
    },
    indexerKey: publicKey(INDEXER),
  }
  const judgement = judgeGolden(golden, payload, SCHEMA, nativeMlDsa)
  const entry = makeGolden(golden, judgement)
  const old = readBytes(`${name}.mu`)
  const kept = old && equalBytes(old.subarray(0, entry.length), entry) ? parseMu(old).signature : null
  const signature = kept ?? signEntry(entry, seed(INDEXER), nativeMlDsa)
  writeFileSync(at(`${name}.maml.md`), payload)
  writeFileSync(at(`${name}.json`), `${JSON.stringify(golden, null, 2)}\n`)
  writeFileSync(at(`${name}.entry`), entry)
  writeFileSync(at(`${name}.mu`), buildMu(entry, payload, signature))
}

const prose = utf8('\nMeasured by hand near the oasis, 31 °C 🐪.\n\n')
const plain = buildMaml({ frontMatter, readings: [reading] })
const cut = plain.indexOf(0x23)
const accepted = concat(plain.subarray(0, cut), prose, plain.subarray(cut))
write('accepted', 0, signed('accepted.maml.md', accepted, KEY), {})
const two = buildMaml({ readings: [reading, later] })
write('rejected', 1, signed('rejected.maml.md', two, EARLIER), {})
write('malformed', 2, concat(utf8('\ufeff'), plain), {})
write('unobtainable', 3, signed('unobtainable.maml.md', plain, KEY), { obtained: false })
