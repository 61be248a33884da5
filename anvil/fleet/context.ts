import type { Hex } from '../../src/core/bytes.ts'
import type { Clock } from '../../src/core/clock.ts'
import type { Logger } from '../../src/core/logger.ts'
import type { MlDsa } from '../../src/core/ml-dsa.ts'
import type { FleetChain } from './chain.ts'
import type { FleetKeys } from './keys.ts'
import type { PayloadFiles } from './payload-files.ts'
import type { Watch } from './watch.ts'

/** What all contributors share. */
export interface FleetContext {
  readonly keys: FleetKeys
  readonly rpcUrl: string
  readonly registry: Hex
  readonly chain: FleetChain
  readonly watch: Watch
  readonly files: PayloadFiles
  /** The payload host's URL. */
  readonly hostUrl: string
  readonly mlDsa: MlDsa
  readonly clock: Clock
  readonly logger: Logger
  readonly seed: number
  /** Submissions a second of the whole fleet. */
  readonly submissionsPerSecond: number
  /** Blocks after which a submission can expire. */
  readonly ttl: number
  /** Aborts when the fleet stops. */
  readonly signal: AbortSignal
  fund(account: Hex): Promise<void>
}
