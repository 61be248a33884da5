import { DunesError } from '../core/error.ts'
import { parseJson } from '../core/json.ts'
import { DATA_HEADING, FENCE_CLOSE, FENCE_OPEN, RULE, SIGNATURE_HEADING } from './container.ts'
import { MAML_LIMITS } from './limits.ts'
import { type JsonPath, pathFinder } from './locate.ts'
import { SIGNATURE_PREFIX } from './parse.ts'

interface Part {
  start: number
  name: string
}

/**
 * Names the part of a payload that covers a UTF-16 offset of its text: a front matter key, `readings[2].air_quality`,
 * `signature`, or the kind of line. For people, and total: it also names parts of texts that are no MAML.
 */
export function outline(text: string): (offset: number) => string {
  const parts: Part[] = []
  let section: 'front matter' | 'markdown' | 'json' | 'after' = 'markdown'
  let json = { start: 0, text: '' }
  for (let start = 0; start < text.length; ) {
    const lf = text.indexOf('\n', start)
    const end = lf < 0 ? text.length : lf
    const line = text.slice(start, end)
    let name: string = section
    if (line === RULE && (start === 0 || section === 'front matter')) {
      name = 'front matter'
      section = start === 0 ? 'front matter' : 'markdown'
    } else if (section === 'front matter') name = line.split(':', 1)[0] ?? name
    else if (line === DATA_HEADING || line === SIGNATURE_HEADING) name = line.slice('## '.length)
    else if (line === FENCE_OPEN && section === 'markdown') {
      const close = text.indexOf(`\n${FENCE_CLOSE}\n`, end)
      json = { start: end + 1, text: text.slice(end + 1, close < 0 ? text.length : close + 1) }
      section = 'json'
      name = 'fence'
    } else if (line === FENCE_CLOSE && section === 'json') {
      section = 'after'
      name = 'fence'
    } else if (section === 'after') name = line.startsWith(SIGNATURE_PREFIX) ? 'signature' : 'end of file'
    if (parts.at(-1)?.name !== name) parts.push({ start, name })
    start = end + 1
  }
  const nameReading = readingNamer(json.text)
  return (offset) => {
    const part = parts.findLast(({ start }) => start <= offset)
    if (!part) return 'file'
    return part.name === 'json' ? nameReading(offset - json.start) : part.name
  }
}

function readingNamer(text: string): (offset: number) => string {
  let pathAt: (offset: number) => JsonPath
  try {
    parseJson(text, { maxDepth: MAML_LIMITS.jsonDepth })
    pathAt = pathFinder(text)
  } catch (error) {
    if (!(error instanceof DunesError)) throw error
    return () => 'readings'
  }
  const many = text.trimStart().startsWith('[')
  return (offset) => {
    const path = many ? pathAt(offset) : [0, ...pathAt(offset)]
    return path.reduce<string>(
      (name, step) => name + (typeof step === 'number' ? `[${step}]` : `.${step}`),
      'readings',
    )
  }
}
