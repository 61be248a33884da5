import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { MlDsa } from '../../../src/core/ml-dsa.ts'
import { nobleMlDsa } from '../../../src/core/ml-dsa.ts'
import { nativeMlDsa } from '../../../src/core/ml-dsa-native.ts'
import {
  checkSigners,
  ed25519Signer,
  formatCheckpointBody,
  isOrigin,
  mlDsa44Signer,
  openCheckpoint,
  parseCheckpointBody,
  signCheckpoint,
} from '../../../src/log/checkpoint.ts'
import { LogError } from '../../../src/log/error.ts'
import { emptyRoot } from '../../../src/log/merkle.ts'
import { formatNote, type NoteSignature, parseNote } from '../../../src/log/note.ts'
import { makeVkey, parseVkey, SIGNATURE_TYPE, type Vkey } from '../../../src/log/vkey.ts'
import { flip, hex, unhex } from './reference.ts'

const golden = JSON.parse(
  readFileSync(new URL('../../vectors/log/checkpoint.json', import.meta.url), 'utf8'),
) as {
  origin: string
  size: number
  root: string
  timestamp: number
  ed25519: string
  mlDsa44: string
  note: string
}

const origin = 'dunes.example/log'
const seed = (byte: number) => new Uint8Array(32).fill(byte)
const mlDsa = nativeMlDsa
const ed = ed25519Signer(origin, seed(1))
const ml = mlDsa44Signer(origin, seed(2), mlDsa)
const stranger = ed25519Signer('witness.example/w1', seed(9))
const checkpoint = { origin, size: 0, root: emptyRoot() }
const timestamp = 1_790_000_000
const note = signCheckpoint({ ...checkpoint, timestamp }, [ed, ml])
const trust = { origin, vkeys: [ed.vkey, ml.vkey], mlDsa }

/** What a bundle verifier asks: opened, and signed by exactly the named keys. */
function exact(text: string | Uint8Array, vkeys: readonly Vkey[] = trust.vkeys): boolean {
  const opened = openCheckpoint(text, { ...trust, vkeys })
  return opened.ok && checkSigners(opened, vkeys).ok
}

describe('the golden checkpoint', () => {
  const vkeys = [parseVkey(golden.ed25519), parseVkey(golden.mlDsa44)]
  test.each([nativeMlDsa, nobleMlDsa])('opens with both keys ($name)', (implementation) => {
    const opened = openCheckpoint(golden.note, { origin: golden.origin, vkeys, mlDsa: implementation })
    expect(opened).toEqual({
      ok: true,
      checkpoint: { origin: golden.origin, size: golden.size, root: unhex(golden.root) },
      verified: [
        { vkey: vkeys[0], timestamp: null },
        { vkey: vkeys[1], timestamp: golden.timestamp },
      ],
      lines: 2,
    })
    expect(opened.ok && checkSigners(opened, vkeys)).toEqual({ ok: true })
  })

  test('has the Ed25519 line and the keys that its seeds make today', () => {
    const again = ed25519Signer(golden.origin, seed(1))
    const body = { origin: golden.origin, size: golden.size, root: unhex(golden.root) }
    expect(again.vkey).toEqual(vkeys[0])
    expect(again.sign(body, 0)).toEqual(parseNote(golden.note).signatures[0]?.signature)
    expect(mlDsa44Signer(golden.origin, seed(2), nobleMlDsa).vkey).toEqual(vkeys[1])
  })
})

