import { ed25519 } from '@noble/curves/ed25519.js'
import { sha512 } from '@noble/hashes/sha2.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromHex, toHex, utf8 } from '../../../src/core/bytes.ts'
import { fastEd25519, nobleEd25519 } from '../../../src/core/ed25519.ts'

const { Point } = ed25519
const hex = (digits: string) => fromHex(`0x${digits}`)

// RFC 8032 section 7.1, tests 1 to 3: seed, public key, message, signature.
const RFC = [
  [
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    '',
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  ],
  [
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    '72',
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  ],
  [
    'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    'af82',
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  ],
] as const

/** Signs with a part of small order added to the key or to R, as only a dishonest signer does. */
function crooked(seed: Uint8Array, message: Uint8Array, add: { key: boolean; r: boolean }) {
  const { scalar, prefix } = ed25519.utils.getExtendedPublicKey(seed)
  const order = Point.Fn.ORDER
  const little = (bytes: Uint8Array) => BigInt(toHex(bytes.toReversed()))
  const hash = (...parts: Uint8Array[]) =>
    little(sha512(Uint8Array.from(parts.flatMap((part) => [...part])))) % order
  const torsion = Point.fromBytes(hex('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05'))
  const key = add.key ? Point.BASE.multiply(scalar).add(torsion) : Point.BASE.multiply(scalar)
  const r = hash(prefix, message)
  const R = add.r ? Point.BASE.multiply(r).add(torsion) : Point.BASE.multiply(r)
  const k = hash(R.toBytes(), key.toBytes(), message)
  const s = (r + k * scalar) % order
  const tail = fromHex(`0x${s.toString(16).padStart(64, '0')}`).toReversed()
  return { key: key.toBytes(), signature: Uint8Array.of(...R.toBytes(), ...tail) }
}

describe.each([
  ['native', fastEd25519],
  ['noble', nobleEd25519],
])('Ed25519, %s', (_, by) => {
  it.each(RFC)('signs and verifies RFC 8032 section 7.1, seed %s', (seed, key, message, signature) => {
    expect(by.sign(hex(seed), hex(message))).toEqual(hex(signature))
    expect(by.verify(hex(key), hex(message), hex(signature))).toBe(true)
    expect(by.verify(hex(key), utf8('other'), hex(signature))).toBe(false)
  })

  it('refuses what is malformed', () => {
    const [, key, message, signature] = RFC[1]
    const good = hex(signature)
    expect(by.verify(hex(key).subarray(1), hex(message), good)).toBe(false)
    expect(by.verify(hex(key), hex(message), good.subarray(1))).toBe(false)
    expect(by.verify(new Uint8Array(32), hex(message), good)).toBe(false)
    expect(by.verify(new Uint8Array(32).fill(0xff), hex(message), good)).toBe(false)
    // s + L: the same equation, a second spelling (RFC 8032 section 8.4).
    const s = BigInt(toHex(good.slice(32).toReversed())) + Point.Fn.ORDER
    const again = Uint8Array.of(
      ...good.slice(0, 32),
      ...fromHex(`0x${s.toString(16).padStart(64, '0')}`).toReversed(),
    )
    expect(by.verify(hex(key), hex(message), again)).toBe(false)
  })

  it.each([
    [false, false, true],
    [true, false, false],
    [false, true, false],
    [true, true, false],
  ])('with a part of small order in the key: %s, in R: %s', (key, r, holds) => {
    for (let n = 0; n < 8; n++) {
      const message = utf8(`message ${n}`)
      const made = crooked(new Uint8Array(32).fill(n + 1), message, { key, r })
      expect(by.verify(made.key, message, made.signature)).toBe(holds)
    }
  })
})

it('gives the same answer by both implementations', () => {
  const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size })
  fc.assert(
    fc.property(
      bytes(32),
      fc.uint8Array({ maxLength: 40 }),
      fc.nat(95),
      fc.nat(7),
      (seed, message, at, bit) => {
        const signature = nobleEd25519.sign(seed, message)
        expect(fastEd25519.sign(seed, message)).toEqual(signature)
        const whole = Uint8Array.of(...ed25519.getPublicKey(seed), ...signature)
        whole[at] = (whole[at] as number) ^ (1 << bit)
        const key = whole.subarray(0, 32)
        const damaged = whole.subarray(32)
        expect(fastEd25519.verify(key, message, damaged)).toBe(nobleEd25519.verify(key, message, damaged))
      },
    ),
    { numRuns: 60 },
  )
})
