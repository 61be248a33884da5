import { utf8 } from '../core/bytes.ts'
import type { JsonObject } from '../core/json.ts'
import {
  DATA_HEADING,
  FENCE_CLOSE,
  FENCE_OPEN,
  FRONT_MATTER_KEYS,
  type FrontMatter,
  isPlainValue,
  RULE,
} from './container.ts'
import { MamlError } from './error.ts'
import { parseMaml } from './parse.ts'

export interface BuildMaml {
  /** Left out of the file when absent; `{}` writes empty front matter. */
  frontMatter?: FrontMatter
  /** One reading is written as an object over several lines, more as an array with one reading a line. */
  readings: readonly JsonObject[]
}

/**
 * Writes an unsigned payload, ready for `signMaml`. Throws `MamlError` when what comes out is no MAML payload (a bad
 * name, a wrong timestamp, too many readings ...), with the place in the file that would have been written.
 */
export function buildMaml({ frontMatter, readings }: BuildMaml): Uint8Array {
  const lines: string[] = []
  if (frontMatter) {
    lines.push(RULE)
    for (const key of FRONT_MATTER_KEYS) {
      const value = frontMatter[key]
      if (value === undefined) continue
      lines.push(`${key}: ${value}`)
      // Before it is written out: a value with a line feed would become two front matter lines.
      if (!isPlainValue(value))
        throw new MamlError(`the value of ${key} is not a plain string`, {
          line: lines.length,
          column: `${key}: `.length + 1,
        })
    }
    lines.push(RULE)
  }
  lines.push(DATA_HEADING, FENCE_OPEN)
  if (readings.length === 1) lines.push(JSON.stringify(readings[0], null, 2))
  else lines.push('[', readings.map((reading) => `  ${JSON.stringify(reading)}`).join(',\n'), ']')
  lines.push(FENCE_CLOSE, '')
  const bytes = utf8(lines.join('\n'))
  parseMaml(bytes)
  return bytes
}
