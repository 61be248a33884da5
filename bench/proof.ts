import { type MlDsa, nobleMlDsa } from '../src/core/ml-dsa.ts'
import { mlDsa } from '../src/core/ml-dsa-native.ts'
import { formatTlogProof, parseTlogProof } from '../src/log/tlog-proof.ts'
import { type Bundle, decodeBundle, encodeBundle } from '../src/proof/bundle.ts'
import { objections, verifyBundle } from '../src/proof/verify.ts'
import { proofWorld } from '../test/support/proof-world.ts'
import { exact, type Figure, latency, measure, must } from './measure.ts'

const LEAVES = 256
const INDEX = 100
/** Hashes of an inclusion proof in a log of ten million leaves. */
const DEEP_PATH = 24

/** Adds up the milliseconds that are spent in ML-DSA. */
function clocked(by: MlDsa): MlDsa & { spent: number } {
  const out = {
    ...by,
    spent: 0,
    verify(...args: Parameters<MlDsa['verify']>) {
      const start = performance.now()
      const answer = by.verify(...args)
      out.spent += performance.now() - start
      return answer
    },
  }
  return out
}

/**
 * Bundles of a small deployment that is made of real parts in memory: a log of 256 leaves, a state trie of 42 accounts, contract
 * storage of some 260 slots. Verified offline with the native ML-DSA and with the JavaScript one, and, of the same
 * verifications, the time outside ML-DSA.
 */
export async function benchProof(): Promise<Figure[]> {
  const world = await proofWorld({ leaves: LEAVES })
  const at = await world.block()
  const out: Figure[] = []
  for (const full of [false, true]) {
    const name = full ? 'all' : 'default'
    const bundle = await world.bundle(at, { index: INDEX, full })
    const bytes = encodeBundle(bundle)
    out.push(...sizes(name, bundle, bytes))

    const verify = (by: MlDsa) =>
      verifyBundle({ bundle: bytes, policy: world.policy, trustedBlockHash: at.hash, mlDsa: by })
    const { claims } = verify(nobleMlDsa)
    must(objections(claims).length === 0, 'the bundle does not verify')
    // Completeness is of a contributor, and no bundle about one submission claims it.
    const own = claims.filter(({ name: claim }) => claim !== 'complete')
    must(!full || own.every(({ status }) => status === 'proved'), 'the full bundle leaves a claim out')
    const clock = clocked(nobleMlDsa)
    const rest: number[] = []
    const timing = await measure({
      native: () => verify(mlDsa),
      noble() {
        clock.spent = 0
        const start = performance.now()
        verify(clock)
        rest.push((performance.now() - start - clock.spent) * 1000)
      },
      decode: () => decodeBundle(bytes),
      encode: () => encodeBundle(bundle),
    })
    const signatures = full ? 'one ML-DSA-44 and three ML-DSA-65 signatures' : 'one ML-DSA-44 signature'
    if (mlDsa.name === 'native')
      out.push(latency(`bundle_verify_${name}_native`, 'us', timing.native.micros, { note: signatures }))
    out.push(
      latency(`bundle_verify_${name}_noble`, 'us', timing.noble.micros, { note: signatures }),
      latency(`bundle_verify_${name}_besides_mldsa`, 'us', rest.slice(-timing.noble.micros.length), {
        note: 'the same verifications without the time in ML-DSA; Ed25519, tries, JSON, hashes, parsing',
      }),
      latency(`bundle_decode_${name}`, 'us', timing.decode.micros, { note: 'a part of every verification' }),
      latency(`bundle_encode_${name}`, 'us', timing.encode.micros),
    )
  }
  return out
}

function sizes(name: string, bundle: Bundle, bytes: Uint8Array): Figure[] {
  const hashes = Array.from({ length: DEEP_PATH }, () => new Uint8Array(32))
  const deep = encodeBundle({
    ...bundle,
    tlogProof: formatTlogProof({ ...parseTlogProof(bundle.tlogProof), hashes }),
  })
  const nodes = bundle.evidence.accounts
    .flatMap(({ accountProof, slots }) => [...accountProof, ...slots.flatMap(({ proof }) => proof)])
    .reduce((sum, node) => sum + node.length, 0)
  return [
    exact(`bundle_bytes_${name}`, 'bytes', bytes.length, {
      note: `${LEAVES} leaves, a state trie of 42 accounts; ${nodes} bytes of trie nodes, twice that as hex`,
    }),
    exact(`bundle_bytes_${name}_10m_leaves`, 'bytes', deep.length, {
      note: `the same bundle with an inclusion proof of ${DEEP_PATH} hashes, as ten million leaves need`,
    }),
  ]
}
