import { describe, expect, it } from 'vitest'
import { concat, decodeUtf8, utf8 } from '../../../src/core/bytes.ts'
import { MAML_LIMITS } from '../../../src/maml/limits.ts'
import { parseMaml } from '../../../src/maml/parse.ts'
import { around, parseText, READING, refusal, SIGNATURE, vector } from './fixture.ts'

const BASE = around(READING)
const FRONT = [
  '---',
  'maml: 1.0',
  'schema: iot_data.maml',
  'dataset: helium_sensors',
  'sensor: helium_001',
  `contributor: eip155:31337:0x${'11'.repeat(20)}`,
  'created: 2025-10-01T23:30:00Z',
  '---',
  '',
].join('\n')

describe('well-formed payloads', () => {
  it('reads the example that the vocabulary comes from, whose signature is a placeholder', () => {
    const bytes = vector('maml/seed.maml.md')
    const payload = parseMaml(bytes)
    expect(payload.frontMatter).toEqual({})
    expect(payload.readings).toEqual([
      { sensor_id: 'helium_001', air_quality: 85, timestamp: '2025-10-01T23:30:00Z' },
    ])
    expect(payload.names).toEqual(['air_quality', 'sensor_id', 'timestamp'])
    expect(payload.signature).toEqual({ kind: 'malformed' })
    expect(decodeUtf8(payload.signedBytes).endsWith('}\n```\n')).toBe(true)
  })

  it('reads front matter, free Markdown, blank lines and a signature in form', () => {
    const text = `${FRONT}\nSome *words*, é and 🐪.\n---\n\n## Notes\n\n${BASE}`
    const payload = parseText(text)
    expect(payload.frontMatter).toEqual({
      maml: '1.0',
      schema: 'iot_data.maml',
      dataset: 'helium_sensors',
      sensor: 'helium_001',
      contributor: `eip155:31337:0x${'11'.repeat(20)}`,
      created: '2025-10-01T23:30:00Z',
    })
    expect(payload.signature).toEqual({ kind: 'present', bytes: new Uint8Array(3309).fill(0x5a) })
    expect(decodeUtf8(payload.signedBytes)).toBe(text.slice(0, text.indexOf('## Signature')))
  })

  it('takes blank lines between parts, and signs those before the signature heading', () => {
    const payload = parseText(BASE.replace('Block\n', 'Block\n\n').replace('```\n##', '```\n\n\n##'))
    expect(decodeUtf8(payload.signedBytes).endsWith('```\n\n\n')).toBe(true)
    expect(parseText(BASE.replace('Signature\n', 'Signature\n\n')).signature.kind).toBe('present')
  })

  it('takes empty front matter, and front matter of any known keys in any order', () => {
    expect(parseText(`---\n---\n${BASE}`).frontMatter).toEqual({})
    expect(parseText(`---\nsensor: 1\nmaml: 1.0\n---\n${BASE}`).frontMatter).toEqual({
      maml: '1.0',
      sensor: '1',
    })
  })

  it.each([
    'a',
    '_a',
    '9',
    'a b',
    'a:b',
    'a#b',
    'true',
    'x'.repeat(256),
    'A~!"\'[{',
  ])('takes the plain value %s', (value) => {
    expect(parseText(`---\nsensor: ${value}\n---\n${BASE}`).frontMatter.sensor).toBe(value)
  })

  it('reads an array of readings whose names come in any order', () => {
    const other = '{ "timestamp": "2024-02-29T00:00:00.123456789Z", "air_quality": null, "sensor_id": "" }'
    const payload = parseText(around(`[\n${READING},\n${other}\n]`))
    expect(payload.readings.map((reading) => reading['air_quality'])).toEqual([85, null])
  })

  it('takes 10,000 readings and no more, and 32 names and no more', () => {
    const many = (n: number) =>
      around(`[${Array.from({ length: n }, () => READING.replaceAll(' ', '')).join()}]`)
    expect(parseText(many(10_000)).readings.length).toBe(10_000)
    expect(refusal(() => parseText(many(10_001))).message).toContain('10000 readings')
    const wide = (n: number) =>
      around(READING.replace('{', `{${Array.from({ length: n }, (_, i) => `"n${i}":0,`).join('')}`))
    expect(parseText(wide(29)).names.length).toBe(32)
    expect(refusal(() => parseText(wide(30))).message).toContain('32 value names')
  })

  it('takes JSON nested 16 deep and no deeper, the reading and its array among them', () => {
    const deep = (n: number) => READING.replace('85', `${'['.repeat(n)}${']'.repeat(n)}`)
    expect(parseText(around(deep(15))).readings.length).toBe(1)
    expect(refusal(() => parseText(around(deep(16)))).message).toContain('deeper than 16')
    expect(parseText(around(`[${deep(14)}]`)).readings.length).toBe(1)
    refusal(() => parseText(around(`[${deep(15)}]`)))
  })

  it('takes exactly 1 MiB, and judges the size before anything else', () => {
    const pad = (size: number) => `${'x'.repeat(size - BASE.length - 1)}\n${BASE}`
    expect(parseText(pad(MAML_LIMITS.payloadBytes)).readings.length).toBe(1)
    const error = refusal(() => parseText(pad(MAML_LIMITS.payloadBytes + 1)))
    expect([error.line, error.column]).toEqual([1, 1])
    expect(refusal(() => parseMaml(new Uint8Array(2 ** 21).fill(0xff))).message).toContain('limit')
  })

  it('is missing its signature where the file ends without the heading', () => {
    const unsigned = BASE.slice(0, BASE.indexOf('## Signature'))
    for (const text of [unsigned, `${unsigned}\n\n`]) {
      const payload = parseText(text)
      expect(payload.signature).toEqual({ kind: 'missing' })
      expect(decodeUtf8(payload.signedBytes)).toBe(text)
    }
  })

  it.each([
    ['', 'nothing'],
    ['0x', 'no digits'],
    [`0x${'5A'.repeat(3309)}`, 'upper case'],
    [`0X${'5a'.repeat(3309)}`, 'an upper-case prefix'],
    ['5a'.repeat(3309), 'no prefix'],
    [`0x${'5a'.repeat(3308)}`, 'a byte too few'],
    [`0x${'5a'.repeat(3310)}`, 'a byte too many'],
    [`0x${'5a'.repeat(3309)} `, 'a trailing space'],
    [` 0x${'5a'.repeat(3309)}`, 'another space'],
    ['0x1234...', 'a placeholder'],
    ['🐪', 'another script'],
  ])('parses with a malformed signature: %#, %s', (value) => {
    const text = BASE.replace(SIGNATURE, `CRYSTALS-Dilithium: ${value}`)
    const payload = parseText(text)
    expect(payload.signature).toEqual({ kind: 'malformed' })
    expect(decodeUtf8(payload.signedBytes)).toBe(text.slice(0, text.indexOf('## Signature')))
  })

  it('takes other control characters and a late U+FEFF in free Markdown', () => {
    expect(parseText(`\u0001\u2028\ufeff\u0085\n${BASE}`).readings.length).toBe(1)
  })

  it('does not let a reading reach the prototype of anything', () => {
    const payload = parseText(around(READING.replace('85', '{"__proto__": {"polluted": 1}}')))
    expect(Object.keys(payload.readings[0]?.['air_quality'] as object)).toEqual(['__proto__'])
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })
})

