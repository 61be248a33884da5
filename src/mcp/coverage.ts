import { z } from 'zod'
import type { Coverage, Superset } from '../service/coverage.ts'

/** How whole a list is, as tools answer it. */
export const coverageShape = {
  complete: z
    .boolean()
    .describe(
      'Whether this is provably all of what superset names; false where anything is filtered away, or where the chain keeps no hash over what is listed',
    ),
  superset: z
    .string()
    .nullable()
    .describe(
      'What can be proved whole and holds all of this, and where the proof is; null where there is no such thing',
    ),
  pending: z
    .int()
    .describe(
      'Submissions that the list waits for, of that contributor or of all, outside every proof; 0 of datasets',
    ),
}

/** A list's coverage with its superset in words. */
export const coverageInWords = ({ complete, superset, pending }: Coverage) => ({
  complete,
  superset: superset && inWords(superset),
  pending,
})

function inWords(superset: Superset): string {
  switch (superset.of) {
    case 'contributor':
      return `${superset.contributor}, its settled submissions ${superset.from_seq} to ${superset.to_seq}: GET ${superset.url}`
    case 'log':
      return `the log, leaves ${superset.from_index} to ${superset.to_index}, under the checkpoint: GET ${superset.url}`
    case 'anchors':
      return `anchors ${superset.from_seq} to ${superset.to_seq}, which fold to slot ${superset.slot} of ${superset.contract}`
  }
}
