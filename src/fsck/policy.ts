import { type Hex, utf8 } from '../core/bytes.ts'
import type { MamlLimits } from '../maml/limits.ts'
import { sha256Hex } from './hash.ts'

/** What a leaf policy says that an audit needs (docs/formats.md, "Leaf policy"). */
export interface AuditPolicy {
  readonly limits: MamlLimits
  readonly ages: Readonly<
    Record<string, { readonly maxAgeSeconds: number; readonly maxAheadSeconds: number }>
  >
}

/** The exact bytes of every policy that this auditor can follow. */
const TEXTS: readonly string[] = [
  '{"ages":{},"formats":{"entry":1,"maml":"1.0","reasons":1,"uri":1},"graceSeconds":5,"limits":{"jsonDepth":16,"names":32,"payloadBytes":1048576,"readings":10000,"schemaBytes":16384},"maxLagSeconds":600,"v":1}',
]

const POLICIES: ReadonlyMap<string, AuditPolicy> = new Map(
  TEXTS.map((text) => [sha256Hex(utf8(text)), JSON.parse(text) as AuditPolicy]),
)

/** Leaf policies as the chain lists them, by first index. */
export type PolicyList = readonly { readonly firstIndex: number; readonly hash: Hex }[]

/** The policy that a hash stands for, or null where this auditor does not know it. */
export const policyOf = (hash: string): AuditPolicy | null => POLICIES.get(hash) ?? null

/** The policy in force at a leaf; null where none is, or one that this auditor does not know. */
export function policyAt(list: PolicyList, index: number): AuditPolicy | null {
  let found: { firstIndex: number; hash: string } | null = null
  for (const item of list)
    if (item.firstIndex <= index && (!found || item.firstIndex >= found.firstIndex)) found = item
  return found && policyOf(found.hash)
}
