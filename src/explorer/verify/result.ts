import { fromHex, sha256, toHex } from '../../core/bytes.ts'
import { explainClaim } from '../../proof/explain.ts'
import { policyVkeys, retiredSigners, type TrustPolicy } from '../../proof/trust-policy.ts'
import { objections, type Verification } from '../../proof/verify.ts'
import { definitions, element } from './dom.ts'

const MARK = { proved: '✓ proved', failed: '✗ FAILED', 'not claimed': '– not claimed' } as const

/** What the verifier found, as elements. */
export function showVerification({ claims, facts }: Verification): Node[] {
  const against = objections(claims)
  const banner =
    against.length === 0
      ? element('p', 'banner yes', 'Yes: nothing failed, and everything that must be proved is.')
      : element(
          'p',
          'banner no',
          `No: ${against.map(({ name, status }) => `${name} ${status === 'failed' ? 'failed' : 'is not claimed'}`).join(', ')}.`,
        )
  const list = element('ul', 'claims')
  for (const claim of claims) {
    const row = element('li', claim.status.replace(' ', '-'))
    row.dataset['claim'] = claim.name
    row.append(
      element('span', 'status', MARK[claim.status]),
      element('span', 'claim-name', claim.name),
      element('p', 'reason', explainClaim(claim)),
    )
    list.append(row)
  }
  const { entry, rows, completeness, block, anchor, anchoredEvent: event } = facts
  const time = (seconds: number) => new Date(seconds * 1000).toISOString()
  const said: [string, string][] = []
  if (entry) {
    said.push(
      ['submission', entry.submission],
      ['contributor', entry.contributor],
      ['sensor', `${entry.sensor} in ${entry.dataset}`],
      ['outcome', `${entry.outcome}, ${entry.verdict}${entry.reason ? ` (${entry.reason})` : ''}`],
      ['payload', `${entry.payload.sha256}, ${entry.payload.bytes} bytes`],
    )
  }
  if (rows) said.push(['rows', String(rows.length)])
  if (completeness) {
    const { contributor, fromSeq, endSeq, pending } = completeness
    said.push(['stretch', `${contributor}: seq ${fromSeq} up to ${endSeq}; ${pending} pending`])
  }
  if (block) said.push(['block', `${block.number}, ${time(block.time)}`])
  if (event) said.push(['event', `${event.size} entries in block ${event.block}, ${time(event.time)}`])
  if (anchor) said.push(['anchored', `${anchor.size} entries in block ${anchor.block}, ${time(anchor.time)}`])
  return [
    banner,
    list,
    ...(said.length > 0
      ? [
          element('h2', '', 'What the bundle says'),
          element('p', 'reason', 'Believe of this what the claims above prove.'),
          definitions(said),
        ]
      : []),
  ]
}

/** Everything that the answer above rests on. */
export function showTrust(policy: TrustPolicy, hash: string, hashFrom: string): Node[] {
  const named = ({ name, keyId }: { name: string; keyId: number }) =>
    `${name}, key id ${keyId.toString(16).padStart(8, '0')}`
  const keys = [
    ...policyVkeys(policy).map(named),
    ...retiredSigners(policy).map(
      ({ vkeys, toSize }) => `before them, up to size ${toSize ?? 'any'}: ${vkeys.map(named).join(' and ')}`,
    ),
  ]
  const receipts = policy.receiptKeys.map(
    ({ pub, fromIndex, toIndex }) =>
      `${toHex(sha256(fromHex(pub))).slice(0, 18)}… for indices ${fromIndex ?? 0} to ${toIndex ?? 'any'}`,
  )
  return [
    element('h2', '', 'What this answer trusts'),
    definitions([
      ['block hash', `${hash}, ${hashFrom}`],
      ['chain', policy.chain],
      ['registry', `${policy.registry}, code ${policy.codeHashes.registry}`],
      ['anchor', `${policy.anchor}, code ${policy.codeHashes.anchor}`],
      ['log', policy.origin],
      ['checkpoint keys', keys.join('; ')],
      ['receipt keys', receipts.join('; ') || 'none'],
    ]),
    element(
      'p',
      'reason',
      'The last six are what your policy file says. Beyond them it trusts this page and your browser, SHA-256, Keccak-256, Ed25519 and ML-DSA, and nothing else.',
    ),
  ]
}

/** Short name of a file, so that two people can see that they have the same one. */
export const fingerprint = (bytes: Uint8Array): string => toHex(sha256(bytes))
