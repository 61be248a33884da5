import type { Hex } from '../../src/core/bytes.ts'
import { buildMaml } from '../../src/maml/build.ts'
import type { FrontMatter } from '../../src/maml/container.ts'
import { signMaml } from '../../src/maml/sign.ts'
import { payloadClaim, type SubmissionCall } from '../../src/service/registry-client.ts'
import type { Behaviour } from './behaviours.ts'
import type { FleetContext } from './context.ts'
import { hostedUri } from './host.ts'
import { EXAMPLE_SENSOR, FLEET_SCHEMAS, type FleetDataset } from './stations.ts'

/** Time of the reading that the seed shows. */
const EXAMPLE_TIME = '2025-10-01T23:30:00Z'

export const frontMatterOf = (
  sensor: string,
  contributor: Hex,
  chainId: number,
  created: string,
  dataset: FleetDataset = 'helium_sensors',
): FrontMatter => ({
  maml: '1.0',
  schema: FLEET_SCHEMAS[dataset],
  dataset,
  sensor,
  contributor: `eip155:${chainId}:${contributor}`,
  created,
})

/** The seed's own example, signed by the one who runs its sensor. */
export const examplePayload = (
  ctx: Pick<FleetContext, 'mlDsa'>,
  contributor: Hex,
  chainId: number,
  seed: Uint8Array,
): Uint8Array =>
  signMaml(
    buildMaml({
      frontMatter: frontMatterOf(EXAMPLE_SENSOR, contributor, chainId, EXAMPLE_TIME),
      readings: [{ sensor_id: EXAMPLE_SENSOR, air_quality: 85, timestamp: EXAMPLE_TIME }],
    }),
    seed,
    ctx.mlDsa,
  )

/** Hosts a payload and answers the claim to submit about it: bytes are served before anybody can ask for them. */
export async function hostPayload(
  ctx: Pick<FleetContext, 'files' | 'hostUrl'>,
  kind: Behaviour,
  sensor: string,
  bytes: Uint8Array,
): Promise<SubmissionCall> {
  const hosted = hostedUri(ctx.hostUrl, kind.name, await ctx.files.put(bytes))
  return payloadClaim(sensor, bytes, kind.uri?.(hosted) ?? hosted)
}
