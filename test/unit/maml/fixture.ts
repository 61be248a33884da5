import { readFileSync } from 'node:fs'
import { utf8 } from '../../../src/core/bytes.ts'
import { MamlError } from '../../../src/maml/error.ts'
import { parseMaml } from '../../../src/maml/parse.ts'

export const READING = '{ "sensor_id": "helium_001", "air_quality": 85, "timestamp": "2025-10-01T23:30:00Z" }'
export const SIGNATURE = `CRYSTALS-Dilithium: 0x${'5a'.repeat(3309)}`

/** A payload around `json`: lines 1 to 4, with the JSON on line 3, then the signature section. */
export const around = (json: string): string =>
  `## Data_Block\n\`\`\`json\n${json}\n\`\`\`\n## Signature\n${SIGNATURE}\n`

export const parseText = (text: string) => parseMaml(utf8(text))

/** Runs `call` and gives the MamlError that it throws; any other outcome fails the test. */
export function refusal(call: () => unknown): MamlError {
  try {
    call()
  } catch (error) {
    if (error instanceof MamlError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

export const vector = (path: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../vectors/${path}`, import.meta.url)))

export const IOT_SCHEMA = new Uint8Array(
  readFileSync(new URL('../../../anvil/schemas/iot_data.maml.md', import.meta.url)),
)