describe('signatures', () => {
  test.each([
    ['native', 'noble', nativeMlDsa, nobleMlDsa],
    ['noble', 'native', nobleMlDsa, nativeMlDsa],
  ] as [
    string,
    string,
    MlDsa,
    MlDsa,
  ][])('an ML-DSA-44 line by %s opens with %s', (_, __, signs, verifies) => {
    const signer = mlDsa44Signer(origin, seed(2), signs)
    const text = signCheckpoint({ ...checkpoint, timestamp }, [signer])
    const opened = openCheckpoint(text, { origin, vkeys: [ml.vkey], mlDsa: verifies })
    expect(opened).toMatchObject({ ok: true, verified: [{ timestamp }], lines: 1 })
  })

  test('an ML-DSA-44 line signs the cosigned_message of C2SP tlog-cosignature, with an empty context', () => {
    const name = 'cosigner.example/\u00e9'
    const signer = mlDsa44Signer(name, seed(4), mlDsa)
    const at = { origin, size: 2 ** 40 + 5, root: emptyRoot() }
    const [line] = parseNote(signCheckpoint({ ...at, timestamp }, [signer])).signatures
    const time = Buffer.alloc(8)
    time.writeBigUInt64BE(BigInt(timestamp))
    const end = Buffer.alloc(8)
    end.writeBigUInt64BE(BigInt(at.size))
    const message = Buffer.concat([
      Buffer.from('subtree/v1\n\0', 'latin1'),
      Buffer.from([19]),
      Buffer.from(name),
      time,
      Buffer.from([origin.length]),
      Buffer.from(origin),
      Buffer.alloc(8),
      end,
      at.root,
    ])
    expect(Buffer.from(name)).toHaveLength(19)
    const signature = line?.signature as Uint8Array
    expect(signature).toHaveLength(8 + 2420)
    expect(Buffer.from(signature.subarray(0, 8))).toEqual(time)
    expect(
      nobleMlDsa.verify(44, signer.vkey.publicKey, message, signature.subarray(8), new Uint8Array(0)),
    ).toBe(true)
  })

  test('the timestamp is signed, may be 0, and must be a number that we can hold', () => {
    const [line] = parseNote(signCheckpoint({ ...checkpoint, timestamp: 0 }, [ml])).signatures
    const withTime = (time: bigint) => {
      const signature = (line as NoteSignature).signature.slice()
      new DataView(signature.buffer).setBigUint64(0, time)
      const signatures = [{ ...ml.vkey, signature }]
      return openCheckpoint(formatNote({ text: formatCheckpointBody(checkpoint), signatures }), trust)
    }
    expect(withTime(0n)).toMatchObject({ ok: true, verified: [{ timestamp: 0 }] })
    expect(withTime(1n).ok).toBe(false)
    for (const time of [-1, 0.5, Number.NaN, 2 ** 53])
      expect(() => signCheckpoint({ ...checkpoint, timestamp: time }, [ed, ml])).toThrow(LogError)
  })

  test('a well-signed timestamp beyond 2^53 - 1 is refused', () => {
    const signed = (time: bigint) => {
      const bytes = Buffer.alloc(8)
      bytes.writeBigUInt64BE(time)
      const vector = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])
      const message = Buffer.concat([
        Buffer.from('subtree/v1\n\0', 'latin1'),
        vector(origin),
        bytes,
        vector(origin),
        Buffer.alloc(16),
        checkpoint.root,
      ])
      const made = mlDsa.sign(44, seed(2), message, new Uint8Array(0))
      const signatures = [{ ...ml.vkey, signature: new Uint8Array([...bytes, ...made]) }]
      return openCheckpoint(formatNote({ text: formatCheckpointBody(checkpoint), signatures }), trust).ok
    }
    expect(signed(2n ** 53n - 1n)).toBe(true)
    expect(signed(2n ** 53n)).toBe(false)
    expect(signed(2n ** 64n - 1n)).toBe(false)
  })

  test('a seed has 32 bytes and a note at least one signer', () => {
    expect(() => ed25519Signer(origin, new Uint8Array(31))).toThrow(LogError)
    expect(() => mlDsa44Signer(origin, new Uint8Array(33), mlDsa)).toThrow(LogError)
    expect(() => ed25519Signer('a b', seed(1))).toThrow(LogError)
    expect(() => signCheckpoint({ ...checkpoint, timestamp }, [])).toThrow(LogError)
  })

  test('Ed25519 is strict: a small-order key and a signature with S beyond the order are refused', () => {
    // The identity point as public key and as R, S = 0: holds for every message under ZIP 215.
    const identity = Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 1 : 0))
    const vkey = makeVkey(origin, SIGNATURE_TYPE.ed25519, identity)
    const forged = new Uint8Array(64)
    forged.set(identity)
    const text = formatCheckpointBody(checkpoint)
    const bad = formatNote({ text, signatures: [{ ...vkey, signature: forged }] })
    expect(openCheckpoint(bad, { ...trust, vkeys: [vkey] }).ok).toBe(false)

    const order = 2n ** 252n + 27742317777372353535851937790883648493n
    const signature = ed.sign(checkpoint, 0).slice()
    let s = 0n
    for (let i = 63; i >= 32; i--) s = (s << 8n) | BigInt(signature[i] as number)
    s += order
    for (let i = 32; i < 64; i++) {
      signature[i] = Number(s & 0xffn)
      s >>= 8n
    }
    const malleated = formatNote({ text, signatures: [{ ...ed.vkey, signature }] })
    expect(openCheckpoint(malleated, trust).ok).toBe(false)
  })
})

