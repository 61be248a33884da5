import { utf8 } from '../core/bytes.ts'
import { type Place, placeOf } from '../core/utf8.ts'
import { DATA_HEADING, openSource, readContainer } from './container.ts'
import { MAML_LIMITS } from './limits.ts'
import { locateJson } from './locate.ts'
import type { SchemaIssue } from './schema.ts'

/**
 * Where in a payload's file the value stands that a schema issue is about, or the nearest value above it. Throws
 * `MamlError` on bytes that are no MAML payload.
 */
export function placeOfIssue(
  bytes: Uint8Array,
  { reading, path }: Pick<SchemaIssue, 'reading' | 'path'>,
): Place {
  const source = openSource(bytes, MAML_LIMITS.payloadBytes)
  const { fence } = readContainer(source, DATA_HEADING, MAML_LIMITS.jsonDepth)
  const steps: (string | number)[] = Array.isArray(fence.value) ? [reading] : []
  let value = Array.isArray(fence.value) ? fence.value[reading] : fence.value
  for (const token of path.split('/').slice(1)) {
    const key = token.replaceAll('~1', '/').replaceAll('~0', '~')
    const step = Array.isArray(value) ? Number(key) : key
    steps.push(step)
    value =
      value === null || typeof value !== 'object' ? undefined : (value as Record<string, typeof value>)[step]
  }
  const before = utf8(source.text.slice(0, fence.start + locateJson(fence.text, steps)))
  return placeOf(before, before.length)
}
