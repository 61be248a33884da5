import { concat, toHex, utf8 } from '../core/bytes.ts'
import { DunesError } from '../core/error.ts'
import type { MlDsa } from '../core/ml-dsa.ts'
import { SIGNATURE_HEADING } from './container.ts'
import { type MamlPayload, parseMaml, SIGNATURE_PREFIX } from './parse.ts'

/** ML-DSA-65 context (FIPS 204 section 5.2) of payload signatures. */
export const MAML_CONTEXT = utf8('dunes.maml/v1')

/** The signature section that makes `signedBytes` a signed payload; `.mu` receipts end with the same two lines. */
export const signatureSection = (signature: Uint8Array): Uint8Array =>
  utf8(`${SIGNATURE_HEADING}\n${SIGNATURE_PREFIX}${toHex(signature)}\n`)

/**
 * Signs a payload that has no signature section yet and gives the whole signed file. To sign a file anew, pass the
 * `signedBytes` of its parse. `seed` is the 32-byte ML-DSA-65 seed. Throws `MamlError` when the bytes, or the signed
 * file, are no MAML payload, and `MAML_ALREADY_SIGNED` when they have a signature section.
 */
export function signMaml(unsigned: Uint8Array, seed: Uint8Array, mlDsa: MlDsa): Uint8Array {
  if (parseMaml(unsigned).signature.kind !== 'missing') {
    throw new DunesError('MAML_ALREADY_SIGNED', 'the payload has a signature section already', {
      hint: 'sign the bytes before its ## Signature line',
    })
  }
  const signed = concat(unsigned, signatureSection(mlDsa.sign(65, seed, unsigned, MAML_CONTEXT)))
  parseMaml(signed)
  return signed
}

/** Whether the payload's signature is one by `publicKey` (1,952 bytes) over its signed bytes. Never throws. */
export const verifyMaml = (
  payload: Pick<MamlPayload, 'signedBytes' | 'signature'>,
  publicKey: Uint8Array,
  mlDsa: MlDsa,
): boolean =>
  payload.signature.kind === 'present' &&
  mlDsa.verify(65, publicKey, payload.signedBytes, payload.signature.bytes, MAML_CONTEXT)