describe('openCheckpoint', () => {
  test('answers what was signed', () => {
    expect(openCheckpoint(note, trust)).toEqual({
      ok: true,
      checkpoint,
      verified: [
        { vkey: ed.vkey, timestamp: null },
        { vkey: ml.vkey, timestamp },
      ],
      lines: 2,
    })
    expect(openCheckpoint(new TextEncoder().encode(note), trust)).toEqual(openCheckpoint(note, trust))
  })

  test('no note with a bit turned is taken for one signed by exactly these keys', () => {
    const bytes = new TextEncoder().encode(note)
    expect(exact(bytes)).toBe(true)
    const accepted: number[] = []
    // Each byte of the text, of the Ed25519 line and of all that precedes the long signature; then every sixteenth.
    for (let at = 0; at < bytes.length; at += at < 400 || at > bytes.length - 8 ? 1 : 16) {
      const bad = bytes.slice()
      bad[at] = (bad[at] as number) ^ (1 << (at % 8))
      if (exact(bad)) accepted.push(at)
    }
    expect(accepted).toEqual([])
    expect(note.indexOf('\u2014', note.indexOf('\u2014') + 1)).toBeLessThan(300)
  })

  test('no note that is cut short is', () => {
    for (let length = 0; length < note.length; length += length > 300 ? 13 : 1)
      expect(exact(note.slice(0, length)), `${length}`).toBe(false)
  })

  test('says why not', () => {
    const say = (text: string, more: Partial<typeof trust> = {}) => {
      const opened = openCheckpoint(text, { ...trust, ...more })
      return opened.ok ? 'ok' : opened.reason
    }
    expect(say(note, { origin: 'other.example/log' })).toBe('the checkpoint is of another origin')
    expect(say(note, { vkeys: [] })).toBe('no known key has signed the checkpoint')
    expect(say(note, { vkeys: [stranger.vkey] })).toBe('no known key has signed the checkpoint')
    const { signatures } = parseNote(note)
    const larger = formatCheckpointBody({ ...checkpoint, size: 1 })
    expect(say(formatNote({ text: larger, signatures }))).toBe(`the signature of ${origin} does not verify`)
    const extended = `${formatCheckpointBody(checkpoint)}extension\n`
    expect(say(formatNote({ text: extended, signatures }))).toBe('the checkpoint has extension lines')
    expect(say('junk')).toBe('the text does not end in a line end')
  })

  test('takes a signature by each key for its own text only', () => {
    const other = { ...checkpoint, size: 1, root: flip(checkpoint.root) }
    for (const signer of [ed, ml]) {
      const [line] = parseNote(signCheckpoint({ ...other, timestamp }, [signer])).signatures
      const moved = formatNote({ text: formatCheckpointBody(checkpoint), signatures: [line as never] })
      expect(openCheckpoint(moved, trust).ok).toBe(false)
      // Under another name the key id differs, so relabelling makes it a stranger's line.
      const renamed = formatNote({
        text: formatCheckpointBody(other),
        signatures: [{ ...(line as { keyId: number; signature: Uint8Array }), name: 'other.example/log' }],
      })
      expect(openCheckpoint(renamed, trust).ok).toBe(false)
    }
  })

  test('one bad line of a known key fails a note that another key has signed well', () => {
    const [first, second] = parseNote(note).signatures as unknown as [NoteSignature, NoteSignature]
    const text = formatCheckpointBody(checkpoint)
    for (const [a, b] of [
      [flip(first.signature, 40), second.signature],
      [first.signature, flip(second.signature, 40)],
      [first.signature.subarray(1), second.signature],
      [first.signature, second.signature.subarray(0, 7)],
      [first.signature, new Uint8Array([...second.signature, 0])],
    ] as [Uint8Array, Uint8Array][]) {
      const signatures = [
        { ...ed.vkey, signature: a },
        { ...ml.vkey, signature: b },
      ]
      expect(openCheckpoint(formatNote({ text, signatures }), trust).ok).toBe(false)
    }
  })

  test('never throws, whatever it is given', () => {
    for (const shape of [undefined, null, 7, {}, [], new Uint8Array(3), '', '\n\n'])
      expect(openCheckpoint(shape as never, trust)).toEqual({ ok: false, reason: expect.any(String) })
  })
})

