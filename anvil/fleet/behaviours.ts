import { concat, decodeUtf8, utf8 } from '../../src/core/bytes.ts'
import type { JsonObject } from '../../src/core/json.ts'
import type { MlDsa } from '../../src/core/ml-dsa.ts'
import type { Reason } from '../../src/core/reason.ts'
import { buildMaml } from '../../src/maml/build.ts'
import { DATA_HEADING, type FrontMatter } from '../../src/maml/container.ts'
import { MAML_CONTEXT, signatureSection, signMaml } from '../../src/maml/sign.ts'
import type { Role } from './stations.ts'

/** All that a behaviour may use to make its payload. */
export interface Draft {
  readonly frontMatter: FrontMatter
  readonly readings: readonly JsonObject[]
  /** ML-DSA-65 seed in force on-chain. */
  readonly seed: Uint8Array
  /** The seed before that one; the same where the contributor never rotated. */
  readonly oldSeed: Uint8Array
  /** Somebody else's seed. */
  readonly foreignSeed: Uint8Array
  readonly mlDsa: MlDsa
}

/** What the payload host answers. */
export type Serving =
  | 'whole'
  | 'missing'
  | 'truncated'
  | 'longer'
  | 'altered'
  | 'hangs'
  | 'streams'
  | 'redirects'
  | 'gzip bomb'

/** Something that contributors do, on purpose, and what the indexer should say to it. */
export interface Behaviour {
  /** Also the first part of the payload's path, which is how host and validators know what to do after a restart. */
  readonly name: string
  /** Null where it is to be accepted. */
  readonly reason: Reason | null
  /** How often, against the others that a contributor can choose from. */
  readonly weight: number
  /** The only role that does it; everybody unless told. */
  readonly role?: Role
  /** What the validators do with it: attest that it is valid unless told. */
  readonly validators?: 'reject' | 'ignore'
  readonly serving: Serving
  /** How many readings, from and to. */
  readonly readings: readonly [least: number, most: number]
  /** Submits an earlier accepted payload again, and is passed over while there is none. */
  readonly repeats?: boolean
  /** The URI where it is not the payload's place on the host, which is `hosted` (below `url`). */
  readonly uri?: (hosted: string) => string
  /** The bytes that are hashed and submitted. */
  readonly craft: (draft: Draft) => Uint8Array
}

const build = ({ frontMatter, readings }: Draft): Uint8Array => buildMaml({ frontMatter, readings })
const signed = (draft: Draft): Uint8Array => signMaml(build(draft), draft.seed, draft.mlDsa)
const sectionBy = (bytes: Uint8Array, seed: Uint8Array, { mlDsa }: Draft): Uint8Array =>
  signatureSection(mlDsa.sign(65, seed, bytes, MAML_CONTEXT))
/** Signs bytes that `signMaml` refuses because they are no MAML: the signature is not what is wrong with them. */
const signAnyway = (bytes: Uint8Array, draft: Draft): Uint8Array =>
  concat(bytes, sectionBy(bytes, draft.seed, draft))
/** A signed payload whose unsigned text `change` has been at. */
const changed =
  (change: (text: string) => string) =>
  (draft: Draft): Uint8Array =>
    signAnyway(utf8(change(decodeUtf8(build(draft)))), draft)
/** Puts other JSON in the place of the first reading's first value, whichever dataset it is of. */
const firstValue = (json: string) =>
  changed((text) => text.replace(/("(?:air_quality|temperature)": ?)-?[0-9.]+/, `$1${json}`))

const ONE = [1, 1] as const
const HOST = { serving: 'whole', readings: ONE } as const
const UNOBTAINABLE = { reason: 'PAYLOAD_UNAVAILABLE', readings: ONE, craft: signed } as const
const MALFORMED = { ...HOST, reason: 'MAML_MALFORMED', weight: 0.6 } as const

/** Depth of the JSON that no parser should recurse into. */
const DEEP = 10_000

/**
 * Everything that the fleet does, as one table. The weights sum to 100 or so for ordinary contributors, so they read as per
 * cent; about one submission in six is bad in some way.
 */
