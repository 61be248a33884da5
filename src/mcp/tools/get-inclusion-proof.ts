import { z } from 'zod'
import { decodeUtf8, toBase64 } from '../../core/bytes.ts'
import { parseTlogProof } from '../../log/tlog-proof.ts'
import { prove, proveInclusion } from '../../service/prove.ts'
import { findSubmission } from '../../service/submissions.ts'
import { answer, bytesOf, MAX_STRUCTURED_BYTES } from '../result.ts'
import { tool } from '../tool.ts'

export const getInclusionProofTool = tool({
  name: 'get_inclusion_proof',
  title: 'Get an inclusion proof',
  description:
    'The Merkle inclusion proof of one anchored submission (C2SP tlog-proof), and a link to its whole proof bundle, which anybody can verify offline. With bundle: true the bundle comes with the answer.',
  input: z.strictObject({
    id: z.string().max(200).describe('Submission id, 0x and 64 hex digits'),
    bundle: z
      .boolean()
      .default(false)
      .describe('Whether the whole bundle comes with the answer, up to 40 kB'),
  }),
  output: z.object({
    submission: z.string(),
    verdict: z
      .enum(['accepted', 'rejected'])
      .nullable()
      .describe("The indexer's verdict: a proof stands for rejected ones as well"),
    leaf_index: z.int(),
    tree_size: z.int(),
    root: z.string().describe('Root of the tree of that size, base64'),
    hashes: z.array(z.string()).describe('RFC 6962 inclusion path from the leaf upwards, base64'),
    tlog_proof: z.string().describe('The same as a C2SP tlog-proof, with the signed checkpoint'),
    bundle: z.record(z.string(), z.unknown()).nullable(),
    bundle_block: z
      .object({ number: z.int(), hash: z.string() })
      .nullable()
      .describe('The block that the bundle is proved under; take its hash from a node that you trust'),
    truncated: z
      .boolean()
      .describe('Whether the bundle was asked for and is too large to come with the answer'),
    links: z.object({ bundle: z.string(), receipt: z.string(), http: z.string() }),
    shows: z.string(),
  }),
  async run({ id, bundle: inline }, { ctx }) {
    const [{ item }, inclusion] = await Promise.all([findSubmission(ctx, id), proveInclusion(ctx, id)])
    const proof = parseTlogProof(inclusion.text)
    const [, size = '', root = ''] = proof.checkpoint.split('\n')
    const made = inline ? await prove(ctx, id) : null
    const bundle = made && (JSON.parse(decodeUtf8(made.bytes)) as Record<string, unknown>)
    const structured = {
      submission: item.id,
      verdict: item.verdict,
      leaf_index: proof.index,
      tree_size: Number(size),
      root,
      hashes: proof.hashes.map((hash) => toBase64(hash)),
      tlog_proof: inclusion.text,
      bundle,
      bundle_block: made?.block ?? null,
      truncated: false,
      links: {
        bundle: `dunes://bundles/${item.id}`,
        receipt: `dunes://receipts/${item.id}`,
        http: item.links.proof,
      },
      shows:
        'That the receipt is in the log at this index. It does not show that the sensor told the truth, and this answer is only as good as the checkpoint signatures and the anchor in it: verify the bundle.',
    }
    const tooLarge = bytesOf(structured) > MAX_STRUCTURED_BYTES
    const result = answer(
      tooLarge ? { ...structured, bundle: null, truncated: true } : structured,
      `Submission ${item.id} (${item.verdict}) is leaf ${proof.index} of ${size}. The whole bundle is the resource dunes://bundles/${item.id}; verify_record checks it here, \`dunes verify\` anywhere.`,
    )
    result.content.push({
      type: 'resource_link',
      uri: `dunes://bundles/${item.id}`,
      name: `bundle of ${item.id}`,
      mimeType: 'application/json',
      description: 'The proof bundle, as `dunes verify` takes it',
    })
    return result
  },
})