describe('checkSigners', () => {
  const lines = parseNote(note).signatures
  const text = formatCheckpointBody(checkpoint)
  const [strange] = parseNote(signCheckpoint({ ...checkpoint, timestamp }, [stranger])).signatures
  const opened = (signatures: typeof lines) => {
    const result = openCheckpoint(formatNote({ text, signatures }), trust)
    if (!result.ok) throw new Error(result.reason)
    return result
  }

  test('wants every named key, in any order', () => {
    expect(checkSigners(opened(lines), trust.vkeys)).toEqual({ ok: true })
    expect(checkSigners(opened(lines.toReversed()), trust.vkeys)).toEqual({ ok: true })
    expect(checkSigners(opened(lines.slice(1)), trust.vkeys).ok).toBe(false)
    expect(checkSigners(opened(lines), [...trust.vkeys, stranger.vkey])).toEqual({
      ok: false,
      reason: 'witness.example/w1 has not signed the checkpoint',
    })
  })

  test('wants no other line: no stranger, none twice', () => {
    const reason = 'the checkpoint has a signature line that the policy does not name'
    expect(checkSigners(opened([...lines, strange as never]), trust.vkeys)).toEqual({ ok: false, reason })
    expect(checkSigners(opened([...lines, lines[0] as never]), trust.vkeys)).toEqual({ ok: false, reason })
    expect(checkSigners(opened(lines), [ed.vkey])).toEqual({ ok: false, reason })
    expect(checkSigners(opened(lines), [])).toEqual({ ok: false, reason })
    // A key that the policy names twice makes no room for a stranger.
    expect(checkSigners(opened([lines[0] as never, strange as never]), [ed.vkey, ed.vkey])).toEqual({
      ok: false,
      reason,
    })
    expect(checkSigners(opened(lines.slice(0, 1)), [ed.vkey, ed.vkey])).toEqual({ ok: true })
  })
})

describe('checkpoint bodies', () => {
  const root = emptyRoot()
  const base64 = Buffer.from(root).toString('base64')
  test('are origin, size and root', () => {
    expect(formatCheckpointBody({ origin, size: 20_852_163, root })).toBe(`${origin}\n20852163\n${base64}\n`)
    expect(hex(parseCheckpointBody(`${origin}\n0\n${base64}\n`).root)).toBe(hex(root))
    expect(parseCheckpointBody(`${origin}\n9007199254740991\n${base64}\n`).size).toBe(2 ** 53 - 1)
  })

  test('of the specification read', () => {
    const text = 'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n'
    const read = parseCheckpointBody(text)
    expect(read).toMatchObject({ origin: 'example.com/behind-the-sofa', size: 20_852_163 })
    expect(formatCheckpointBody(read)).toBe(text)
  })

  test.each([
    '',
    '\n',
    '\n\n\n',
    `${origin}\n1\n`,
    `${origin}\n1\n${base64}`,
    `${origin}\n1\n${base64}\n\n`,
    `${origin}\n1\n${base64}\nextension\n`,
    `\n1\n${base64}\n`,
    `a b\n1\n${base64}\n`,
    `a+b\n1\n${base64}\n`,
    `a\u00e9b\n1\n${base64}\n`,
    `${'x'.repeat(129)}\n1\n${base64}\n`,
    `${origin}\n\n${base64}\n`,
    `${origin}\n01\n${base64}\n`,
    `${origin}\n-1\n${base64}\n`,
    `${origin}\n+1\n${base64}\n`,
    `${origin}\n1.0\n${base64}\n`,
    `${origin}\n1e3\n${base64}\n`,
    `${origin}\n0x1\n${base64}\n`,
    `${origin}\n 1\n${base64}\n`,
    `${origin}\n9007199254740992\n${base64}\n`,
    `${origin}\n10000000000000000000\n${base64}\n`,
    `${origin}\n1\n${base64.slice(0, -1)}\n`,
    `${origin}\n1\n${base64.replace('U=', 'V=')}\n`,
    `${origin}\n1\n${base64.slice(4)}\n`,
    `${origin}\n1\nAAAA${base64}\n`,
    `${origin}\n1\n\n`,
    `${origin}\r\n1\r\n${base64}\r\n`,
  ])('%j is refused', (text) => {
    expect(() => parseCheckpointBody(text)).toThrow(expect.objectContaining({ code: 'CHECKPOINT_MALFORMED' }))
  })

  test('are not written of what could not be read', () => {
    for (const bad of [
      { origin: 'a b', size: 1, root },
      { origin: '', size: 1, root },
      { origin, size: -1, root },
      { origin, size: 2 ** 53, root },
      { origin, size: 1, root: root.subarray(1) },
    ])
      expect(() => formatCheckpointBody(bad)).toThrow(LogError)
  })

  test('origins are 1 to 128 printable ASCII characters without space and plus', () => {
    const fine = Array.from({ length: 0x7f - 0x21 }, (_, i) => String.fromCharCode(0x21 + i)).filter(
      (c) => c !== '+',
    )
    for (const c of fine) expect(isOrigin(c), c).toBe(true)
    expect(isOrigin('x'.repeat(128))).toBe(true)
    for (const bad of ['', 'x'.repeat(129), 'a b', '+', 'a\n', '\u007f', '\u00e9', '\t', undefined, null, 7])
      expect(isOrigin(bad), JSON.stringify(bad)).toBe(false)
  })
})