// `¦` marks the place that must be named, and is taken out before the text is parsed.
const change = (from: string, to: string) => BASE.replace(from, () => to)
const reading = (from: string, to: string) => around(READING.replace(from, () => to))

describe('malformed payloads', () => {
  const cases: [string, string][] = [
    ['an empty file', '¦'],
    ['a lone LF', '\n¦'],
    ['a byte order mark before the heading', `¦\ufeff${BASE}`],
    ['a byte order mark before front matter', `¦\ufeff${FRONT}${BASE}`],
    ['CRLF throughout', BASE.replaceAll('\n', '\r\n').replace('\r', '¦\r')],
    ['one carriage return in Markdown', `a\n🐪¦\rb\n${BASE}`],
    ['NUL in Markdown', `a¦\0\n${BASE}`],
    ['no LF at the end', `${BASE.slice(0, -1)}¦`],
    ['two LFs at the end', `${BASE}¦\n`],
    ['a byte after the end', `${BASE}¦x\n`],
    ['a second signature section', `${BASE}¦## Signature\n${SIGNATURE}\n`],
    ['a second signature line', `${BASE}¦${SIGNATURE}\n`],
    ['a signature heading with nothing under it', `${BASE.slice(0, -SIGNATURE.length - 1)}¦`],
    ['a signature line of another form', change('CRYSTALS-Dilithium: ', '¦Dilithium: ')],
    ['a signature line without its space', change('CRYSTALS-Dilithium: ', '¦CRYSTALS-Dilithium:')],
    ['a signature heading in Markdown', `¦## Signature\n${BASE}`],
    ['a signature heading inside the fence', around(`{\n¦## Signature\n${READING.slice(1)}`)],
    ['a data heading inside the fence', around(`\n¦## Data_Block\n${READING}`)],
    ['a schema heading in Markdown', `\n¦## Schema\n${BASE}`],
    ['a schema heading inside the fence', around(`¦## Schema\n${READING}`)],
    [
      'a second data block',
      change('```\n## Sig', `\`\`\`\n¦## Data_Block\n\`\`\`json\n${READING}\n\`\`\`\n## Sig`),
    ],
    ['text after the fence', change('```\n## Sig', '```\n\n¦text\n## Sig')],
    ['a second fence', change('```\n## Sig', `\`\`\`\n¦\`\`\`json\n${READING}\n\`\`\`\n## Sig`)],
    ['a line of a space after the fence', change('```\n## Sig', '```\n¦ \n## Sig')],
    ['no data heading', BASE.replace('## Data_Block\n', '').replace('## Sig', '¦## Sig')],
    ['a data heading with a trailing space', change('Block\n', 'Block \n').replace('## Sig', '¦## Sig')],
    ['text before the fence', change('Block\n', 'Block\n¦text\n')],
    ['a fence without a language', change('```json', '¦```')],
    ['a fence of another language', change('```json', '¦```JSON')],
    ['a fence of four backticks', change('```json', '¦````json')],
    ['a fence closed by four backticks', change('```\n## S', '````\n¦## S')],
    ['a fence that does not end', `## Data_Block\n¦\`\`\`json\n${READING}\n`],
    ['nothing after the data heading', '## Data_Block\n¦'],
    ['front matter that does not end', `---\nmaml: 1.0\n¦${BASE}`],
    ['an unknown key', `---\n¦author: x\n---\n${BASE}`],
    ['a key of a prototype', `---\n¦constructor: x\n---\n${BASE}`],
    ['a key twice', `---\nmaml: 1.0\nsensor: a\n¦sensor: a\n---\n${BASE}`],
    ['a blank line in front matter', `---\nmaml: 1.0\n¦\n---\n${BASE}`],
    ['a comment in front matter', `---\n¦# x\n---\n${BASE}`],
    ['an indented key', `---\n¦ maml: 1.0\n---\n${BASE}`],
    ['a key without a space after its colon', `---\n¦maml:1.0\n---\n${BASE}`],
    ['another version', `---\nmaml: ¦1\n---\n${BASE}`],
    ['a created of the wrong form', `---\ncreated: ¦2025-10-01\n---\n${BASE}`],
    ['a created that is no date', `---\ncreated: ¦2025-02-29T00:00:00Z\n---\n${BASE}`],
    ['JSON that is none', around('{').replace('{\n', '{\n¦')],
    ['an empty fence', '## Data_Block\n```json\n¦```\n'],
    ['a trailing comma', reading(' }', ', ¦}')],
    ['a duplicate key', reading('{ "sensor_id": "helium_001", ', '{"sensor_id":1,¦"sensor_id":1,')],
    ['a duplicate key spelled by an escape', reading('"air', '"\\u0061ir_quality":1,¦"air')],
    ['an integer beyond 2^53 - 1', reading('85', '¦9007199254740992')],
    ['an integer beyond it, spelled otherwise', reading('85', '¦-9.007199254740993e15')],
    ['a number beyond doubles', reading('85', '¦1e999')],
    ['NaN', reading('85', '¦NaN')],
    ['a raw tab in a string', reading('helium_001', 'helium¦\t001')],
    ['a lone surrogate', reading('85', '¦"\\ud800"')],
    ['a camel before the fault', reading('85', '"🐪🐪", ¦x')],
    ['depth 10,000', reading('85', `${'['.repeat(15)}¦${'['.repeat(9_985)}${']'.repeat(10_000)}`)],
    ['an array of nothing', around('¦[]')],
    ['an array of arrays', around(`[¦[${READING}]]`)],
    ['a string', around('¦"x"')],
    ['null', around(' ¦null')],
    ['a reading that is null', around(`[${READING},\n¦null]`)],
    ['an upper-case name', reading('"air_quality": 85', '"Air_quality": ¦85')],
    ['an empty name', reading('"air_quality": 85', '"": ¦85')],
    ['a name of 33 characters', reading('"air_quality": 85', `"${'a'.repeat(33)}": ¦85`)],
    ['a name that begins with a digit', reading('"air_quality": 85', '"2nd": ¦85')],
    ['a name __proto__', reading('"air_quality": 85', '"__proto__": ¦85')],
    ['a reading with another name', around(`[${READING},\n ¦${READING.replace('air', 'bir')}]`)],
    ['a reading with a name fewer', around(`[${READING},¦${READING.replace(' "air_quality": 85,', '')}]`)],
    ['a reading with a name more', around(`[${READING},¦${READING.replace('{', '{"a":1,')}]`)],
    ['no sensor_id', around(`¦${READING.replace('"sensor_id": "helium_001", ', '')}`)],
    ['no timestamp', around(`¦${READING.replace(', "timestamp": "2025-10-01T23:30:00Z"', '')}`)],
    ['a sensor_id that is a number', reading('"helium_001"', '¦1')],
    ['a timestamp that is a number', reading('"2025-10-01T23:30:00Z"', '¦1')],
    ['a timestamp with an offset', reading('"2025-10-01T23:30:00Z"', '¦"2025-10-01T23:30:00+00:00"')],
    [
      'a later timestamp that is no date',
      around(`[${READING},\n${READING.replace('"2025-10', '¦"2025-13')}]`),
    ],
  ]
  it.each(cases)('%s', (_, marked) => {
    const before = marked.slice(0, marked.indexOf('¦')).split('\n')
    const place = [before.length, [...(before.at(-1) as string)].length + 1]
    const error = refusal(() => parseText(marked.replace('¦', '')))
    expect([error.code, error.line, error.column]).toEqual(['MAML_MALFORMED', ...place])
  })

  it.each([
    '',
    ' a',
    'a ',
    '"a"',
    "'a'",
    '[a]',
    '{a}',
    '&a',
    '*a',
    '!a',
    '|',
    '>',
    '- a',
    '#a',
    'a: b',
    'a #b',
    'a:',
    'é',
    'a\tb',
    '@a',
    '`a',
    'x'.repeat(257),
  ])('refuses the front matter value <%s>', (value) => {
    const error = refusal(() => parseText(`---\nsensor: ${value}\n---\n${BASE}`))
    expect(error.line).toBe(2)
  })

  it.each([
    ['a stray continuation byte', [0x80]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['a cut sequence', [0xf0, 0x9f, 0x90]],
    ['UTF-16', [0xff, 0xfe]],
  ])('refuses what is not UTF-8 and says where: %s', (_, bad) => {
    const error = refusal(() => parseMaml(concat(utf8('a\né🐪'), new Uint8Array(bad), utf8(`\n${BASE}`))))
    expect([error.line, error.column]).toEqual([2, 3])
    expect(error.message).toContain('UTF-8')
  })
})

describe('linear time', () => {
  const MIB = MAML_LIMITS.payloadBytes
  it.each([
    ['line feeds', '\n'],
    ['backticks', '```\n'],
    ['headings', '## Data_Block\n```json\n'],
    ['rules', '---\n'],
    ['opening brackets', `## Data_Block\n\`\`\`json\n[`],
    ['quotes', '"'],
    ['backslashes', '\\"'],
    ['keys', '"a":1,'],
    ['spaces', ' '],
  ])('refuses a mebibyte of %s in good time', (_, unit) => {
    for (const head of ['', '---\n', '## Data_Block\n```json\n', '## Data_Block\n```json\n{']) {
      const text = `${head}${unit.repeat(Math.floor((MIB - 40) / unit.length))}\n`
      const started = process.cpuUsage()
      refusal(() => parseText(text))
      // Squared, a mebibyte would take minutes.
      expect(process.cpuUsage(started).user).toBeLessThan(5_000_000)
    }
  })
})
