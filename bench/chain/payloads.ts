import { createHash, createPrivateKey, sign } from 'node:crypto'
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { concat } from '../../src/core/bytes.ts'
import { buildMaml } from '../../src/maml/build.ts'
import { MAML_CONTEXT, signatureSection } from '../../src/maml/sign.ts'
import { reading } from '../fixture.ts'
import type { ChainPlan, Contributor } from './generate.ts'

/** PKCS #8 with the seed alone (RFC 9881), in front of the 32 bytes. */
const PKCS8 = Buffer.from('3034020100300b060960864801650304031204228020', 'hex')
/** Signatures at work at once: more than there are threads for them. */
const AT_ONCE = 16

export interface Payloads {
  sha256(n: number): Buffer
  length(n: number): number
  stored: { file: string; at: Float64Array; bytes: Float64Array }
}

/** Makes and signs a payload for each submission, and writes them to one file, as PostgreSQL's binary COPY takes them. */
export async function signPayloads(
  plan: ChainPlan,
  contributors: readonly Contributor[],
  progress: (line: string) => void,
): Promise<Payloads> {
  const keys = contributors.map(({ seed }) =>
    createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' }),
  )
  const path = join(plan.folder, 'payloads.copy')
  const file = openSync(path, 'w')
  const hashes = Buffer.alloc(32 * plan.submissions)
  const at = new Float64Array(plan.submissions)
  const bytes = new Float64Array(plan.submissions)
  const header = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)])
  let end = writeSync(file, header)
  const make = (n: number): Promise<Uint8Array> => {
    const who = n % contributors.length
    const { account, sensor } = contributors[who]!
    const unsigned = buildMaml({
      frontMatter: {
        maml: '1.0',
        schema: 'iot_data.maml',
        dataset: 'helium_sensors',
        sensor,
        contributor: `eip155:31337:${account}`,
        created: '2025-10-01T23:30:00Z',
      },
      readings: Array.from({ length: plan.readings }, (_, i) => reading(sensor, n * plan.readings + i)),
    })
    return new Promise((resolve, reject) => {
      const options = { key: keys[who]!, context: MAML_CONTEXT }
      sign(null, unsigned, options, (error, signature) =>
        error ? reject(error) : resolve(concat(unsigned, signatureSection(signature))),
      )
    })
  }
  for (let first = 0; first < plan.submissions; first += AT_ONCE) {
    const count = Math.min(AT_ONCE, plan.submissions - first)
    const made = await Promise.all(Array.from({ length: count }, (_, i) => make(first + i)))
    for (const [i, payload] of made.entries()) {
      const n = first + i
      const digest = createHash('sha256').update(payload).digest()
      digest.copy(hashes, 32 * n)
      const row = Buffer.alloc(42)
      row.writeInt16BE(2, 0)
      row.writeInt32BE(32, 2)
      digest.copy(row, 6)
      row.writeInt32BE(payload.length, 38)
      end += writeSync(file, Buffer.concat([row, payload]))
      bytes[n] = payload.length
      at[n] = end - payload.length
    }
    if (first % (256 * AT_ONCE) === 0 && first > 0)
      progress(`${first} of ${plan.submissions} payloads are signed`)
  }
  writeSync(file, Buffer.from([0xff, 0xff]))
  closeSync(file)
  return {
    sha256: (n) => hashes.subarray(32 * n, 32 * n + 32),
    length: (n) => bytes[n]!,
    stored: { file: path, at, bytes },
  }
}
