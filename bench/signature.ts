import { createHash } from 'node:crypto'
import { nobleMlDsa } from '../src/core/ml-dsa.ts'
import { mlDsa, nativeMlDsa } from '../src/core/ml-dsa-native.ts'
import { parseMaml } from '../src/maml/parse.ts'
import { MAML_CONTEXT } from '../src/maml/sign.ts'
import { PUBLIC_KEY, signedPayload } from './fixture.ts'
import { againstTiming, type Figure, latency, measure, must } from './measure.ts'

/** More keys than the native implementation keeps parsed, so that going round them never meets a parsed one. */
const MANY_KEYS = 4_200

/** ML-DSA-65 over the signed bytes of a payload of one reading, with nothing of Dunes around it. */
export async function benchSignature(): Promise<Figure[]> {
  const { signedBytes, signature } = parseMaml(signedPayload(1))
  must(signature.kind === 'present', 'the payload is unsigned')
  const { bytes } = signature
  const verify = (by: typeof mlDsa, key = PUBLIC_KEY) => by.verify(65, key, signedBytes, bytes, MAML_CONTEXT)
  must(verify(nobleMlDsa), 'the signature is not valid')
  const seed = new Uint8Array(32).fill(9)
  const hash = () => createHash('sha256').update(signedBytes).digest()

  const noble = await measure({
    verify: () => verify(nobleMlDsa),
    sign: () => nobleMlDsa.sign(65, seed, signedBytes, MAML_CONTEXT),
    hash,
  })
  const out: Figure[] = []
  if (mlDsa.name === 'native') {
    const keys = Array.from({ length: MANY_KEYS }, (_, n) => {
      const own = new Uint8Array(32)
      new DataView(own.buffer).setUint32(0, n)
      return nativeMlDsa.publicKey(65, own)
    })
    let next = 0
    const native = await measure({
      verify: () => verify(nativeMlDsa),
      newKey: () => verify(nativeMlDsa, keys[next++ % MANY_KEYS]),
      sign: () => nativeMlDsa.sign(65, seed, signedBytes, MAML_CONTEXT),
      hash,
    })
    out.push(
      latency('mldsa65_verify_native', 'us', native.verify.micros, {
        comparedWith: [
          againstTiming(native.verify, 'noble verify', noble.verify),
          againstTiming(native.verify, 'SHA-256 of the signed bytes', native.hash),
        ],
        note: 'a key that was seen before: parsed keys are kept',
      }),
      latency('mldsa65_verify_native_new_key', 'us', native.newKey.micros, {
        comparedWith: [againstTiming(native.newKey, 'verify with a key seen before', native.verify)],
        note: `${MANY_KEYS} keys in turn, so that none is kept; not the signer's, which costs the same`,
      }),
      latency('mldsa65_sign_native', 'us', native.sign.micros, {
        comparedWith: [againstTiming(native.sign, 'noble sign', noble.sign)],
        note: 'hedged signing tries again at random, so its time is spread widely',
      }),
    )
  }
  out.push(
    latency('mldsa65_verify_noble', 'us', noble.verify.micros, {
      comparedWith: [againstTiming(noble.verify, 'SHA-256 of the signed bytes', noble.hash)],
      note: 'what a browser has',
    }),
    latency('mldsa65_sign_noble', 'us', noble.sign.micros),
  )
  return out
}
