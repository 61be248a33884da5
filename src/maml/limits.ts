/** What bounds a MAML file. Leaf policies carry these numbers, so a change of one is a new policy. */
export interface MamlLimits {
  /** Bytes of a payload, judged before anything else is looked at. */
  readonly payloadBytes: number
  /** Readings of one payload. */
  readonly readings: number
  /** Value names of a reading, `sensor_id` and `timestamp` among them. */
  readonly names: number
  /** Arrays and objects open at once in the JSON of a fence, the outermost among them. */
  readonly jsonDepth: number
  /** Bytes of a schema file. */
  readonly schemaBytes: number
}

export const MAML_LIMITS: MamlLimits = {
  payloadBytes: 1_048_576,
  readings: 10_000,
  names: 32,
  jsonDepth: 16,
  schemaBytes: 16_384,
}

/** What a value name looks like: 1 to 32 characters. */
export const VALUE_NAME = /^[a-z][a-z0-9_]{0,31}$/
