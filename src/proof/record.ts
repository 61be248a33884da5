import { evmChainId } from '../chain/ids.ts'
import { recordHash } from '../chain/record.ts'
import type { Hex } from '../core/bytes.ts'
import type { Entry } from '../receipt/entry.ts'

/** The record that the registry holds for the submission of `entry`, if the entry is right in every field that it covers. */
export const entryRecord = (entry: Entry): Hex =>
  recordHash({
    chainId: evmChainId(entry.chain),
    registry: entry.registry,
    id: entry.submission,
    contributor: entry.contributor,
    sensor: entry.sensor,
    dataset: entry.dataset,
    schemaSha256: entry.schemaSha256,
    payloadHash: entry.payload.sha256,
    payloadBytes: entry.payload.bytes,
    uriSha256: entry.uriSha256,
    keyId: entry.payloadSig.keyId,
    submittedBlock: entry.submitted.block,
    seq: entry.seq,
    index: entry.index,
    outcome: entry.outcome,
  })
