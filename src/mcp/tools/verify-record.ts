import { z } from 'zod'
import { CLAIM_NAMES } from '../../proof/explain.ts'
import type { ClaimName } from '../../proof/verify.ts'
import { MAX_VERIFIED_BYTES, verifyRecord } from '../../service/verify.ts'
import { answer, clip, Untrusted, untrusted } from '../result.ts'
import { tool } from '../tool.ts'

const Entry = z.record(z.string(), z.unknown())
/** Entries of a bundle of many rows that are shown. */
const MAX_ROWS = 20

export const verifyRecordTool = tool({
  name: 'verify_record',
  title: 'Verify a record',
  description:
    'Verifies the proof bundle of one submission by its id, or a bundle that you pass, with the same code as `dunes verify`: every claim as proved, failed or not claimed, and whom you trust when you take this answer.',
  input: z.strictObject({
    id: z.string().max(200).optional().describe('Submission id; or pass bundle'),
    bundle: z.string().max(MAX_VERIFIED_BYTES).optional().describe('Text of a bundle, unchanged; or pass id'),
    trust_policy: z
      .string()
      .max(65_536)
      .optional()
      .describe("Text of your own trust policy; without it this server's own is used, which you then trust"),
    block_hash: z
      .string()
      .max(66)
      .optional()
      .describe(
        "Hash of the block that the bundle is proved under, from a node that you trust; without it this server's node is asked",
      ),
    require: z
      .array(z.enum(CLAIM_NAMES as [ClaimName, ...ClaimName[]]))
      .max(CLAIM_NAMES.length)
      .optional()
      .describe('Claims that must be proved besides included, onChain, anchored and appendOnly'),
  }),
  output: z.object({
    ok: z.boolean().describe('Whether nothing failed and everything that must be proved is'),
    claims: z.array(
      z.object({
        name: z.string(),
        status: z.enum(['proved', 'failed', 'not claimed']),
        reason: z.string(),
        meaning: z.string(),
        prerequisite: z.string().optional(),
      }),
    ),
    objections: z.array(z.string()).describe('Claims that stand in the way of a yes'),
    about: z.array(Entry).describe('What the bundle is about: the entries of its receipts'),
    truncated: z.boolean().describe('Whether it is about more than is shown'),
    block: z.object({ number: z.int(), hash: z.string() }),
    trusting: z.object({
      computation: z.string(),
      trust_policy: z.string(),
      block_hash: z.string(),
      sentence: z.string().describe('Whom you trust when you take this answer'),
    }),
    untrusted: Untrusted,
  }),
  async run({ id, bundle, trust_policy: trustPolicy, block_hash: blockHash, require }, { ctx }) {
    const result = await verifyRecord(ctx, { id, bundle, trustPolicy, blockHash, require })
    const entries = [...(result.facts.entry ? [result.facts.entry] : []), ...(result.facts.rows ?? [])]
    const about = entries.slice(0, MAX_ROWS).map((entry) => clip(entry).value as Record<string, unknown>)
    const against = result.claims.filter(({ name }) => result.objections.includes(name))
    return answer(
      {
        ok: result.ok,
        claims: result.claims.map((claim) => clip(claim).value),
        objections: result.objections,
        about,
        truncated: about.length < entries.length,
        block: result.block,
        trusting: result.trusting,
        untrusted: untrusted('about[]', 'claims[].reason', 'claims[].meaning'),
      },
      [
        result.ok
          ? `YES: nothing failed, and everything that must be proved is (${result.claims
              .filter(({ status }) => status === 'proved')
              .map(({ name }) => name)
              .join(', ')}).`
          : `NO: ${against.map(({ name, status, reason }) => `${name} ${status}: ${reason}`).join('; ')}.`.slice(
              0,
              2_000,
            ),
        ...(entries.length === 1
          ? [
              `The indexer's verdict on it: ${entries[0]?.verdict}${entries[0]?.reason ? `, ${entries[0].reason}` : ''}.`,
            ]
          : []),
        result.trusting.sentence,
      ].join('\n'),
    )
  },
})
