import { DunesError } from '../../src/core/error.ts'

/** Why the fleet could not start or go on. Codes: PORT_BUSY, FLEET_HOST_FAILED, FLEET_STOPPED. */
export class FleetError extends DunesError {
  override readonly name = 'FleetError'
}