export const BEHAVIOURS: readonly Behaviour[] = [
  { ...HOST, name: 'reading', reason: null, weight: 66, craft: signed },
  { name: 'readings', reason: null, weight: 18, serving: 'whole', readings: [2, 12], craft: signed },

  // What the validators and the chain decide.
  {
    ...HOST,
    name: 'quorum_rejects',
    reason: 'QUORUM_REJECTED',
    weight: 0.9,
    validators: 'reject',
    craft: signed,
  },
  { ...HOST, name: 'nobody_attests', reason: 'EXPIRED', weight: 0.9, validators: 'ignore', craft: signed },

  // What the URI decides.
  {
    ...HOST,
    name: 'uri_credentials',
    reason: 'URI_REFUSED',
    weight: 0.7,
    uri: (hosted) => hosted.replace('://', '://fleet:secret@'),
    craft: signed,
  },
  {
    ...UNOBTAINABLE,
    name: 'private_address',
    weight: 0.7,
    serving: 'missing',
    uri: (hosted) => `http://10.0.0.1${new URL(hosted).pathname}`,
  },

  // What the host does.
  { ...UNOBTAINABLE, name: 'payload_missing', weight: 0.7, serving: 'missing' },
  { ...UNOBTAINABLE, name: 'payload_truncated', weight: 0.6, serving: 'truncated' },
  { ...UNOBTAINABLE, name: 'payload_longer', weight: 0.6, serving: 'longer' },
  { ...UNOBTAINABLE, name: 'wrong_hash', weight: 0.7, serving: 'altered' },
  { ...UNOBTAINABLE, name: 'host_hangs', weight: 0.4, serving: 'hangs' },
  { ...UNOBTAINABLE, name: 'host_streams', weight: 0.4, serving: 'streams' },
  { ...UNOBTAINABLE, name: 'redirect_loop', weight: 0.4, serving: 'redirects' },
  { ...UNOBTAINABLE, name: 'gzip_bomb', weight: 0.4, serving: 'gzip bomb' },

  // What the bytes are.
  {
    ...MALFORMED,
    name: 'not_utf8',
    craft(draft) {
      const [before = '', after = ''] = decodeUtf8(build(draft)).split(DATA_HEADING)
      return signAnyway(concat(utf8(before), new Uint8Array([0xff, 0x0a]), utf8(DATA_HEADING + after)), draft)
    },
  },
  {
    ...MALFORMED,
    name: 'byte_order_mark',
    craft: (draft) => signAnyway(concat(new Uint8Array([0xef, 0xbb, 0xbf]), build(draft)), draft),
  },
  { ...MALFORMED, name: 'crlf', craft: changed((text) => text.replaceAll('\n', '\r\n')) },
  {
    ...MALFORMED,
    name: 'duplicate_keys',
    craft: changed((text) => text.replace('{', '{\n  "sensor_id": "twice",')),
  },
  { ...MALFORMED, name: 'unsafe_integer', craft: firstValue(String(2n ** 53n + 1n)) },
  { ...MALFORMED, name: 'deep_json', craft: firstValue(`${'['.repeat(DEEP)}${']'.repeat(DEEP)}`) },
  {
    ...MALFORMED,
    name: 'signature_twice',
    craft: (draft) => concat(signed(draft), sectionBy(build(draft), draft.seed, draft)),
  },

  // What the payload says, and who signed it.
  {
    ...HOST,
    name: 'metadata_mismatch',
    reason: 'METADATA_MISMATCH',
    weight: 0.8,
    craft: (draft) => signed({ ...draft, frontMatter: { ...draft.frontMatter, dataset: 'mars_sensors' } }),
  },
  { ...HOST, name: 'unproved_key', reason: 'KEY_UNKNOWN', weight: 1, role: 'unproved', craft: signed },
  {
    ...HOST,
    name: 'rotated_key',
    reason: 'KEY_REVOKED',
    weight: 20,
    role: 'rotator',
    craft: (draft) => signed({ ...draft, seed: draft.oldSeed }),
  },
  { ...HOST, name: 'signature_missing', reason: 'SIGNATURE_MISSING', weight: 0.8, craft: build },
  {
    ...HOST,
    name: 'signature_malformed',
    reason: 'SIGNATURE_INVALID',
    weight: 0.5,
    craft: (draft) => concat(build(draft), utf8('## Signature\nCRYSTALS-Dilithium: 0x1234...\n')),
  },
  {
    ...HOST,
    name: 'foreign_key',
    reason: 'SIGNATURE_INVALID',
    weight: 0.8,
    craft: (draft) => signed({ ...draft, seed: draft.foreignSeed }),
  },
  { ...HOST, name: 'schema_violated', reason: 'SCHEMA_INVALID', weight: 0.9, craft: firstValue('999') },
  {
    ...HOST,
    name: 'duplicate',
    reason: 'DUPLICATE',
    weight: 0.9,
    repeats: true,
    craft: signed,
  },
]

const BY_NAME: ReadonlyMap<string, Behaviour> = new Map(BEHAVIOURS.map((kind) => [kind.name, kind]))
export const behaviourNamed = (name: string): Behaviour | undefined => BY_NAME.get(name)

/** What a contributor of `role` chooses from. One without a proved key can do nothing else wrong: its key comes first. */
export const choicesOf = (role: Role, hasEarlier: boolean): readonly Behaviour[] =>
  BEHAVIOURS.filter(
    (kind) =>
      (role === 'unproved' ? kind.role === role : kind.role === undefined || kind.role === role) &&
      (hasEarlier || !kind.repeats),
  )
