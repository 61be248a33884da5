/**
 * Why a settled submission is rejected (design section 3.5). The array's order is the order in which reasons apply:
 * the one reported is the first that holds, whatever order the checks ran in.
 */
export const REASONS = [
  'QUORUM_REJECTED',
  'EXPIRED',
  'URI_REFUSED',
  'PAYLOAD_UNAVAILABLE',
  'MAML_MALFORMED',
  'METADATA_MISMATCH',
  'KEY_UNKNOWN',
  'KEY_REVOKED',
  'SIGNATURE_MISSING',
  'SIGNATURE_INVALID',
  'SCHEMA_UNKNOWN',
  'SCHEMA_INVALID',
  'STALE',
  'DUPLICATE',
] as const

export type Reason = (typeof REASONS)[number]

/** Whose side a reason lies on. */
export type Fault = 'contributor' | 'validators' | 'payload host' | 'dataset owner'

export interface ReasonInfo {
  fault: Fault
  /** One plain sentence: what is wrong. */
  sentence: string
  /** One plain sentence: what to do about it. */
  todo: string
}

export const REASON_INFO: Readonly<Record<Reason, ReasonInfo>> = {
  QUORUM_REJECTED: {
    fault: 'validators',
    sentence: 'A quorum of validators rejected the submission on-chain.',
    todo: 'Ask the validators why, mend the reading and submit it again.',
  },
  EXPIRED: {
    fault: 'validators',
    sentence: 'No quorum was reached before the submission expired.',
    todo: 'Submit it again and make sure that enough validators are online.',
  },
  URI_REFUSED: {
    fault: 'contributor',
    sentence:
      'The payload URI cannot be parsed, has a scheme other than http, https, file or ipfs, or holds credentials.',
    todo: 'Submit again with a plain http(s), file or ipfs URI.',
  },
  PAYLOAD_UNAVAILABLE: {
    fault: 'payload host',
    sentence: 'No bytes with the submitted hash and length could be obtained before the grace ended.',
    todo: 'Host the exact bytes that were submitted, or put them on the payload store, and submit again.',
  },
  MAML_MALFORMED: {
    fault: 'contributor',
    sentence: 'The payload is not a well-formed MAML file.',
    todo: 'Run `dunes maml inspect` on the file, mend the line and column that it names, sign and submit again.',
  },
  METADATA_MISMATCH: {
    fault: 'contributor',
    sentence: 'The payload names a contributor, sensor, dataset or schema that the chain contradicts.',
    todo: 'Write the names that are registered on-chain into the front matter and readings, sign and submit again.',
  },
  KEY_UNKNOWN: {
    fault: 'contributor',
    sentence: "The contributor's registered key has no valid proof of possession.",
    todo: 'Register a key with `dunes register` or `dunes rotate`, which prove possession, and submit again.',
  },
  KEY_REVOKED: {
    fault: 'contributor',
    sentence:
      'The payload is signed by an earlier key of the contributor, not by the one in force at the submission.',
    todo: 'Sign with the current key and submit again.',
  },
  SIGNATURE_MISSING: {
    fault: 'contributor',
    sentence: 'The payload has no signature.',
    todo: 'Run `dunes maml sign` and submit the signed file.',
  },
  SIGNATURE_INVALID: {
    fault: 'contributor',
    sentence: 'The signature is not a valid ML-DSA-65 signature of these bytes by the registered key.',
    todo: 'Sign the final bytes with the registered key (`dunes maml sign`) and submit again.',
  },
  SCHEMA_UNKNOWN: {
    fault: 'dataset owner',
    sentence: 'The bytes registered on-chain for the dataset are not a valid schema file.',
    todo: 'The dataset owner registers a valid schema file with `dunes dataset add FILE --update`.',
  },
  SCHEMA_INVALID: {
    fault: 'contributor',
    sentence: 'A reading violates the dataset schema that was in force at the submission.',
    todo: 'Compare the reading with the schema (`dunes maml inspect`), mend it, sign and submit again.',
  },
  STALE: {
    fault: 'contributor',
    sentence: "The first reading's time is too far from the submission block's for this dataset.",
    todo: 'Submit readings within the age limits of the leaf policy, and check the sensor clock.',
  },
  DUPLICATE: {
    fault: 'contributor',
    sentence: 'The same contributor already has an accepted submission with the same signed bytes.',
    todo: 'Nothing: the earlier submission stands.',
  },
}
